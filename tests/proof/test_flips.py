"""No flipped bit is missed, wherever it is; and what is whole is accepted."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from linen_nnx import verify
from tests.proof.checkpoints import FORMS, Form, any_bit, flip, make

FLIPS = 1008
"""Over all forms."""

Sealed = Callable[[Form], Path]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    made: dict[Form, Path] = {}

    def sealed_form(form: Form) -> Path:
        if form not in made:
            made[form] = make(form, tmp_path_factory.mktemp(str(form)))
        return made[form]

    return sealed_form


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_whole_checkpoints_are_accepted_and_any_flipped_bit_is_refused_by_name(
    form: Form, sealed: Sealed
) -> None:
    item = sealed(form)
    rng = random.Random(str(form))
    assert verify(item) == []
    for _ in range(FLIPS // len(FORMS)):
        file, bit = any_bit(item, rng)
        flip(file, bit)
        problems = verify(item)
        flip(file, bit)
        assert problems, f"{file}, bit {bit}"
        assert str(file) in {problem.file for problem in problems}, (file, bit, problems)
    assert verify(item) == []
