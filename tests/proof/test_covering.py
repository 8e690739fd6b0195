"""Every byte of a file has one place."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx.convert.proof.covering import spans_outside
from linen_nnx.convert.proof.following import Follower
from linen_nnx.convert.proof.hashing import Region, Short, digests
from linen_nnx.schema.errors import StorageError

HALF = st.integers(0, 3_000_000)


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=6))
def test_spans_are_all_that_no_chunk_holds(size: int, taken: list[tuple[int, int]]) -> None:
    spans = list(spans_outside(size, taken))
    covered = Counter(at for offset, length in spans for at in range(offset, offset + length))
    chunks = {at for offset, length in taken for at in range(offset, offset + length)}
    assert covered == Counter(set(range(size)) - chunks)
    assert spans == sorted(spans)
    assert all(length for _, length in spans) or (size == 0 and spans == [(0, 0)])


@settings(max_examples=25)
@given(st.lists(st.tuples(HALF, HALF), max_size=5), st.integers(1, 3))
def test_digests_are_those_of_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]], workers: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "random"
    if not file.exists():
        file.write_bytes(random.Random(0).randbytes(6_000_000))
    data = file.read_bytes()
    regions = [Region(file, *pair) for pair in pairs]
    expected = {r: blake3(data[r.offset : r.offset + r.length]).hexdigest() for r in regions}
    assert digests(regions, workers) == expected


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 120)), max_size=8),
    st.lists(st.integers(1, 90), min_size=1, max_size=9),
)
def test_what_passes_in_windows_of_any_size_is_digested_as_if_it_were_read_by_itself(
    pairs: list[tuple[int, int]], windows: list[int]
) -> None:
    data = bytes(range(256)) * 2
    regions = [Region(Path("file"), *pair) for pair in pairs]
    found: dict[Region, str] = {}
    follower = Follower(regions, found)
    at = 0
    for size in windows:
        follower.passed(memoryview(data)[at : at + size])
        at += size
    assert found == {r: blake3(data[r.offset : r.offset + r.length]).hexdigest() for r in found}
    apart, end = set(), 0
    for region in sorted(regions):
        if region.offset >= end:
            apart.add(region)
            end = region.offset + region.length
    assert set(found) == {region for region in apart if region.offset + region.length <= min(at, len(data))}


def test_a_file_that_ends_too_soon_is_told_apart_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"1234")
    short, gone = Region(tmp_path / "short", 2, 5), Region(tmp_path / "gone", 0, 1)
    assert {type(found) for found in digests([short, gone]).values()} == {Short}
    with pytest.raises(StorageError, match="cannot read"):
        digests([Region(tmp_path, 0, 1)])


def test_memory_does_not_grow_with_what_is_digested(tmp_path: Path) -> None:
    """A file of a gigabyte (of holes), as one region and as many."""
    file = tmp_path / "large"
    with file.open("wb") as out:
        out.truncate(2**30)
    program = (
        "import sys; from pathlib import Path; from linen_nnx.convert.proof.hashing import *\n"
        "from linen_nnx.convert.engine.memory import most_resident\n"
        "file = Path(sys.argv[1]); warm = digests([Region(file, 0, 9)])\n"
        "before = most_resident()\n"
        "many = [Region(file, n * 2**20, 2**20) for n in range(1024)]\n"
        "found = digests([Region(file, 0, 2**30), *many], 2)\n"
        "print(len(found), (most_resident() - before) // 2**20)"
    )
    command = [sys.executable, "-c", program, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    regions, grown = map(int, done.stdout.split())
    assert regions == 1025
    assert grown < 32
