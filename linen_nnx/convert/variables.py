"""Which Linen collection an NNX variable belongs to: its type is not on disk.

The rules, in order: what earlier metadata says; PRNG streams by their structure; a variable with a
moment is trained; known names of statistics and of MaxText's other variables; then, if the optimizer has
moments at all, a variable without one is not trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import PARAMS, RNGS, UNKNOWN
from linen_nnx.schema.path import ROOT, DictKey, Key, KeyPath
from linen_nnx.schema.plan import Note, NoteCode

BATCH_STATS = "batch_stats"
CACHE = "cache"
_CACHED = ("cached_key", "cached_value", "cache_index")
"""What attention keeps to decode: they come together."""
_STATISTICS = {"mean": BATCH_STATS, "var": BATCH_STATS}
"""BatchNorm's running statistics: they come in this pair."""
_NAMED = {"tid2eid": "Tid2EidVar"}
"""MaxText's variables that are never trained, and the Linen collections named after their classes."""
_GATE_BIAS = ("gate", "bias")
"""DeepSeek 4's router bias: a parameter until August 2026, a variable of its own class since."""
MOE_BIAS = "MoEBiasVar"
AQT = "aqt"
"""AQT's frozen weights, which stand below `qrhs`: weights, but stacked on the first axis."""
_FROZEN = DictKey("qrhs")
_FP8 = frozenset(
    f"{what}_{kind}" for what in ("input", "kernel", "output_grad") for kind in ("scale", "amax_history")
)
"""What a float8 product keeps of its operands, updated by their gradients."""
_FP8_COLLECTION = "_overwrite_with_gradient"
_PAIRS = {"count": "key", "key": "count"}
"""The two fields of a stream."""


@dataclass(frozen=True, slots=True)
class Classified:
    """The collection of every variable, and what to tell the user about how it was found."""

    collections: dict[KeyPath, str]
    notes: tuple[Note, ...]


def classify(model: Sequence[Entry], trained: set[KeyPath], known: Mapping[KeyPath, str]) -> Classified:
    """Give each variable of `model` a collection; `trained` are the paths that have moments."""
    names = {entry.path for entry in model}
    streams = {key for key in frozenset[Key]().union(*names) if _holds_streams(key)}
    collections: dict[KeyPath, str] = {}
    unknown: list[KeyPath] = []
    for entry in model:
        path = entry.path
        if path in known:
            collections[path] = known[path]
        elif _is_rng(entry, names, streams):
            collections[path] = RNGS
        elif path in trained:
            collections[path] = PARAMS
        elif _is_statistic(path, names):
            collections[path] = BATCH_STATS
        elif _FROZEN in path:
            collections[path] = AQT
        elif trained and len(path) > 1 and path[-1].name in _FP8 and path[-2].name.startswith("Fp8"):
            collections[path] = _FP8_COLLECTION
        elif path.names[-1:] and path.names[-1] in _NAMED:
            collections[path] = _NAMED[path.names[-1]]
        elif trained and path.names[-2:] == _GATE_BIAS:
            collections[path] = MOE_BIAS
        elif _is_cache(path, names):
            collections[path] = CACHE
        elif trained and isinstance(entry.value, ArrayValue):
            collections[path] = UNKNOWN
            unknown.append(path)
        else:
            collections[path] = PARAMS
    return Classified(collections, _notes(unknown))


def classify_aux(aux: Sequence[Entry], known: Mapping[KeyPath, str]) -> dict[KeyPath, str]:
    """The same for variables that are no parameters by their writer's word."""
    found = classify(aux, {ROOT}, known).collections
    return {path: UNKNOWN if name == PARAMS and path not in known else name for path, name in found.items()}


def _notes(unknown: list[KeyPath]) -> tuple[Note, ...]:
    if not unknown:
        return ()
    text = f"{len(unknown)} variables have no moment in the optimizer and are taken as not trained"
    return (Note(code=NoteCode.UNCLASSIFIED_AUX, text=text, paths=tuple(unknown[:5])),)


def _is_rng(entry: Entry, names: set[KeyPath], streams: set[Key]) -> bool:
    if isinstance(entry.value, ArrayValue) and entry.value.spec.key_impl is not None:
        return True
    path = entry.path
    if streams and not streams.isdisjoint(path.parent):
        return True
    pair = _PAIRS.get(path[-1].name) if len(path) else None
    return pair is not None and path[:-1] / pair in names and _holds_stream(entry)


def _holds_streams(key: Key) -> bool:
    return key.name == RNGS or key.name.endswith("_rngs")


def _holds_stream(entry: Entry) -> bool:
    return isinstance(entry.value, ArrayValue) and entry.value.spec.dtype == "uint32"


def _is_statistic(path: KeyPath, names: set[KeyPath]) -> bool:
    return len(path) > 0 and path[-1].name in _STATISTICS and all(path[:-1] / n in names for n in _STATISTICS)


def _is_cache(path: KeyPath, names: set[KeyPath]) -> bool:
    return len(path) > 0 and path[-1].name in _CACHED and all(path[:-1] / n in names for n in _CACHED)
