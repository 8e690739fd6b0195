"""From a path a user gives to the item that holds the train state.

A run folder holds numbered steps, a step folder holds items, an item folder holds `_METADATA`. Names
differ between writers (`items`, `state`, `default`, `pytree`, …), so an item is found by its `_METADATA`.
Early releases of orbax wrote none: the file `checkpoint` in an item is then the whole state, in msgpack.
"""

import re
from pathlib import Path

from linen_nnx.convert.store.not_found import not_a_checkpoint
from linen_nnx.schema.errors import CheckpointError, StorageError
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model
from linen_nnx.schema.nnx import MODEL_PARAMS, OPTIMIZER_STATE
from linen_nnx.schema.orbax_metadata import CHECKPOINT_METADATA_FILE, METADATA_FILE
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code

OWN_FOLDER = "linen_nnx"
"""Our folder inside an item: receipt and side item. Every orbax reader tried ignores it."""
TEMPORARY = ".linen-nnx-tmp-"
"""Prefix of a target that is not committed yet."""

TUNIX_PARTS = (MODEL_PARAMS, OPTIMIZER_STATE)
DEFAULT_ITEM = "items"
"""What MaxText calls the item of a train state."""

_STEP = re.compile(r"(?:.*_)?0*(\d+)")
_AGGREGATE = "checkpoint"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_ORBAX_TEMPORARY = ".orbax-checkpoint-tmp"


class Part(Model):
    """One item of a train state: `prefix` stands before its paths in the whole."""

    prefix: KeyPath
    folder: Path


class Location(Model):
    """Where a train state lies; `step` and `run` are set as far as the given path stands above the item.

    Tunix keeps a state in two items of a step: then `parts` names them, and `item` is the first.
    """

    item: Path
    step: Path | None = None
    run: Path | None = None
    parts: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """What the user named: run, step or item."""
        return self.run or self.step or self.item

    @property
    def guarded(self) -> Path:
        """What no target may be written into: the source, and the step that holds an item named by itself."""
        above = self.item.parent
        return above if self.root == self.item and (above / CHECKPOINT_METADATA_FILE).is_file() else self.root

    @property
    def step_number(self) -> int | None:
        """The number of the step folder."""
        return None if self.step is None else _step_number(self.step)

    @property
    def items(self) -> tuple[Part, ...]:
        """Every item of the state."""
        if not self.parts:
            return (Part(prefix=ROOT, folder=self.item),)
        return tuple(Part(prefix=ROOT / name, folder=self.item.parent / name) for name in self.parts)

    @property
    def item_name(self) -> str | None:
        """What the only item of a step is called."""
        return None if self.step in (None, self.item) or self.parts else self.item.name

    def moved_to(self, target: Path, layout: Layout, name: str | None = None) -> "Location":
        """The same form below `target`: run to run, step to step, item to item.

        A state in two items needs a step folder around them, whatever the form of the source; an item that
        comes of two is called `name`.
        """
        step = None
        if self.step is not None:
            step = target if self.run is None else target / self.step.relative_to(self.run)
        run = None if self.run is None else target
        if layout is Layout.TUNIX:
            step = step or target
            return Location(item=step / TUNIX_PARTS[0], step=step, run=run, parts=TUNIX_PARTS)
        if step is None:
            return Location(item=target)
        if self.item == self.step:
            return Location(item=step, step=step, run=run)
        last = name or DEFAULT_ITEM if self.parts else self.item.name
        return Location(item=step / last, step=step, run=run)


def absolute(path: Path | str) -> Path:
    """The absolute path, without `..`: tensorstore takes no path that has it, nor one that is not UTF-8.

    Raises `StorageError`; for an address too (`gs://…`), which as a path would be a folder called `gs:`.
    """
    given = Path(path)
    if given.parts and _SCHEME.fullmatch(given.parts[0]) and not Path(given.parts[0]).exists():
        reason = "only folders of this machine are read and written; mount the bucket, or copy the checkpoint"
        raise StorageError(f"cannot open {given}: {reason}")
    whole = given.expanduser().absolute()
    try:
        str(whole).encode()
    except UnicodeEncodeError as error:
        raise StorageError(f"cannot open {whole}: its name is no UTF-8") from error
    return whole.resolve() if ".." in whole.parts else whole


def locate(path: Path, step: int | None = None, item: str | None = None) -> Location:
    """Find the item of `path`. Raises `CheckpointError` where there is none, or more than one."""
    path = absolute(path)
    _refuse_uncommitted(path)
    if is_legacy(path):
        return Location(item=path)
    if not path.is_dir():
        raise not_a_checkpoint(path, temporary=False)
    if (path / METADATA_FILE).is_file():
        return Location(item=path)
    if _is_aggregate(path):
        return Location(item=path / _AGGREGATE)
    if _is_step(path, step, item):
        return _in_step(path, item, None)
    steps, base = _steps_below(path)
    if not steps:
        raise not_a_checkpoint(path, any(_is_temporary(child.name) for child in path.iterdir()))
    chosen = _choose(base, steps, step)
    if chosen.is_file():
        return Location(item=chosen)
    return _in_step(chosen, item, path)


