"""Let orbax restore a checkpoint in a process of its own, and hold what it gives against what is stored.

Run as a module, this is that process: it restores one item and prints a digest for every leaf.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linen_nnx.convert.proof.hashing import part_digests
from linen_nnx.convert.store.location import Part
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import read_array
from linen_nnx.schema.digest import LogicalChunks
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.tree import flatten


def restore_problems(item: OrbaxItem, logical: Mapping[KeyPath, LogicalChunks]) -> list[Problem]:
    """Every leaf that orbax does not give back as it is stored, or that is not as `logical` digests say."""
    return [problem for part in item.location.items for problem in _part_problems(item, part, logical)]


def _part_problems(item: OrbaxItem, part: Part, logical: Mapping[KeyPath, LogicalChunks]) -> list[Problem]:
    command = [sys.executable, "-m", "linen_nnx.convert.restoring", str(part.folder)]
    # However long it takes: to be large or on a slow disk is no fault of a checkpoint.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [_failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")]
    restored: dict[str, str] = json.loads(done.stdout)
    return list(_differing(item, part, restored, logical))


def _failed(found: str) -> Problem:
    return Problem(code=Code.RESTORE_FAILED, expected="orbax to restore the checkpoint", found=found)


def _differing(
    item: OrbaxItem, part: Part, restored: dict[str, str], logical: Mapping[KeyPath, LogicalChunks]
) -> Iterator[Problem]:
    for path, stored in item.arrays.items():
        if not path.startswith(part.prefix):
            continue
        found = restored.get("/".join(path[len(part.prefix) :].names))
        array = read_array(stored)
        sealed = logical.get(path)
        if sealed is not None and part_digests(array, sealed.part_shape) != sealed.chunks:
            yield Problem(
                code=Code.DIGEST_MISMATCH,
                path=path,
                expected="the elements that the conversion made",
                found="others",
            )
        if found != _digest(array):
            yield Problem(
                code=Code.RESTORE_FAILED,
                path=path,
                expected="the stored values from orbax",
                found="nothing" if found is None else "others",
            )


def _digest(array: Any) -> str:
    import numpy as np

    data = np.ascontiguousarray(array)
    head = f"{data.dtype}{list(data.shape)}".encode()
    return hashlib.blake2b(head + data.tobytes(), digest_size=32).hexdigest()


def _restored(folder: Path) -> Iterator[tuple[KeyPath, Any]]:
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    checkpointer = ocp.PyTreeCheckpointer()
    tree = checkpointer.metadata(folder).item_metadata.tree
    arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    yield from flatten(checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=arguments)))


def main() -> None:
    """Print the digest of every array that orbax restores from the item named on the command line."""
    import jax

    digests = {}
    for path, leaf in _restored(Path(sys.argv[1])):
        if leaf is None or isinstance(leaf, str | dict | list | tuple):
            continue
        data = jax.random.key_data(leaf) if _is_key(leaf) else leaf
        digests["/".join(path.names)] = _digest(data)
    json.dump(digests, sys.stdout)


def _is_key(leaf: Any) -> bool:
    return str(getattr(leaf, "dtype", "")).startswith("key<")


if __name__ == "__main__":
    main()
