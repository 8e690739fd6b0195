"""The two models of a probe as functions of their variables, compiled once."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from linen_nnx.convert.live.calling import in_evaluation, options_of
from linen_nnx.convert.live.places import places
from linen_nnx.convert.probing.probe import Probe
from linen_nnx.convert.spec.live import model_of
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.errors import SpecError
from linen_nnx.schema.ir import Slot
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code
from linen_nnx.schema.spec import Kind
from linen_nnx.schema.tree import inventory_of

T = TypeVar("T")
Outputs = tuple["np.ndarray[Any, Any]", ...]
_MODEL = ROOT / "model"


class LinenModel:
    """A Linen module as a function of its variables."""

    def __init__(self, probe: Probe) -> None:
        """Initialise it abstractly. Raises `SpecError` where that fails."""
        import jax
        from flax.core import meta

        def made() -> Any:
            keys = {name: jax.random.key(0) for name in ("params", "dropout")}
            return meta.unbox(probe.linen.init(keys, *probe.example, **probe.options))

        self._tree = _told("the Linen module's init", lambda: jax.eval_shape(made))
        self.specs: dict[Slot, ArraySpec] = {
            _slot(entry.path): entry.value.spec
            for entry in inventory_of(self._tree).entries
            if isinstance(entry.value, ArrayValue)
        }
        self._call = _compiled(lambda tree: probe.linen.apply(tree, *probe.example, **probe.options))

    def __call__(self, arrays: Mapping[Slot, Any]) -> Outputs:
        """The outputs with these variables, which are all."""
        import jax

        def leaf(keys: tuple[Any, ...], _: Any) -> Any:
            return arrays[_slot(KeyPath.of(*(str(key.key) for key in keys)))]

        tree = jax.tree_util.tree_map_with_path(leaf, self._tree)
        return _told("the Linen module", lambda: self._call(tree))


def _slot(path: KeyPath) -> Slot:
    return Slot(collection=path.names[0], path=path[1:])


class NnxModel:
    """An NNX model as a function of its variables; PRNG streams are its own."""

    def __init__(self, probe: Probe) -> None:
        """Make it, if a function is given. Raises `SpecError` where that fails."""
        from flax import nnx

        made = _told("the NNX model", lambda: in_evaluation(model_of(probe.nnx)))
        graph, state = nnx.split(made)
        self._places = {path[len(_MODEL) :]: place for path, place in places(made, None).items()}
        options = options_of(made, probe.options)
        self.specs: dict[KeyPath, ArraySpec] = {
            path: place.spec for path, place in self._places.items() if place.kind is not Kind.RNG
        }
        self.constants = {path for path, place in self._places.items() if place.variable is place.value}
        """Arrays that stand bare in a module, which the model itself may give."""

        def call(given: tuple[Any, dict[str, Any]]) -> Any:
            # The state is an argument, so that a model may count and draw while it is traced.
            whole, arrays = given
            flat = dict(nnx.to_flat_state(whole))
            for text, array in arrays.items():
                place = self._places[KeyPath.parse(text)]
                flat[place.keys] = place.holding(array)
            return nnx.merge(graph, nnx.from_flat_state(list(flat.items())))(*probe.example, **options)

        self._state, self._call = state, _compiled(call)

    def __call__(self, arrays: Mapping[KeyPath, Any]) -> Outputs:
        """The outputs with these variables; PRNG streams and constants not given are the model's own."""
        given = {str(path): array for path, array in arrays.items()}
        return _told("the NNX model", lambda: self._call((self._state, given)))


def made_probe(make: Callable[[], Any]) -> Probe:
    """The probe that a user's function makes. Raises `SpecError` where it makes none."""
    made = _told("the function of the probe", make)
    if not isinstance(made, Probe):
        raise SpecError.one(
            Code.NO_SPEC,
            expected="a function that returns linen_nnx.Probe(linen_module, nnx_model, *example, **options)",
            found=f"one that returns a {type(made).__name__}",
        )
    return made


def _compiled(call: Callable[[Any], Any]) -> Callable[[Any], Outputs]:
    import jax

    compiled = jax.jit(lambda variables: jax.tree.leaves(call(variables)))

    def run(variables: Any) -> Outputs:
        with jax.default_matmul_precision("highest"):
            return tuple(np.asarray(leaf) for leaf in compiled(variables))

    return run


def _told(what: str, run: Callable[[], T]) -> T:
    """What a user's code makes; whatever it raises becomes a problem."""
    try:
        return run()
    except SpecError:
        raise
    except Exception as error:
        raise SpecError.one(
            Code.NO_SPEC,
            expected=f"{what} to run by itself, with the example and the options of the probe",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            hint="models are run without dropout and by running averages: give options such as train=False",
        ) from error
