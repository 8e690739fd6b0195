"""Run units on threads, holding no more memory than allowed."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from linen_nnx.convert.engine.blocks import Block
from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.reader import Reader
from linen_nnx.convert.engine.routes import Routed
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.engine.tally import Tally
from linen_nnx.convert.engine.units import Move, Unit, moves, splits, splittable
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.ops import Ref, Take, refs
from linen_nnx.schema.routing import Carriage, Effort, Route, Traffic
from linen_nnx.schema.zarr import chunk_grid


@dataclass(frozen=True, slots=True)
class Work:
    """All that is to be done on values."""

    units: Sequence[Unit]
    cache: int
    """Bytes of decoded chunks that are kept for the next unit that needs them."""
    tally: Tally = field(default_factory=Tally)


def work_of(writes: Sequence[Routed], items: Items, effort: Effort) -> Work:
    """What is moved one by one, and what is decoded."""
    units: list[Unit] = []
    together: defaultdict[tuple[Ref, int], list[Routed]] = defaultdict(list)
    made: list[Routed] = []
    # Slices of one array are stored alike: what holds for the first of them holds for all.
    known: dict[tuple[int, int], tuple[Ref, int] | None] = {}
    for write in writes:
        if write.route is Route.DECODE:
            op = write.write.op
            alike = (id(op.of if isinstance(op, Take) else op), id(write.array))
            if alike not in known:
                known[alike] = splittable(write)
            if (whole := known[alike]) is not None:
                together[whole].append(write)
            else:
                made.append(write)
        elif write.carriage is Carriage.VALUE:
            units.extend(moves(write))
    for (_, axis), layers in together.items():
        units.extend(splits(layers, axis))
    sources = {source.path: source.zarr.spec.nbytes for write in made for source in write.sources}
    tally = Tally()
    reader = Reader(items, cache := min(effort.memory // 4, sum(sources.values())))
    # One after the other what reads the same array.
    for write in sorted(made, key=lambda write: str(next(refs(write.write.op), ""))):
        units.extend(Block(write, reader, index, tally) for index in chunk_grid(write.array.zarr))
    return Work(units, cache, tally)


def workers_of(effort: Effort) -> int:
    """Threads to use."""
    return effort.workers or os.cpu_count() or 1


def waves(costs: Sequence[int], budget: int, workers: int) -> Iterator[tuple[int, list[int]]]:
    """Positions by the number of threads that can work on units of their cost at once; largest first."""
    by_threads: defaultdict[int, list[int]] = defaultdict(list)
    for position in sorted(range(len(costs)), key=lambda at: -costs[at]):
        threads = max(1, min(workers, budget // max(1, costs[position])))
        by_threads[threads].append(position)
    yield from sorted(by_threads.items())


def peak(work: Work, effort: Effort) -> int:
    """The bytes that `run` will hold at most."""
    if not work.units:
        return 0
    costs = [unit.cost for unit in work.units]
    found = waves(costs, effort.memory - work.cache, workers_of(effort))
    return work.cache + max(sum(costs[at] for at in wave[:threads]) for threads, wave in found)


def threads_of(work: Work, effort: Effort) -> float:
    """How many threads will work at once, on average over the bytes that are made; at least one."""
    costs, made = [unit.cost for unit in work.units], [unit.nbytes for unit in work.units]
    found = waves(costs, effort.memory - work.cache, workers_of(effort))
    spent = sum(sum(made[at] for at in wave) / min(threads, len(wave)) for threads, wave in found)
    return max(1.0, sum(made) / spent) if spent else 1.0


def run(work: Work, sink: Sink, effort: Effort, advance: Callable[[int], None]) -> Traffic:
    """Run all units whose keys are not stored yet. Raises `OSError`, `ValueError`, `ConversionError`."""
    units = work.units
    if not units:
        return Traffic()
    done = sink.finished()
    for unit in units:
        if done.issuperset(unit.keys):
            advance(unit.nbytes)
    left = [unit.without(done) for unit in units if not done.issuperset(unit.keys)]
    for threads, wave in waves([unit.cost for unit in left], effort.memory - work.cache, workers_of(effort)):
        _run_wave([left[at] for at in wave], threads, sink, advance)
    return Traffic(
        moved=sum(unit.cost for unit in left if isinstance(unit, Move)),
        decoded=sum(unit.nbytes for unit in left if not isinstance(unit, Move)),
        rounded=work.tally.rounded,
        resumed=sum(unit.nbytes for unit in units) - sum(unit.nbytes for unit in left),
    )


def _run_wave(units: Sequence[Unit], threads: int, sink: Sink, advance: Callable[[int], None]) -> None:
    buffers = Buffers()
    with ThreadPoolExecutor(threads) as pool:
        futures = {pool.submit(unit.run, sink, buffers): unit.nbytes for unit in units}
        try:
            for future in as_completed(futures):
                future.result()
                advance(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
