"""Run jobs on threads, holding no more memory than allowed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from linen_nnx.convert.engine.run import waves, workers_of
from linen_nnx.schema.routing import Effort

T = TypeVar("T")


def run_jobs(jobs: Sequence[Callable[[], T]], costs: Sequence[int], effort: Effort) -> Iterator[T]:
    """The results as they come; `costs` are the bytes that jobs hold. A job beyond the bound runs alone."""
    for threads, wave in waves(costs, effort.memory, workers_of(effort)):
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(jobs[at]) for at in wave]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
