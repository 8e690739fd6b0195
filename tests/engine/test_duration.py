"""What is foretold of a conversion's time follows from what it moves."""

from pathlib import Path

import pytest

from linen_nnx.convert.converting import check
from linen_nnx.convert.engine.run import Work, threads_of
from linen_nnx.schema.layout import LayerStacking, Layout
from linen_nnx.schema.options import Codec, ConversionOptions
from linen_nnx.schema.routing import Effort, Transfer
from tests.engine.test_parts import Costing
from tests.support.small import Specs, linen, save

COPY, LINK = Effort(workers=2), Effort(workers=2, transfer=Transfer.LINK)
KEEP = ConversionOptions(to=Layout.NNX, layer_axis=1)
APART = KEEP.model_copy(update={"stacking": LayerStacking.UNSTACKED})
FAST = APART.model_copy(update={"codec": Codec.FAST})
WIDE: Specs = {("decoder", "layers", "mlp", "wo", "kernel"): "float32[256,8,1024]"}


@pytest.fixture(scope="module")
def foretold(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Seconds for three stacks of 8 MiB."""
    source = save(linen(WIDE), tmp_path_factory.mktemp("wide") / "source")
    ways = {
        "linked": (KEEP, LINK),
        "copied": (KEEP, COPY),
        "apart": (APART, COPY),
        "apart on one thread": (APART, Effort(workers=1)),
        "apart, fast": (FAST, COPY),
    }
    target = Path("target").absolute()
    return {
        name: check(source, target, options, effort=effort).execution.seconds
        for name, (options, effort) in ways.items()
    }


def test_what_is_decoded_takes_longer_than_what_is_copied_and_that_than_what_is_linked(
    foretold: dict[str, float],
) -> None:
    assert foretold["linked"] < foretold["copied"] < foretold["apart"]


def test_decoding_takes_less_time_with_more_threads_or_a_faster_codec(foretold: dict[str, float]) -> None:
    assert foretold["apart"] < foretold["apart on one thread"]
    assert foretold["apart, fast"] < foretold["apart"]


def test_no_more_threads_are_counted_on_than_there_are_units_or_memory_allows() -> None:
    def threads(cost: int, number: int) -> float:
        work = Work([Costing(cost, nbytes=10) for _ in range(number)], 0)
        return threads_of(work, Effort(workers=4, memory=100))

    assert threads(1, 100) == 4
    assert threads(50, 100) == 2
    assert threads(200, 100) == 1
    assert threads(1, 3) == 3
    assert threads_of(Work([], 0), Effort()) == 1
