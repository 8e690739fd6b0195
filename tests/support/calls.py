"""How much work is done, as a count of calls or lines: the same on every machine, however busy it is."""

import sys
from collections.abc import Callable, Iterable
from types import FrameType


class Calls:
    """Counts every call, of Python functions and of built-in ones."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")

    def __enter__(self) -> "Calls":
        sys.setprofile(self)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)


class Lines:
    """Counts every line that runs, and so each round of a loop that calls nothing; slower than `Calls`."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> "Lines":
        self.count += event == "line"
        return self

    def __enter__(self) -> "Lines":
        sys.settrace(self)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.settrace(None)


def assert_linear(work: Iterable[Callable[[], object]], of: type[Calls] | type[Lines] = Calls) -> int:
    """Of work for 1, 2 and 4 times as much: the last half, which is returned, takes twice the second quarter.

    What is done once for all (modules that are imported, models that are built) must have been done before.
    """
    once, twice, four_times = counts = [_count(one, of()) for one in work]
    assert four_times - twice <= 2.1 * (twice - once), counts
    return four_times - twice


def _count(work: Callable[[], object], counting: Calls | Lines) -> int:
    with counting:
        work()
    return counting.count
