"""Run a command and say what it took: the whole process, children included."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Of one run, or medians of several."""

    wall: float
    cpu: float
    peak: int
    """Resident bytes."""


def run(command: Sequence[str], log: Path) -> Cost:
    """Run `command` to its end. Raises `RuntimeError` if it fails."""
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {log.read_text()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Of each figure by itself; the largest peak."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        max(cost.peak for cost in costs),
    )


def empty(folder: Path) -> None:
    """Remove what an arm wrote, and let the disk come to rest."""
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()
