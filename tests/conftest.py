"""Fixtures that the tests share."""

from pathlib import Path

import pytest

from tests.support import profiles
from tests.support.checkpoints import Cache

profiles.load()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Cache:
    """Golden checkpoints, each built once a session, whatever the number of workers."""
    base: Path = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        base = base.parent
    return Cache(base / "golden-checkpoints")
