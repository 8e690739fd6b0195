"""Tell the layout of a checkpoint from its entries, with evidence; refuse where two fit or none."""

from collections.abc import Callable
from itertools import pairwise

from linen_nnx.convert.layers.names import (
    GLOBAL,
    LAYERS,
    LOCAL,
    MOE_OUTSIDE,
    NESTED_DENSE,
    LayerPlace,
    Left,
    One,
    read,
)
from linen_nnx.convert.quantised import quantised_signs
from linen_nnx.schema.detection import Against, Detection
from linen_nnx.schema.diloco import DilocoTrainState
from linen_nnx.schema.errors import LayoutError
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import LayerNames, Layout
from linen_nnx.schema.maxtext import PARAMS_BASE
from linen_nnx.schema.nnx import MODEL_PARAMS, OPTIMIZER_STATE
from linen_nnx.schema.path import DictKey, Key, KeyPath, SequenceKey
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import VALUE

_LINEN = frozenset({"params", "opt_state"})
_NNX = frozenset({"model", "optimizer"})
_DILOCO = frozenset({"inner_state", "outer_opt_state"})
_WRAPPED_CHAINS = frozenset({"inner_state", "inner_opt_state", "base_optimizer_state", "fast_state"})
"""Fields in which optax's wrappers keep the state of what they wrap."""
_OPTIMIZER_ALONE = frozenset({"optimizer", "opt_state", "step"})
"""What an `nnx.Optimizer` without its model leaves at the root."""
_MODEL_PARTS = frozenset({"decoder", "encoder", "token_embedder"})


def detect(inventory: Inventory) -> Detection:
    """The layout. Raises `LayoutError` if it is ambiguous or unknown."""
    found = _detect(inventory)
    signs = quantised_signs(entry.path for entry in inventory.entries)
    return found.model_copy(update={"evidence": (*found.evidence, *signs)}) if signs else found


def _detect(inventory: Inventory) -> Detection:
    top = frozenset(inventory.top)
    if top >= _DILOCO:
        return _diloco(DilocoTrainState.read(inventory))
    if top & _LINEN and top & _NNX:
        raise _ambiguous(top)
    if "model" in top:
        return _nnx(inventory)
    if "params" in top:
        return _linen_shaped(inventory)
    if MODEL_PARAMS in top:
        return _found(Layout.TUNIX, f"the items {MODEL_PARAMS} and {OPTIMIZER_STATE} of a step")
    if signs := _params_signs(inventory):
        return _found(Layout.PARAMS, *signs)
    raise _unknown(inventory)


def _found(layout: Layout, *evidence: str) -> Detection:
    return Detection(
        layout=layout,
        evidence=evidence,
        against=(
            Against(layout=Layout.LINEN, reason="there is no params/ at the root"),
            Against(layout=Layout.NNX, reason="there is no model/ at the root"),
        ),
    )


def _params_signs(inventory: Inventory) -> list[str]:
    """What shows that a model tree stands at the root."""
    if set(inventory.top) <= _OPTIMIZER_ALONE:
        return []
    signs = []
    if found := [name for name in inventory.top if name in _MODEL_PARTS]:
        signs.append(f"parts of a model stand at the root: {', '.join(found)}")
    if inventory.top == ("base",):
        signs.append("all stands below base/, as an adapter holds a model")
    if inventory.entries and all(e.path.names[-1:] == (VALUE,) for e in inventory.entries):
        signs.append("every leaf stands under value, as an nnx.State is saved")
    return signs


def _nnx(inventory: Inventory) -> Detection:
    top = inventory.top
    evidence = ["the model's variables stand below model/"]
    if "optimizer" in top:
        evidence.append("the optimizer stands below optimizer/, with a step of its own")
    return Detection(
        layout=Layout.NNX,
        evidence=tuple(evidence),
        against=(
            Against(layout=Layout.LINEN, reason="there is no params/ at the root"),
            Against(layout=Layout.MAXTEXT, reason="there is no params/params/ at the root"),
        ),
    )


def _linen_shaped(inventory: Inventory) -> Detection:
    signs = _maxtext_signs(inventory)
    no_nnx = Against(layout=Layout.NNX, reason="there is no model/ at the root")
    evidence = ["parameters stand below params/"]
    if signs:
        return Detection(
            layout=Layout.MAXTEXT,
            evidence=(*evidence, *signs),
            against=(no_nnx, Against(layout=Layout.LINEN, reason=f"a Linen run never writes: {signs[0]}")),
        )
    if "opt_state" in inventory.top:
        evidence.append("opt_state has no position written as a dict of digits")
    return Detection(
        layout=Layout.LINEN,
        evidence=tuple(evidence),
        against=(no_nnx, Against(layout=Layout.MAXTEXT, reason="there is no nnx_aux/ nor any trace of NNX")),
    )


