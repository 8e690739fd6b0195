"""Large files of metadata, read entry by entry: what the models say of the whole file, and no other file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linen_nnx.convert.store.metadata_files import Listed, read_shardings, read_tree, read_written
from linen_nnx.schema.errors import CheckpointError
from linen_nnx.schema.orbax_metadata import ArrayMetadatas, NamedSharding, TreeMetadata
from linen_nnx.schema.problem import Code
from tests.schema.strategies import ARRAY_METADATAS, TREES

SPACES = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"separators": (" ,\n", "\t: ")}])
"""Ways to write the same JSON."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metadata") / "_METADATA"


@given(TREES, SPACES)
def test_a_tree_is_what_its_model_says(file: Path, tree: TreeMetadata, spaces: dict[str, object]) -> None:
    file.write_text(json.dumps(tree.model_dump(mode="json"), **spaces))  # type: ignore[arg-type]
    entries, rest = read_tree(file)
    known = TreeMetadata.model_validate_json(file.read_bytes())
    assert entries == [
        Listed(entry.path, entry.path.param_name, entry.value_metadata)
        for entry in known.tree_metadata.values()
    ]
    assert rest == known.model_copy(update={"tree_metadata": {}})


@given(ARRAY_METADATAS, SPACES)
def test_array_metadata_is_what_its_model_says(
    file: Path, arrays: ArrayMetadatas, spaces: dict[str, object]
) -> None:
    file.write_text(json.dumps(arrays.model_dump(mode="json"), **spaces))  # type: ignore[arg-type]
    known = [wrapped.array_metadata for wrapped in arrays.array_metadatas]
    assert read_written(file) == {array.param_name: array.written for array in known}


def test_shardings_are_what_their_model_says_and_equal_ones_one_object(file: Path) -> None:
    texts = [f'{{"sharding_type": "NamedSharding", "partition_spec": ["{axis}"]}}' for axis in "aba"]
    file.write_text(json.dumps(dict(zip("xyz", texts, strict=True))))
    found = read_shardings(file)
    assert found == {name: NamedSharding.model_validate_json(t) for name, t in zip("xyz", texts, strict=True)}
    assert found["x"] is found["z"]


KEYS = '"key_metadata": [{"key": "a", "key_type": 2}]'
VALUE = '"value_metadata": {"value_type": "scalar"}'
GOOD = f'"x": {{{KEYS}, {VALUE}}}'
ARRAY = '{"array_metadata": {"param_name": "a", "write_shape": [1], "chunk_shape": [1]}}'


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "[]",
            "3",
            '{"tree_metadata": 3}',
            '{"tree_metadata": {}',
            '{"tree_metadata": {}} x',
            "{}",
        ),
        *('{"tree_metadata": {}, }', '{"tree_metadata" {}}', "{3: {}}", '{"tree_metadata": {"a": {}}}'),
        f'{{"tree_metadata": {{{GOOD}, {GOOD}, "y": {{{KEYS}}}}}}}',
        f'{{"tree_metadata": {{{GOOD}, "y": {{{VALUE}}}}}}}',
        f'{{"tree_metadata": {{{GOOD}, "y": {GOOD[5:].replace("2", "7")}}}}}',
        f'{{"tree_metadata": {{{GOOD}, "y": {GOOD[5:].replace("2", "[]")}}}}}',
        f'{{"tree_metadata": {{{GOOD}, "y": 3}}}}',
        f'{{"tree_metadata": {{{GOOD} {GOOD}}}}}',
        f'{{"tree_metadata": {{{GOOD}}}, "use_ocdbt": []}}',
    ],
)
def test_what_the_model_refuses_is_refused(text: str, file: Path) -> None:
    with pytest.raises(ValidationError):
        TreeMetadata.model_validate_json(text)
    assert_refused(read_tree, file, text.encode())


@pytest.mark.parametrize(
    "text",
    [
        *('{"array_metadatas": [3]}', '{"array_metadatas": [{}]}', '{"array_metadatas": [null'),
        f'{{"array_metadatas": [{ARRAY}, {ARRAY.replace("a", "b", 1).replace("[1]", "3")}]}}',
        f'{{"array_metadatas": [{ARRAY}, {ARRAY.replace(chr(34) + "a" + chr(34), "3")}]}}',
        f'{{"array_metadatas": [{ARRAY} {ARRAY}]}}',
    ],
)
def test_array_metadata_that_is_none_is_refused(text: str, file: Path) -> None:
    with pytest.raises(ValidationError):
        ArrayMetadatas.model_validate_json(text)
    assert_refused(read_written, file, text.encode())


@pytest.mark.parametrize("text", ["[]", '{"a": 3}', '{"a": "3"}', '{"a": []}', '{"a": "{}"'])
def test_shardings_that_are_none_are_refused(text: str, file: Path) -> None:
    assert_refused(read_shardings, file, text.encode())


@pytest.mark.parametrize("read", [read_tree, read_written, read_shardings])
@pytest.mark.parametrize("text", [b"\xff{}", b'{"a": ' + b"[" * 100_000], ids=["no text", "too deep"])
def test_what_is_no_json_is_refused(read: Callable[[Path], object], text: bytes, file: Path) -> None:
    assert_refused(read, file, text)


def assert_refused(read: Callable[[Path], object], file: Path, text: bytes) -> None:
    file.write_bytes(text)
    with pytest.raises(CheckpointError) as refused:
        read(file)
    (problem,) = refused.value.problems
    assert problem.code is Code.METADATA_UNREADABLE
    assert str(file.parent) in problem.expected
    assert f"{len(text)} bytes" in problem.found