def _is_step(path: Path, step: int | None, item: str | None) -> bool:
    """Whether what lies in a folder are items. Raises `CheckpointError` where they may also be steps.

    A step may itself be the item, so that it is its number alone which tells a run of such steps from a step
    of many items; orbax's record of the items of a step decides.
    """
    names = {child.name for child in _items(path)}
    if names and step not in (None, number := _step_number(path)) and _is_recorded(path):
        raise CheckpointError.one(
            Code.STEP_NOT_FOUND,
            expected=f"a run folder, to take step {step} of",
            found=f"{path}, " + ("a step without a number" if number is None else f"step {number} itself"),
            hint="give the path of the run, or leave --step out",
        )
    if not names or _is_recorded(path) or item in names:
        return bool(names)
    steps = {child.name for found in _steps(path).values() for child in found}
    if not steps or not (beside := sorted(names - steps)):
        return not steps
    if step is None:
        raise CheckpointError.one(
            Code.SEVERAL_ITEMS,
            expected=f"a step with its items, or a run with its steps, in {path}",
            found=f"both: the steps {', '.join(sorted(steps))} and the items {', '.join(beside)}",
            hint="name a step with --step, or an item with --item",
        )
    return False


def _in_step(step: Path, item: str | None, run: Path | None) -> Location:
    names = {child.name for child in _items(step)}
    if item is None and names >= set(TUNIX_PARTS):
        return Location(item=step / TUNIX_PARTS[0], step=step, run=run, parts=TUNIX_PARTS)
    found = _one_item(step, item)
    if _is_aggregate(found):
        # A file, like those of flax: what is written of it has no run around it.
        return Location(item=found / _AGGREGATE)
    return Location(item=found, step=step, run=run)


def _is_recorded(step: Path) -> bool:
    """Whether orbax says that this is a step."""
    return (step / CHECKPOINT_METADATA_FILE).is_file()


def _steps_below(path: Path) -> tuple[dict[int, list[Path]], Path]:
    """The committed steps of a run; MaxText keeps them in `checkpoints/`."""
    for base in (path, path / "checkpoints"):
        if base.is_dir() and (steps := _steps(base)):
            return steps, base
    return {}, path


def _step_number(path: Path) -> int | None:
    match = _STEP.fullmatch(path.name)
    return int(match[1]) if match else None


def _steps(base: Path) -> dict[int, list[Path]]:
    """What is committed under each number: more than one where names differ in all but the number."""
    found: dict[int, list[Path]] = {}
    for child in sorted(base.iterdir()):
        number = _step_number(child)
        if number is not None and not _is_temporary(child.name) and _holds_state(child):
            found.setdefault(number, []).append(child)
    return found


def _holds_state(step: Path) -> bool:
    return bool(_items(step, or_itself=True)) if step.is_dir() else is_legacy(step)


def is_legacy(path: Path) -> bool:
    """Whether it is a file of `flax.serialization`: one that begins with a map of msgpack."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.read(1)
    return first != b"" and (0x80 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF))


def _is_item(folder: Path) -> bool:
    return (folder / METADATA_FILE).is_file() or _is_aggregate(folder)


def _is_aggregate(folder: Path) -> bool:
    return not (folder / METADATA_FILE).is_file() and is_legacy(folder / _AGGREGATE)


def _choose(base: Path, steps: dict[int, list[Path]], step: int | None) -> Path:
    number = max(steps) if step is None else step
    if number not in steps:
        raise CheckpointError.one(
            Code.STEP_NOT_FOUND,
            expected=f"step {step} in {base}",
            found="steps " + ", ".join(map(str, sorted(steps))),
            hint="name one of these with --step",
        )
    chosen, *others = steps[number]
    if others:
        raise CheckpointError.one(
            Code.SEVERAL_ITEMS,
            expected=f"one step {number} in {base}",
            found=", ".join(child.name for child in steps[number]),
            hint="give the path of the one that is meant",
        )
    return chosen


def _items(step: Path, *, or_itself: bool = False) -> list[Path]:
    if or_itself and _is_item(step):
        return [step]
    return sorted(
        child for child in step.iterdir() if child.is_dir() and child.name != OWN_FOLDER and _is_item(child)
    )


def _one_item(step: Path, item: str | None) -> Path:
    items = _items(step, or_itself=True)
    names = [child.name for child in items]
    if item is not None:
        if item not in names:
            raise CheckpointError.one(
                Code.NOT_A_CHECKPOINT, expected=f"an item {item} in {step}", found=", ".join(names)
            )
        return step / item
    if len(items) > 1:
        raise CheckpointError.one(
            Code.SEVERAL_ITEMS,
            expected=f"one item in {step}",
            found=", ".join(names),
            hint="name the one that holds the train state with --item",
        )
    return items[0]


def _is_temporary(name: str) -> bool:
    return _ORBAX_TEMPORARY in name or name.startswith(TEMPORARY)


def _refuse_uncommitted(path: Path) -> None:
    for part in (path, *path.parents):
        if _is_temporary(part.name):
            raise CheckpointError.one(
                Code.UNCOMMITTED,
                expected="a committed checkpoint",
                found=f"the temporary folder {part.name}",
                hint="the save that made it did not finish; use an earlier step",
            )
