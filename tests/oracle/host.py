"""Runs of MaxText, each in a process of its own, forked from one that has imported it.

The import takes ten seconds, a run then five. Run by a Python of the oracle. Reads a job a line: JSON of
`folder` (where the run takes place, and leaves its `log.txt`), `flags` and `timeout` in seconds. Answers each
with a line: the exit code, or `timeout`.
"""

import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

_POLL = 0.05  # seconds


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    train = import_module("maxtext.trainers.pre_train.train")
    settings = Path(next(iter(import_module("maxtext.configs").__path__))) / "base.yml"
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(train, ["train", str(settings), *job["flags"]], Path(job["folder"]))
        answers.write(f"{_waited(child, job['timeout'])}\n")
        answers.flush()


def _run(train: Any, arguments: list[str], folder: Path) -> None:
    """Train, and end this process."""
    from absl import app

    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    app.run(train.main, argv=arguments)
    sys.exit(0)


def _waited(child: int, timeout: float) -> str:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(_POLL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


if __name__ == "__main__":
    main()
