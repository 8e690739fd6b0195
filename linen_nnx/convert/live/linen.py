"""`to_linen` with a template: a Linen train state of a live NNX model and its optimizer."""

from collections.abc import Mapping
from typing import Any

from linen_nnx.convert.live.arrays import like
from linen_nnx.convert.live.ruling import AnyRules, ruled, towards
from linen_nnx.convert.memory import convert_tree
from linen_nnx.convert.spec.live import spec_of_live
from linen_nnx.convert.store.memory_source import MemorySource
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.linen import FIELD_COLLECTIONS
from linen_nnx.schema.options import Accept, ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem, near
from linen_nnx.schema.tree import flatten, inventory_of, value_of

_STATE = ("step", "params", "opt_state", *FIELD_COLLECTIONS)
"""Fields that the model and its optimizer give; every other one is the template's own."""


def into_linen(
    model: Any,
    optimizer: Any,
    template: Any,
    options: ConversionOptions | None,
    rules: AnyRules | None,
    accept: Accept | str,
) -> Any:
    """A state like `template` (concrete, or of `jax.eval_shape`) with the values of the live objects.

    Raises `ConversionError` with every difference from the template.
    """
    from flax import nnx

    tree = {"model": nnx.state(model)}
    if optimizer is not None:
        tree["optimizer"] = nnx.state(optimizer)
    base = towards(Layout.LINEN, options)
    asked, found = ruled(MemorySource(template), spec_of_live(model, optimizer), base, rules, accept)
    made = dict(flatten(convert_tree(tree, Layout.LINEN, asked, template=template).tree))
    wanted = {entry.path: entry.value for entry in inventory_of(template).entries}
    arrays = {path: value.spec for path, value in wanted.items() if isinstance(value, ArrayValue)}
    given = dict(flatten(template))
    differences = _problems(made, arrays, given, has_optimizer=optimizer is not None)
    raise_if(differences or ([] if found is None else found.problems), ConversionError)
    return _rebuilt(template, made)


def _problems(
    made: Mapping[KeyPath, Any],
    wanted: Mapping[KeyPath, ArraySpec],
    given: Mapping[KeyPath, Any],
    *,
    has_optimizer: bool,
) -> list[Problem]:
    problems = []
    ours = {p: v.spec for p, leaf in made.items() if isinstance(v := value_of(leaf), ArrayValue)}
    surplus = [path for path in ours if path not in wanted]
    for path, spec in wanted.items():
        own = path.names[0] not in _STATE or (not has_optimizer and path.names[0] != "params")
        if path in ours:
            problems += _unlike(path, spec, ours[path])
        elif not own or _is_abstract(given[path]):
            hint = near(path, surplus) if len(surplus) < 1000 else None
            problems.append(_problem(Code.MISSING_ENTRY, path, str(spec), "nothing", hint))
    problems += [
        _problem(Code.UNEXPECTED_ENTRY, path, "nothing: the template has no such leaf", str(ours[path]))
        for path in surplus
    ]
    return problems


def _unlike(path: KeyPath, wanted: ArraySpec, found: ArraySpec) -> list[Problem]:
    """The step is a Python number before the first jitted step: its dtype says nothing."""
    if found == wanted or (path.names == ("step",) and not found.shape):
        return []
    code = Code.SHAPE_MISMATCH if found.shape != wanted.shape else Code.DTYPE_MISMATCH
    return [_problem(code, path, str(wanted), str(found))]


def _problem(code: Code, path: KeyPath, expected: str, found: str, hint: str | None = None) -> Problem:
    return Problem(code=code, path=path, expected=expected, found=found, hint=hint)


def _is_abstract(leaf: Any) -> bool:
    return type(leaf).__name__ == "ShapeDtypeStruct"


def _rebuilt(template: Any, made: Mapping[KeyPath, Any]) -> Any:
    import jax

    def filled(keys: tuple[Any, ...], leaf: Any) -> Any:
        path = KeyPath.of(*(_key(key) for key in keys))
        return like(made[path], leaf) if path in made and made[path] is not None else leaf

    return jax.tree_util.tree_map_with_path(filled, template)


def _key(key: Any) -> str | int:
    """A key of a jax path as `flatten` names it."""
    for name in ("name", "idx", "key"):
        if hasattr(key, name):
            found = getattr(key, name)
            return found if name == "idx" else str(found)
    raise TypeError(f"a tree with the key {key!r} has no paths")
