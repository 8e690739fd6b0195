"""How much work is done, as a count of calls: the same on every machine, however busy it is."""

import sys
from collections.abc import Callable, Iterable
from types import FrameType


class _Calls:
    """Counts every call, of Python functions and of built-in ones."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")

    def __enter__(self) -> "_Calls":
        sys.setprofile(self)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)


def assert_linear(work: Iterable[Callable[[], object]]) -> None:
    """Of work for 1, 2 and 4 times as much: the last half takes twice what the second quarter takes.

    What is done once for all (modules that are imported, models that are built) must have been done before.
    """
    once, twice, four_times = counts = [_calls_of(one) for one in work]
    assert four_times - twice <= 2.1 * (twice - once), counts


def _calls_of(work: Callable[[], object]) -> int:
    with _Calls() as calls:
        work()
    return calls.count
