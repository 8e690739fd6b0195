"""Training runs of MaxText, each in a process of its own, and the digits that they log."""

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.oracle import environments
from tests.oracle.trainers import Form, Release

_TIMEOUT = 600  # seconds; a run takes five, the first of its form fifteen
_LOGGED = ("loss", "raw_grad_norm", "param_norm", "current_learning_rate")


@dataclass(frozen=True)
class Step:
    """What a step logged: float32 values, to the last digit."""

    number: int
    loss: float
    raw_grad_norm: float
    param_norm: float
    current_learning_rate: float


@dataclass(frozen=True)
class Run:
    """What a run logged, or the reason why it did not come to its end."""

    steps: tuple[Step, ...] = ()
    failure: str = ""


def fresh(folder: Path) -> Path:
    """An empty folder for a run; whatever was there is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "checkpoints").mkdir(parents=True)
    return folder


class Hosts:
    """For each thread and release a process that has MaxText imported; started when first asked for."""

    def __init__(self) -> None:
        self._hosts: dict[tuple[int, Release], subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts.values():
            host.kill()
            host.wait()

    def train(self, form: Form, folder: Path, steps: int) -> Run:
        """Train up to `steps` in `folder`, from the latest checkpoint there or else from the seed."""
        metrics = folder / "metrics.jsonl"
        flags = {
            **form.flags,
            "run_name": folder.name,
            "base_output_directory": str(folder.parent),
            "jax_cache_dir": str(folder.parent / "compiled"),  # one compilation for all runs of a form
            "metrics_file": str(metrics),
            "steps": str(steps),
        }
        job = {
            "folder": str(folder),
            "flags": [f"{name}={value}" for name, value in flags.items()],
            "timeout": _TIMEOUT,
        }
        match self._answer(form.trainer.release, json.dumps(job)):
            case "0":
                return Run(tuple(_step(line) for line in metrics.read_text().splitlines()))
            case "timeout":
                return Run(failure=f"no end after {_TIMEOUT} s")
            case "":
                return Run(failure=f"MaxText {form.trainer.release} could not be imported")
            case _:
                return Run(failure=_reason((folder / "log.txt").read_text(errors="replace")))

    def _answer(self, release: Release, job: str) -> str:
        host = self._host(release)
        assert host.stdin is not None
        assert host.stdout is not None
        try:
            host.stdin.write(job + "\n")
            host.stdin.flush()
        except BrokenPipeError:
            return ""
        return host.stdout.readline().strip()

    def _host(self, release: Release) -> subprocess.Popen[str]:
        key = threading.get_ident(), release
        if key not in self._hosts:
            script = Path(__file__).with_name("host.py")
            self._hosts[key] = subprocess.Popen(
                [environments.python(release), script],
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the log of each run has all that matters
                text=True,
            )
        return self._hosts[key]


def _environment() -> dict[str, str]:
    """No accelerator, no cloud, one thread a reduction; of the caller's only where things lie."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ}
    return kept | {
        "DECOUPLE_GCLOUD": "TRUE",
        "HF_HUB_OFFLINE": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }


def _step(line: str) -> Step:
    logged = json.loads(line)
    return Step(int(logged["step"]), *(float(logged[f"learning/{name}"]) for name in _LOGGED))


def _reason(log: str) -> str:
    """The line of a log that says why: the last that begins with the name of an error."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or ["nothing said"])[-1]
