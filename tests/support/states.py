"""An independent reading and writing of every layout, by tables written by hand.

`lifted` takes the entries of a checkpoint apart into parts that no layout or stacking shows in;
`lowered` puts them together for another form. What a conversion must give is `lowered(lifted(source))`.
It knows MaxText's names of three model families and four optimizers, and only `np.take` and `np.stack`.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from tests.support.entries import NONE, Entries, Keys, Leaf

PARAMS_AXIS = 1
AUX_AXIS = 0


class Style(StrEnum):
    """How the layers stand."""

    STACKED = "stacked"
    UNDERSCORE = "underscore"
    NESTED = "nested"


@dataclass(frozen=True)
class Form:
    """All that must be known to read or write a checkpoint of these runs."""

    layout: str
    style: Style
    family: str
    optimizer: str
    wrapped: bool = False
    axis: int = PARAMS_AXIS

    def __str__(self) -> str:
        return f"{self.layout}-{self.style}"


def form_of(name: str) -> Form:
    """What the name of a golden checkpoint says."""
    era, framework, stacking, family, optimizer, *_ = name.split("-")
    nested = framework == "nnx" and era in {"old", "mid"}
    unscanned = Style.NESTED if nested else Style.UNDERSCORE
    layout = "linen" if framework == "linen" else "nnx" if era == "old" else "maxtext"
    return Form(layout, Style.STACKED if stacking == "scan" else unscanned, family, optimizer)


Place = tuple[Keys, int | None]
"""Where one layer stands below `decoder`: its path, and its slice if it shares arrays."""


def places(family: str, style: Style) -> list[Place]:
    """Every layer of the decoder, first to last."""
    match family, style:
        case "llama2", Style.STACKED:
            return [(("layers",), n) for n in range(5)]
        case "llama2", Style.UNDERSCORE:
            return [((f"layers_{n}",), None) for n in range(5)]
        case "llama2", Style.NESTED:
            return [(("layers", str(n)), None) for n in range(5)]
        case "deepseek", Style.STACKED:
            return [
                *((("dense_layers",), n) for n in range(2)),
                *((("moe_layers",), n) for n in range(3)),
            ]
        case "deepseek", Style.UNDERSCORE:
            return [
                *(((f"dense_layers_{n}",), None) for n in range(2)),
                *(((f"moe_layers_{n}",), None) for n in range(3)),
            ]
        case "deepseek", Style.NESTED:
            return [
                *(((f"dense_layer_{n}",), None) for n in range(2)),
                *((("layers", str(n)), None) for n in range(2, 5)),
            ]
        case "gemma3", Style.STACKED:
            return [
                *((("layers", f"layers_{n}"), 0) for n in range(6)),
                *((("layers_remainder", f"layers_{n}"), None) for n in range(2)),
            ]
        case "gemma3", Style.UNDERSCORE:
            return [((f"layers_{n}",), None) for n in range(8)]
        case "gemma3", Style.NESTED:
            return [(("layers", str(n)), None) for n in range(8)]
        case _:
            raise AssertionError(f"no table for {family}, {style}")


@dataclass(frozen=True)
class Optimizer:
    """The fields of an optimizer's state; an integer is a position in a chain."""

    moments: tuple[Keys, ...]
    others: tuple[Keys, ...]
    empties: tuple[Keys, ...]


_ADAM: Keys = ("inner_states", "adam", "inner_state")
_MUON: Keys = ("inner_states", "muon", "inner_state")

OPTIMIZERS = {
    "adamw": Optimizer(((0, "mu"), (0, "nu")), ((0, "count"), (2, "count")), ((1,),)),
    "adampax": Optimizer((("mu",), ("nu",)), (("count",),), ()),
    "sgd": Optimizer((), ((1, "count"),), ((0,),)),
    "muon": Optimizer(
        ((*_ADAM, 0, "mu"), (*_ADAM, 0, "nu"), (*_MUON, 0, "mu")),
        (
            (*_ADAM, 0, "count"),
            (*_ADAM, 2, "count"),
            (*_MUON, 0, "count"),
            (*_MUON, 0, "ns_coeffs"),
            (*_MUON, 3, "count"),
        ),
        ((*_ADAM, 1), (*_MUON, 1), (*_MUON, 2)),
    ),
}

Part = dict[Keys, Leaf]
"""A model or something shaped like it; a layer's path starts with `decoder`, `#n`."""


@dataclass
class State:
    """A train state without any layout. `kept` is what the form it was read from shows of nothing else."""

    step: Leaf
    params: Part
    aux: Part
    moments: dict[Keys, Part]
    others: Part
    left: Part = field(default_factory=dict)


def lifted(entries: Entries, form: Form) -> State:
    """Read a checkpoint of a known form. Every entry must be accounted for."""
    left = dict(entries)
    if form.wrapped:
        assert all(path[-1] == "value" for path in left)
        left = {path[:-1]: leaf for path, leaf in left.items()}
    optimizer = OPTIMIZERS[form.optimizer]
    params, aux = _model(left, form)
    state = State(
        step=left.pop(_step(form)),
        params=apart(params, form, form.axis),
        aux=apart(aux, form, AUX_AXIS),
        moments={at: apart(_below(left, _moment(at, form)), form, form.axis) for at in optimizer.moments},
        others={at: left.pop(_other(at, form)) for at in optimizer.others},
    )
    for at in optimizer.empties:
        if _writes_empty(at, form):
            assert left.pop(_other(at, form)).kind == "None"
    assert not left, f"entries that no table knows: {sorted(map(str, left))}"
    return state


