"""Sources that the engine's tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.states import Written, save, save_sharded

Sources = Callable[[Written], Path]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Saved states, each made once a worker."""
    made: dict[Written, Path] = {}

    def source(written: Written) -> Path:
        if written not in made:
            folder = tmp_path_factory.mktemp(str(written)) / "item"
            (save_sharded if written.chunks == "sharded" else save)(written, folder)
            made[written] = folder
        return made[written]

    return source
