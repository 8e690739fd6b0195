"""Small sealed checkpoints in every storage form, and ways to damage them."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from linen_nnx import ConversionOptions, LayerStacking, convert, seal
from tests.support.checkpoints import STORAGES, Storage, random_tree, save_item
from tests.support.small import STACKED, Specs, changed, linen, native

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Form:
    """How a checkpoint is stored, and how it came by its receipt."""

    storage: Storage
    dtype: str
    converted: bool

    def __str__(self) -> str:
        how = "converted" if self.converted else "sealed"
        return f"{self.storage}-{self.dtype}-{how}"


FORMS = [Form(s, d, c) for s in STORAGES for d in DTYPES for c in (True, False)]


def specs(form: Form) -> Specs:
    """A state of `form.dtype`, with strings, keys and empties; stacked, so that a conversion decodes it."""
    state = native() if form.converted else linen(STACKED)
    found = {path: spec.replace("float32", form.dtype) for path, spec in state.items()}
    return changed(found, embedding=f"{form.dtype}[70,41]")


def make(form: Form, folder: Path) -> Path:
    """A checkpoint with a receipt: what a conversion wrote, with a side item, or what was sealed."""
    source = save_item(random_tree(specs(form), str(form)), folder / "source", form.storage)
    if not form.converted:
        seal(source)
        return source
    options = ConversionOptions(stacking=LayerStacking.STACKED, layer_axis=1)
    convert(source, folder / "target", options=options)
    return folder / "target"


def files(item: Path) -> list[Path]:
    """Every file of an item that has a byte."""
    return sorted(file for file in item.rglob("*") if file.is_file() and file.stat().st_size)


def flip(file: Path, bit: int) -> None:
    """Flip one bit in place; twice is as before."""
    with file.open("r+b") as out:
        out.seek(bit // 8)
        (byte,) = out.read(1)
        out.seek(bit // 8)
        out.write(bytes([byte ^ 1 << bit % 8]))


def any_bit(item: Path, rng: random.Random) -> tuple[Path, int]:
    """A bit of any byte of the item; one time in two, of any file, so that small ones have their share."""
    found = files(item)
    weights = [file.stat().st_size for file in found] if rng.random() < 0.5 else None
    (file,) = rng.choices(found, weights)
    return file, rng.randrange(8 * file.stat().st_size)


def copy_of(item: Path, folder: Path) -> Path:
    """To be damaged."""
    return Path(shutil.copytree(item, folder / "copy"))
