"""`make decoders`: ask MaxText's releases what their decoders hold, and keep it in `data/`.

In the environments of the oracle. Nothing is computed: models are built from shapes alone.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.decoders.cases import ALL, CASES, Case
from tests.decoders.data import Decoder, Form, save
from tests.oracle import environments
from tests.oracle.trainers import Release, Stack, Trainer, alone

_DEVICES = 4
"""Enough for two stages of a pipeline."""


def main() -> None:
    """Ask for every case, or those that are named."""
    parser = argparse.ArgumentParser(prog="make decoders", description=__doc__)
    parser.add_argument("--python", default="python3.12", help="a Python 3.12 to build the environments with")
    parser.add_argument("names", nargs="*", help="cases; all of them by default")
    options = parser.parse_args()
    for release in Release:
        environments.build(release, options.python)
    chosen = [case for case in CASES if not options.names or case.name in options.names]
    with _host(Release.LAST_WITH_LINEN) as last, _host(Release.NNX_ONLY) as today:
        hosts = {Release.LAST_WITH_LINEN: last, Release.NNX_ONLY: today}
        for case in chosen:
            found = Decoder(case.flags)
            for trainer in Trainer:
                for stack in Stack:
                    _ask(hosts[trainer.release], case, trainer, stack, found)
            save(case.name, found)
            sys.stdout.write(f"{case.name}: {len(set(map(str, found.forms.values())))} forms\n")
            sys.stdout.flush()


def _ask(host: "subprocess.Popen[str]", case: Case, trainer: Trainer, stack: Stack, found: Decoder) -> None:
    flags = dict(flag.split("=", 1) for flag in (*ALL.split(), *case.flags.split()))
    flags |= {**alone(), **trainer.flags, "scan_layers": str(stack is Stack.SCAN).lower()}
    asked = {
        "flags": [f"{name}={value}" for name, value in flags.items()],
        "linen": trainer is Trainer.LINEN,
    }
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(json.dumps(asked) + "\n")
    host.stdin.flush()
    answer = json.loads(host.stdout.readline())
    holder = f"{trainer.value} {stack}"
    if "error" in answer:
        found.refused[holder] = answer["error"]
    else:
        found.forms[holder] = Form(answer["params"], answer["others"])


@contextmanager
def _host(release: Release) -> Iterator["subprocess.Popen[str]"]:
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ}
    with subprocess.Popen(
        [environments.python(release), Path(__file__).with_name("abstract.py")],
        env=kept
        | {
            "DECOUPLE_GCLOUD": "TRUE",
            "HF_HUB_OFFLINE": "1",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={_DEVICES}",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as host:
        yield host
        assert host.stdin is not None
        host.stdin.close()


if __name__ == "__main__":
    main()
