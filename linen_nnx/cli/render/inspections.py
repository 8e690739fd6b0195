"""A checkpoint, described; and its tree."""

import sys

from linen_nnx.cli.render.out import notes, say, size
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inspection import Inspection
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import LayerGroup, LayerStacking
from linen_nnx.schema.path import KeyPath

WIDTH = 20
"""Cells of a bar."""


def inspection(found: Inspection) -> None:
    """All but the tree."""
    print(f"{found.item}")
    if found.detection is not None:
        print(f"layout     {found.detection.layout.value}")
        for line in found.detection.evidence:
            print(f"           + {line}")
        for against in found.detection.against:
            print(f"           - not {against.layout.value}: {against.reason}")
    print(f"step       {'none' if found.step is None else found.step}")
    storage = "OCDBT" if found.storage.ocdbt else "a folder an array"
    if found.storage.legacy:
        print("storage    a msgpack file of flax.serialization")
    else:
        print(f"storage    {storage}, zarr v{found.storage.zarr_format}")
    _parts(found)
    for group in found.groups:
        print(f"layers     {group_text(group)}")
    for field in found.mirrors:
        holes = f", {field.empty} of them empty" if field.empty else ""
        print(f"optimizer  {field.at} mirrors {field.moments} parameters{holes}")
    if found.kept_aside:
        print(f"aside      {found.kept_aside} entries of another layout, kept by an earlier conversion")
    if found.fingerprint is not None:
        print(f"content    {found.fingerprint}")
    notes(found.notes)
    for problem in found.problems:
        say(str(problem))


def _parts(found: Inspection) -> None:
    total = sum(part.nbytes for part in found.parts) or 1
    for part in found.parts:
        if part.entries:
            kinds = ", ".join(f"{d.dtype} x{d.arrays}" for d in found.dtypes if d.part is part.name)
            print(
                f"{part.name.value:<10} {part.entries:>6} entries {part.elements:>14,} elements "
                f"{size(part.nbytes):>10}  {bar(part.nbytes / total)}  {kinds}".rstrip()
            )


def bar(share: float) -> str:
    """`███████▍              37 %`: in eighths of a cell, where the terminal can show them."""
    eighths = round(8 * WIDTH * share)
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if encoding.startswith("utf"):
        drawn = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
    else:
        drawn = "#" * round(eighths / 8)
    return f"{drawn:<{WIDTH}} {share:>4.0%}"


def group_text(group: LayerGroup) -> str:
    """A layer group on a line."""
    if group.stacking is LayerStacking.UNSTACKED:
        style = group.names.value
        return f"{group.at}: {group.count} layers, one by one ({style} names)"
    if not group.axes:
        return f"{group.at}: stacked, but its arrays share no axis"
    axis = (
        f"axis {group.axis}"
        if group.axis is not None
        else f"axis {' or '.join(map(str, group.axes))}: not proved"
    )
    places = f" in {len(group.arrays)} places" if len(group.arrays) > 1 else ""
    return f"{group.at}: {group.count} layers stacked on {axis}{places}"


def flat(inventory: Inventory) -> None:
    """Every entry on a line."""
    for entry in inventory.entries:
        print(entry)


def tree(inventory: Inventory, depth: int) -> None:
    """The tree down to `depth`; what is deeper is summed up."""
    print()
    counts: dict[KeyPath, list[int]] = {}
    order: dict[KeyPath, str] = {}
    for entry in inventory.entries:
        nbytes = entry.value.spec.nbytes if isinstance(entry.value, ArrayValue) else 0
        for level in range(1, min(depth, len(entry.path)) + 1):
            at = entry.path[:level]
            order[at] = str(entry.value) if at == entry.path else ""
            total = counts.setdefault(at, [0, 0])
            total[0] += 1
            total[1] += nbytes
    for at, leaf in order.items():
        name = "  " * (len(at) - 1) + str(at[len(at) - 1 :])
        what = leaf or f"{counts[at][0]} entries, {size(counts[at][1])}"
        print(f"{name:<44} {what}")