def lowered(state: State, form: Form) -> Entries:
    """Write a checkpoint of a form: what a conversion must give."""
    optimizer = OPTIMIZERS[form.optimizer]
    unsigned = form.layout == "nnx"
    out: Entries = {_step(form): _as_step(state.step, "uint32" if unsigned else "int32")}
    out.update(_above(together(state.params, form, form.axis), _params_base(form)))
    if form.layout != "linen":
        out.update(_above(together(_stackable(state.aux, form), form, AUX_AXIS), _aux_base(form)))
    for at, part in state.moments.items():
        out.update(_above(together(part, form, form.axis), _moment(at, form)))
    out.update({_other(at, form): leaf for at, leaf in state.others.items()})
    out.update({_other(at, form): NONE for at in optimizer.empties if _writes_empty(at, form)})
    return {(*path, "value"): leaf for path, leaf in out.items()} if form.wrapped else out


def without_aux(entries: Entries | dict[Keys, str]) -> set[Keys]:
    """The paths that are no PRNG stream's."""
    return {path for path in entries if not is_aux(path)}


def is_aux(path: Keys) -> bool:
    """Of these runs, PRNG streams are all that is neither parameter nor optimizer."""
    return "rngs" in path


def apart(part: Part, form: Form, axis: int) -> Part:
    """One leaf a layer."""
    out: Part = {}
    for path, leaf in part.items():
        found = list(_layers_of(path, form))
        for name, index in found:
            out[name] = leaf if index is None else taken(leaf, index, axis)
        if not found:
            out[path] = leaf
    return out


def _layers_of(path: Keys, form: Form) -> list[tuple[Keys, int | None]]:
    if path[0] != "decoder":
        return []
    return [
        (("decoder", f"#{n}", *path[1 + len(prefix) :]), index)
        for n, (prefix, index) in enumerate(places(form.family, form.style))
        if path[1 : 1 + len(prefix)] == prefix
    ]


def together(part: Part, form: Form, axis: int) -> Part:
    """The arrays of a form."""
    table = places(form.family, form.style)
    out: Part = {}
    slices: dict[Keys, dict[int, Leaf]] = {}
    for path, leaf in part.items():
        if path[0] != "decoder" or not str(path[1]).startswith("#"):
            out[path] = leaf
            continue
        prefix, index = table[int(str(path[1])[1:])]
        target = ("decoder", *prefix, *path[2:])
        if index is None:
            out[target] = leaf
        else:
            slices.setdefault(target, {})[index] = leaf
    for target, found in slices.items():
        assert sorted(found) == list(range(len(found)))
        out[target] = stacked([found[index] for index in range(len(found))], axis)
    return out


def _stackable(aux: Part, form: Form) -> Part:
    """Streams that every layer of a stack has: NNX stores a shared one in one layer alone."""
    table = places(form.family, form.style)
    wanted: dict[Keys, set[int]] = {}
    for n, (prefix, index) in enumerate(table):
        if index is not None:
            wanted.setdefault(prefix, set()).add(n)
    out = {}
    for path, leaf in aux.items():
        if path[0] == "decoder" and str(path[1]).startswith("#"):
            prefix, _ = table[int(str(path[1])[1:])]
            others = {("decoder", f"#{n}", *path[2:]) for n in wanted.get(prefix, set())}
            if not others <= set(aux):
                continue
        out[path] = leaf
    return out


def taken(leaf: Leaf, index: int, axis: int) -> Leaf:
    """One layer of a stack. An empty stands for every layer alike."""
    return leaf if leaf.data is None else replace(leaf, data=np.take(leaf.data, index, axis=axis))


def stacked(leaves: list[Leaf], axis: int) -> Leaf:
    """A stack of layers."""
    arrays = [leaf.data for leaf in leaves if leaf.data is not None]
    if not arrays:
        return leaves[0]
    assert len(arrays) == len(leaves)
    return replace(leaves[0], data=np.stack(arrays, axis=axis))


def _model(left: Entries, form: Form) -> tuple[Part, Part]:
    if form.layout == "nnx":
        model = _below(left, ("model",))
        aux = {path: leaf for path, leaf in model.items() if is_aux(path)}
        return {path: leaf for path, leaf in model.items() if path not in aux}, aux
    return _below(left, ("params", "params")), _below(left, ("nnx_aux", "model"))


def _params_base(form: Form) -> Keys:
    return ("model",) if form.layout == "nnx" else ("params", "params")


def _aux_base(form: Form) -> Keys:
    return ("model",) if form.layout == "nnx" else ("nnx_aux", "model")


def _step(form: Form) -> Keys:
    return ("optimizer", "step") if form.layout == "nnx" else ("step",)


def _as_step(leaf: Leaf, dtype: str) -> Leaf:
    assert leaf.data is not None
    return replace(leaf, data=leaf.data.astype(dtype))


def _other(at: Keys, form: Form) -> Keys:
    match form.layout:
        case "linen":
            return ("opt_state", *at)
        case "nnx":
            return ("optimizer", "opt_state", *map(str, at))
        case _:
            # MaxText makes a list of the outermost chain alone.
            return ("opt_state", *at[:1], *map(str, at[1:]))


def _moment(at: Keys, form: Form) -> Keys:
    # MaxText puts the collection's name only below the fields of an outermost state.
    outermost = len(at) == 1 or (len(at) == 2 and isinstance(at[0], int))
    level = form.layout == "linen" or (form.layout == "maxtext" and outermost)
    return (*_other(at, form), "params") if level else _other(at, form)


def _writes_empty(at: Keys, form: Form) -> bool:
    return form.layout == "linen" or (form.layout == "maxtext" and len(at) == 1)


def _below(left: Entries, base: Keys) -> Part:
    found = {path[len(base) :]: left.pop(path) for path in list(left) if path[: len(base)] == base}
    return found


def _above(part: Part, base: Keys) -> Entries:
    return {(*base, *path): leaf for path, leaf in part.items()}