def _maxtext_signs(inventory: Inventory) -> list[str]:
    """What shows that an NNX run wrote a Linen-shaped state."""
    signs = []
    if "nnx_aux" in inventory.top:
        signs.append("nnx_aux/ holds the variables that are no parameters")
    # Paths are read only where a name stands in them that such a sign needs.
    names = {key.name for key in inventory.keys if isinstance(key, DictKey)}
    nested = LAYERS in names or any(name.startswith(NESTED_DENSE) for name in names)
    if nested and (path := _first(inventory, _is_nested_layer)):
        signs.append(f"layers are keyed by number, as at {path}")
    streams = any(name.endswith("_rngs") for name in names)
    if streams and (path := _first(inventory, _is_stream)):
        signs.append(f"streams of random numbers stand among the parameters, as at {path}")
    if any(name.startswith(MOE_OUTSIDE) for name in names):
        signs.append(f"layers outside of a pipeline are called {MOE_OUTSIDE}")
    if names & {LOCAL, GLOBAL} and (path := _first(inventory, _is_stacked_remainder)):
        signs.append(f"what is left over of the blocks is stacked, as at {path}")
    if names & {LOCAL, GLOBAL} and (path := _first(inventory, _is_parted_block)):
        signs.append(f"the blocks of `layers` have parts, as at {path}")
    if any(map(str.isdecimal, names)) and (path := _first(inventory, _is_nested_chain)):
        signs.append(f"a nested optimizer chain is a dict of digits, as at {path}")
    return signs


def _diloco(state: DilocoTrainState) -> Detection:
    within = inner_layout(state)
    return Detection(
        layout=Layout.DILOCO,
        evidence=(
            "inner_state/ and outer_opt_state/ stand beside params/",
            f"{state.replicas} replicas, each a state of the layout {within.value}",
        ),
        against=(
            Against(layout=Layout.LINEN, reason="a state of one replica has no inner_state/"),
            Against(layout=Layout.NNX, reason="there is no model/ at the root"),
        ),
    )


def inner_layout(state: DilocoTrainState) -> Layout:
    """Whose inner state it is: `maxtext` where NNX shows in it, or in the outer optimizer."""
    if _maxtext_signs(Inventory.of(state.inner)):
        return Layout.MAXTEXT
    levels = {entry.path.names[2] for entry in state.outer_opt_state if len(entry.path) > 3}
    return Layout.MAXTEXT if levels - {"params"} else Layout.LINEN


def _first(inventory: Inventory, sign: Callable[[KeyPath], bool]) -> KeyPath | None:
    return next((entry.path for entry in inventory.entries if sign(entry.path)), None)


def _is_nested_layer(path: KeyPath) -> bool:
    if not path.startswith(PARAMS_BASE):
        return False
    place = read(path[2:])
    return place is not None and isinstance(place.role, One) and place.role.names is LayerNames.NESTED


def _is_stream(path: KeyPath) -> bool:
    return path.startswith(PARAMS_BASE) and any(name.endswith("_rngs") for name in path.names[2:-1])


def _is_stacked_remainder(path: KeyPath) -> bool:
    if not path.startswith(PARAMS_BASE):
        return False
    place = read(path[2:])
    return place is not None and isinstance(place.role, Left) and _parted(place)


def _is_parted_block(path: KeyPath) -> bool:
    """Linen's blocks of such parts, Gemma 4's, are called otherwise."""
    if not path.startswith(PARAMS_BASE):
        return False
    place = read(path[2:])
    return place is not None and len(place.inside) > 1 and place.inside.names[0] == LAYERS and _parted(place)


def _parted(place: LayerPlace) -> bool:
    return place.inside.names[-1] in (LOCAL, GLOBAL)


def _is_nested_chain(path: KeyPath) -> bool:
    """A dict of digits below `opt_state`, right under a position or a field that holds a chain."""
    if path[0].name != "opt_state":
        return False
    return any(
        isinstance(key, DictKey) and key.name.isdecimal() and _holds_chain(above)
        for above, key in pairwise(path)
    )


def _holds_chain(key: Key) -> bool:
    return isinstance(key, SequenceKey) or key.name in _WRAPPED_CHAINS


def _ambiguous(top: frozenset[str]) -> LayoutError:
    return LayoutError.one(
        Code.AMBIGUOUS_LAYOUT,
        expected="one train state",
        found=f"{_listed(top & _LINEN)} of a Linen state beside {_listed(top & _NNX)} of an NNX one",
        hint="two states were saved in one item; restore it and save them apart",
    )


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _unknown(inventory: Inventory) -> LayoutError:
    problems = [
        Problem(
            code=Code.UNKNOWN_LAYOUT,
            expected="params (Linen, MaxText) or model (NNX) at the root",
            found=", ".join(inventory.top) or "no entries",
            hint=_unknown_hint(inventory),
        )
    ]
    return LayoutError(problems)


def _unknown_hint(inventory: Inventory) -> str | None:
    if not inventory.top:
        return None
    if set(inventory.top) <= _OPTIMIZER_ALONE:
        return "an nnx.Optimizer alone is no train state: save it together with its model"
    return "if it is a bare model tree (to_pure_dict of a model), say so: --layout params, --from params"
