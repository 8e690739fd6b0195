"""Make the golden inventories from the folder of real checkpoints that MaxText and Tunix wrote.

`python tests/golden/make.py ../shared/ground-truth`. Uses neither linen_nnx nor orbax: the facts come from
the list of entries that each checkpoint was published with, and from its `_METADATA`.
"""

import json
import sys
from pathlib import Path
from typing import Any

EMPTIES = {"None": "None", "Dict": "{}", "List": "[]", "Tuple": "()"}


def main() -> None:
    """Write one file for each checkpoint below the folder named on the command line."""
    here = Path(__file__).parent
    for file in sorted(Path(sys.argv[1]).glob("*/inventory.json")):
        text = rendered(json.loads(file.read_text(encoding="utf-8")), file.parent)
        (here / f"{file.parent.name}.json").write_text(text, encoding="utf-8")


def rendered(document: dict[str, Any], folder: Path) -> str:
    """The golden file: one line a module."""
    lines = ["{", f' "writer": {json.dumps(document["writer"])},']
    storage = {"ocdbt": True, "zarr_format": 2}
    items: dict[str, dict[str, dict[str, str]]] = {}
    for leaf in document["leaves"]:
        *module, last = typed_names(leaf)
        item = items.setdefault(leaf.get("item", "items"), {})
        item.setdefault("/".join(module), {})[last] = spec_of(leaf)
    for name in items:
        (metadata,) = folder.glob(f"*/{name}/_METADATA")
        found = json.loads(metadata.read_text(encoding="utf-8"))
        storage = {"ocdbt": found["use_ocdbt"], "zarr_format": 3 if found["use_zarr3"] else 2}
    lines += [f' "storage": {json.dumps(storage)},', ' "items": {']
    blocks = []
    for name, modules in items.items():
        inner = ",\n".join(f"   {json.dumps(path)}: {json.dumps(leaves)}" for path, leaves in modules.items())
        blocks.append(f"  {json.dumps(name)}: {{\n{inner}\n  }}")
    return "\n".join([*lines, ",\n".join(blocks), " }", "}", ""])


def typed_names(leaf: dict[str, Any]) -> list[str]:
    """The keys of the path; a position in a sequence in brackets."""
    names = leaf["path"].split("/")
    return [f"[{name}]" if kind == 1 else name for name, kind in zip(names, leaf["key_types"], strict=True)]


def spec_of(leaf: dict[str, Any]) -> str:
    """`float32[16,5]`, `key<unsafe_rbg>[5]`, `None`."""
    kind = leaf["value_type"]
    if kind in EMPTIES:
        return EMPTIES[kind]
    impl = leaf.get("key_impl")
    shape = leaf["shape"] if impl is None else leaf["shape"][:-1]
    name = leaf["dtype"] if impl is None else f"key<{impl}>"
    bare = f"{name}[{','.join(map(str, shape))}]"
    return bare if kind == "jax.Array" else f"{bare} ({kind})"


if __name__ == "__main__":
    main()
