"""The expected train state of live objects and of functions that make them, by abstract evaluation.

The one room of `spec` that needs flax and jax; they are imported when it is used.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from linen_nnx.convert.lifting import lift_optimizer, lift_variables
from linen_nnx.convert.mirrors import Chains
from linen_nnx.schema.array import ArrayValue, Empty, EmptyValue
from linen_nnx.schema.errors import SpecError
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ir import PARAMS, OptimizerLeaf
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.path import ROOT, DictKey, KeyPath
from linen_nnx.schema.problem import Code
from linen_nnx.schema.spec import Kind, Sharding, Spec, SpecLeaf, SpecModule, SpecOptimizerLeaf
from linen_nnx.schema.tree import inventory_of, value_of
from linen_nnx.schema.wire import bare_paths


def spec_of_live(subject: Any, optimizer: Any = None) -> Spec:
    """Of an NNX model (with its optimizer, or an optax transform), or of a function that makes one.

    Raises `SpecError` where neither a model nor a train state comes of it.
    """
    from flax import nnx

    made: Any = subject
    if callable(subject) and not isinstance(subject, nnx.Module):
        made = _evaluated(nnx.eval_shape, subject)
    if isinstance(made, tuple) and len(made) == 2 and _is_module(made[0]):
        made, optimizer = made[0], made[1] if optimizer is None else optimizer
    if isinstance(made, nnx.Optimizer):
        made, optimizer = _held_model(made), made
    if not _is_module(made):
        # Here, since `making` imports this module in turn.
        from linen_nnx.convert.spec.making import spec_of_tree

        return spec_of_tree(made)
    if optimizer is not None and not isinstance(optimizer, nnx.Optimizer):
        make = _optimizer_of(optimizer)
        made, optimizer = _evaluated(lambda: nnx.eval_shape(make, made))
    return _spec(made, optimizer)


def model_of(subject: Any) -> Any:
    """The NNX model, with its values, that `subject` is, or that a function makes, maybe with its optimizer.

    Raises `SpecError` where none comes of it.
    """
    made = subject() if callable(subject) and not _is_module(subject) else subject
    made = made[0] if isinstance(made, tuple) and made else made
    if not _is_module(made):
        raise SpecError.one(
            Code.NO_SPEC,
            expected="an nnx.Module, or a function that makes one, or one with its optimizer",
            found=type(made).__name__,
        )
    return made


def _is_module(node: Any) -> bool:
    from flax import nnx

    return isinstance(node, nnx.Module)


def _evaluated(evaluate: Callable[..., Any], *arguments: Any) -> Any:
    """What a user's code makes; whatever it raises becomes a problem."""
    try:
        return evaluate(*arguments)
    except Exception as error:
        raise SpecError.one(
            Code.NO_SPEC,
            expected="a function of no arguments that makes a model and its optimizer, or a train state",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            hint="it is evaluated abstractly (nnx.eval_shape): it must not look at values of arrays",
        ) from error


def _optimizer_of(transform: Any) -> Callable[[Any], tuple[Any, Any]]:
    from flax import nnx

    return lambda model: (model, nnx.Optimizer(model, transform, wrt=nnx.Param))


def _held_model(optimizer: Any) -> Any:
    """The model of an optimizer that holds one: `nnx.Optimizer` up to 0.10, `nnx.ModelAndOptimizer`."""
    model = getattr(optimizer, "model", None)
    if model is None:
        raise SpecError.one(
            Code.NO_SPEC,
            expected="a model with its optimizer",
            found="an nnx.Optimizer alone, which does not hold its model",
            hint="give both: spec_of(model, optimizer), or a function that returns (model, optimizer)",
        )
    return model


def _spec(model: Any, optimizer: Any) -> Spec:
    import flax

    leaves = list(model_leaves(model))
    step, of_optimizer = None, list[SpecOptimizerLeaf]()
    if optimizer is not None:
        value = value_of(held_value(optimizer.step))
        step = value.spec if isinstance(value, ArrayValue) else None
        of_optimizer = list(_optimizer_leaves(optimizer, leaves))
    return Spec.of(
        Layout.NNX, leaves, of_optimizer, modules=_modules(model), step=step, flax=flax.__version__
    )


def model_leaves(model: Any) -> Iterator[SpecLeaf]:
    """One leaf a variable of the model; what holds no array (an absent bias) is none."""
    for path, variable in _flat_state(model):
        kind, value = kind_of(variable), value_of(held_value(variable))
        if isinstance(value, ArrayValue):
            yield SpecLeaf(
                path=path_of(path),
                collection=kind.collection,
                kind=kind,
                type=type_of(variable).__name__ if _is_variable(variable) else None,
                spec=value.spec,
                out_sharding=_sharding(variable),
            )


