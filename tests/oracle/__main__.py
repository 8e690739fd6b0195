"""Build the environments, train, convert, resume, compare; print the table, write `docs/oracle.md`."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.oracle import environments
from tests.oracle.cases import GROUND_TRUTH, Resume, Trained, cases
from tests.oracle.judging import Row, judge
from tests.oracle.moving import NotMovedError
from tests.oracle.report import document, say, show
from tests.oracle.running import Hosts, Run, fresh
from tests.oracle.trainers import FORMS, STEP_FOLDER, STEPS, Release

_WORK = environments.ROOT / "build" / "oracle"
_AT_ONCE = 2  # runs; each takes about 2 GB and one core


def main() -> int:
    options = _options()
    build = partial(environments.build, base=options.python)
    with Hosts() as hosts, ThreadPoolExecutor(_AT_ONCE) as pool:
        for release, built in zip(Release, pool.map(build, Release), strict=True):
            say(f"MaxText {release}: {'built' if built else 'is there'}: {environments.folder(release).name}")
        rows = _rows(pool, hosts, Trained(_WORK, options.cli.absolute()), options.only)
    show(rows)
    if not GROUND_TRUTH.is_dir():
        say("skipped: the states of older versions; there is no ../shared/ground-truth")
    failed = [row for row in rows if not row.passed]
    say(f"{len(rows) - len(failed)} cases as they must be, {len(failed)} not")
    if not options.only:
        (environments.ROOT / "docs").mkdir(exist_ok=True)
        (environments.ROOT / "docs" / "oracle.md").write_text(document(rows, options.cli))
    return 1 if failed or not rows else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make oracle", description=__doc__)
    parser.add_argument("--python", default="python3.12", help="a Python 3.12 to build the environments with")
    parser.add_argument(
        "--cli", type=Path, default=Path(sys.executable).with_name("linen-nnx"), help="the linen-nnx to try"
    )
    parser.add_argument("--only", default="", help="only the cases with this text in them; writes no docs")
    return parser.parse_args()


def _rows(pool: ThreadPoolExecutor, hosts: Hosts, at: Trained, only: str) -> list[Row]:
    """Train every form without a stop, then do each way once, and judge."""
    chosen = [case for case in cases(at) if only in str(case)]

    say(f"training: {len(FORMS)} runs")
    trained = pool.map(lambda form: hosts.train(form, fresh(at.run(form)), STEPS), FORMS)
    runs = dict(zip(FORMS, trained, strict=True))

    resumes = list(
        dict.fromkeys(each for case in chosen for each in (case.resume, case.reference) if each is not None)
    )
    folders = [at.folder / f"resume-{number:03}" for number, _ in enumerate(resumes)]
    say(f"resuming: {len(resumes)} runs")
    resumed = dict(zip(resumes, pool.map(partial(_resumed, hosts), resumes, folders), strict=True))
    return [judge(case, runs, resumed) for case in chosen]


def _resumed(hosts: Hosts, resume: Resume, folder: Path) -> Run:
    fresh(folder)
    state = resume.source
    try:
        for number, move in enumerate(resume.moves, start=1):
            last = number == len(resume.moves)
            target = (folder / "checkpoints" if last else folder / f"moved-{number}") / STEP_FOLDER
            target.parent.mkdir(exist_ok=True)
            move(state, target)
            state = target
    except NotMovedError as error:
        return Run(failure=str(error))
    return hosts.train(resume.form, folder, STEPS)


if __name__ == "__main__":
    sys.exit(main())
