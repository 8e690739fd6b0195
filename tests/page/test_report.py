"""What a page says of a checkpoint, of its receipt and of a plan; and the command that writes it."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from linen_nnx import (
    CheckpointError,
    ConversionOptions,
    LayerStacking,
    Leaves,
    Parts,
    convert,
    diff,
    plan,
    report,
)
from linen_nnx.cli.conversion import Conversion, spelled
from linen_nnx.cli.main import app
from linen_nnx.cli.page.model import Page, Tone, Verdict
from linen_nnx.cli.page.report import page_of
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.receipt import RECEIPT_FILE, Receipt
from linen_nnx.schema.routing import Route
from tests.support.checkpoints import random_leaf, save_run, tree_of
from tests.support.small import STACKED, item_of, linen, native, save

APART = ConversionOptions(stacking=LayerStacking.UNSTACKED)


@pytest.fixture
def receipt(tmp_path: Path) -> Receipt:
    return convert(save(native(STACKED), tmp_path / "source"), tmp_path / "target", "linen", APART)


def test_a_converted_checkpoint_tells_how_each_entry_was_made_and_its_digest(
    tmp_path: Path, receipt: Receipt
) -> None:
    page = page_of(tmp_path / "target", verify=True)
    assert (page.verdict, page.saying) == (
        Verdict.GOOD,
        "verified: every stored byte is what its receipt says",
    )
    rows = {"/".join(row.keys): row for row in page.rows}
    for entry in receipt.entries:
        if entry.route is Route.DECODE:
            assert rows[str(entry.target)].tone is Tone.DECODE
            assert re.search("slice|as int32", rows[str(entry.target)].remark)
    assert all(row.digest for row in page.rows if row.nbytes)


def test_a_flipped_byte_is_the_verdict_of_a_page_that_verifies(tmp_path: Path, receipt: Receipt) -> None:
    chunk = next(item_of(tmp_path / "target").glob("params.*/0.0"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    assert page_of(tmp_path / "target").verdict is Verdict.GOOD
    page = page_of(tmp_path / "target", verify=True)
    assert page.verdict is Verdict.BAD
    assert page.findings[0].heading == "Problems"


def test_a_receipt_alone_shows_the_entries_and_the_command(tmp_path: Path, receipt: Receipt) -> None:
    file = item_of(tmp_path / "target") / "linen_nnx" / RECEIPT_FILE
    page = page_of(file)
    assert page.verdict is Verdict.OPEN
    assert len(page.rows) == len(receipt.entries)
    assert page.commands[0].endswith("--to linen --no-scan-layers")


def test_every_write_and_every_drop_of_a_plan_is_a_row(tmp_path: Path) -> None:
    options = ConversionOptions(stacking=LayerStacking.UNSTACKED, parts=Parts.PARAMS)
    made = plan(save(native(STACKED), tmp_path / "source"), "params", options)
    (tmp_path / "plan.json").write_text(made.model_dump_json(), encoding="utf-8")
    page = page_of(tmp_path / "plan.json")
    assert len(page.rows) == len(made.writes) + len(made.drops)
    dropped = [row for row in page.rows if row.tone is Tone.DROPPED]
    assert len(dropped) == len(made.drops) > 0
    assert all(row.remark == "only parameters were asked for" for row in dropped)


def test_the_page_of_two_that_are_equal_says_so_whatever_their_layouts(
    tmp_path: Path, receipt: Receipt
) -> None:
    page = _of_two(tmp_path / "source" / "run", tmp_path / "target")
    assert page.verdict is Verdict.GOOD
    assert {row.tone for row in page.rows} <= {Tone.EQUAL, Tone.FIRST_ONLY}


def test_the_page_of_two_that_differ_says_where_and_by_how_much(tmp_path: Path) -> None:
    one = {path: random_leaf(spec, str(path)) for path, spec in linen().items()}
    scale = next(path for path in one if "nu" in path and "kernel" in path)
    other = one | {scale: one[scale].at[0, 0].set(0.5)}
    for name, leaves in (("a", one), ("b", other)):
        save_run({"items": tree_of(leaves)}, tmp_path / name)
    page = _of_two(tmp_path / "a", tmp_path / "b")
    assert page.verdict is Verdict.BAD
    (row,) = [row for row in page.rows if row.tone is Tone.DIFFERENT]
    assert row.keys == tuple(str(KeyPath.of(key)) for key in scale)
    assert "first at [0, 0]: " in row.remark
    found = diff(tmp_path / "a", tmp_path / "b")
    (tmp_path / "difference.json").write_text(found.model_dump_json(), encoding="utf-8")
    assert page_of(tmp_path / "difference.json").saying == page.saying


def _of_two(a: Path, b: Path) -> Page:
    out = a.parent / "page.html"
    page = report(a, b, out=out)
    assert page.title in out.read_text(encoding="utf-8")
    return page


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="a file of something else"):
        page_of(tmp_path / "other.json")


_OPTIONS = st.builds(ConversionOptions, rules=st.none(), spec=st.none()).filter(
    lambda options: options.leaves is not Leaves.MIXED
)


@given(_OPTIONS)
def test_options_as_they_are_typed_are_read_as_the_same_options(options: ConversionOptions) -> None:
    command = get_command(app).commands["plan"]  # type: ignore[attr-defined]
    typed = command.make_context("plan", ["source", *spelled(options)]).params
    read = Conversion(**{field.name: typed[field.name] for field in fields(Conversion)}).options()
    assert read == options