def _flat_state(node: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    from flax import nnx

    yield from nnx.to_flat_state(nnx.state(node))


def path_of(keys: tuple[Any, ...]) -> KeyPath:
    """The path of a variable as it stands on disk: every key a dict key, whatever it was."""
    return KeyPath(tuple(DictKey(str(key)) for key in keys))


def kind_of(variable: Any) -> Kind:
    """By the bases of the variable's type; an array that stands bare in a module (WeightNorm) is Other."""
    from flax import nnx

    bases: list[tuple[Any, Kind]] = [
        (nnx.Param, Kind.PARAM),
        (nnx.BatchStat, Kind.BATCH_STAT),
        (nnx.Cache, Kind.CACHE),
        (nnx.Intermediate, Kind.INTERMEDIATE),
        (nnx.RngState, Kind.RNG),
    ]
    held = type_of(variable)
    return next((kind for base, kind in bases if issubclass(held, base)), Kind.OTHER)


def type_of(node: Any) -> type:
    """The class of a variable; in the states of releases up to 0.10 a `VariableState` names it."""
    return node.type if type(node).__name__ == _OLD_STATE else type(node)


_OLD_STATE = "VariableState"


def _is_variable(node: Any) -> bool:
    from flax import nnx

    return isinstance(node, nnx.Variable) or type(node).__name__ == _OLD_STATE


def held_value(node: Any) -> Any:
    """What a variable holds, in any release: the getter is new, the attribute is old."""
    if not _is_variable(node):
        return node
    return node.get_value() if hasattr(node, "get_value") else node.value


def _sharding(node: Any) -> Sharding | None:
    """The axis names of a variable's dimensions; `sharding` is what releases up to 0.11 call it."""
    if not _is_variable(node):
        return None
    metadata = node.get_metadata()
    names: Any = metadata.get("out_sharding", metadata.get("sharding"))
    if not isinstance(names, tuple):
        return None
    return tuple(tuple(axes) if isinstance(axes, list) else axes for axes in names)


def _modules(model: Any) -> Iterator[SpecModule]:
    from flax import nnx

    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Module) or type(node).__name__ in {"List", "Dict", "Sequential"}:
            yield SpecModule(path=path_of(path), name=type(node).__name__)


def _optimizer_leaves(optimizer: Any, leaves: list[SpecLeaf]) -> Iterator[SpecOptimizerLeaf]:
    """Every leaf and every empty of `opt_state`, each moment with its variable."""
    found = inventory_of(optimizer.opt_state)
    entries = Inventory.of(
        Entry(path=e.path if bare is None else bare, value=_empty_as_none(e))
        for e, bare in zip(found.entries, bare_paths(found, ROOT, None), strict=True)
    ).entries
    collections: dict[KeyPath, str] = {leaf.path: leaf.collection for leaf in leaves}
    shardings = dict(_opt_shardings(optimizer))
    model = [Entry(path=leaf.path, value=ArrayValue(spec=leaf.spec)) for leaf in leaves]
    variables = lift_variables("", model, lambda path: path, Origin.SOURCE)
    for item in lift_optimizer(entries, variables, lambda path: path, Origin.SOURCE, Chains.LISTS):
        slot = item.mirrors
        if slot is not None:
            slot = replace(slot, collection=collections.get(slot.path, PARAMS))
        yield SpecOptimizerLeaf(
            at=item.at, mirrors=slot, value=item.leaf.value, out_sharding=shardings.get(_place(item))
        )


def _empty_as_none(entry: Entry) -> Any:
    """Optax's empty states are None in every checkpoint, whatever kind of tuple they are in memory."""
    empty = isinstance(entry.value, EmptyValue) and entry.value.empty is not Empty.DICT
    return EmptyValue() if empty else entry.value


def _place(item: OptimizerLeaf) -> KeyPath:
    below = () if item.mirrors is None else item.mirrors.path.keys
    return path_of((*item.at.names, *(key.name for key in below if isinstance(key, DictKey))))


def _opt_shardings(optimizer: Any) -> Iterator[tuple[KeyPath, Sharding]]:
    for path, variable in _flat_state(optimizer):
        names = _sharding(variable)
        if path[0] == "opt_state" and names is not None:
            yield path_of(path[1:]), names
