"""What all tests of live models share."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_compilation() -> Iterator[None]:
    """A model this small is compiled for longer than it runs."""
    update: Any = jax.config.update
    update("jax_disable_most_optimizations", True)
    yield
    update("jax_disable_most_optimizations", False)
