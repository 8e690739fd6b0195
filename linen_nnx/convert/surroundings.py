"""What lies around the arrays of a target: other items verbatim, metadata brought up to date, markers."""

import shutil
from pathlib import Path

from linen_nnx.convert.store.location import Location
from linen_nnx.convert.store.metadata_files import parsed
from linen_nnx.schema.layout import LayerStacking
from linen_nnx.schema.orbax_metadata import (
    CHECKPOINT_METADATA_FILE,
    COMMIT_MARKER,
    METADATA_FILE,
    CheckpointMetadata,
)
from linen_nnx.schema.plan import Note, NoteCode, Plan

BESIDE_STEPS = ("adapter_config.json",)
"""What MaxText keeps in a run's own folder and needs to read its state: what a LoRA adapter adapts."""


def write_surroundings(source: Location, placed: Location, plan: Plan) -> None:
    """Bring over all of the source's step and item that is not the state itself."""
    if source.run is not None and placed.run is not None:
        for name in BESIDE_STEPS:
            if (source.run / name).is_file():
                shutil.copyfile(source.run / name, placed.run / name)
    if source.step is not None and placed.step is not None and source.step != source.item:
        _copy_others(source.step, placed.step, {part.folder.name for part in source.items})
    for part in placed.items:
        _bring(source.item, part.folder, plan, None)
    if placed.step is not None and placed.step != placed.item:
        names = [part.folder.name for part in placed.items]
        _bring(source.step or source.item, placed.step, plan, names)


def items_beside(source: Location) -> list[Note]:
    """What will be copied although it holds arrays, whose names are then those of the source's framework."""
    if source.step is None or source.step == source.item:
        return []
    state = {part.folder.name for part in source.items}
    files = source.step.glob(f"*/{METADATA_FILE}")
    others = sorted(file.parent.name for file in files if file.parent.name not in state)
    text = "another item of the step, with arrays: it is copied as it is, under the names that it has"
    return [Note(code=NoteCode.ITEM_AS_IT_IS, text=f"{name}: {text}") for name in others]


def _bring(before: Path, after: Path, plan: Plan, items: list[str] | None) -> None:
    """Metadata and marker of one folder; `items` are those of a step folder."""
    metadata, marker = before / CHECKPOINT_METADATA_FILE, before / COMMIT_MARKER
    if metadata.is_file():
        document = _with_handlers(_with_scan_layers(parsed(metadata, CheckpointMetadata), plan), items)
        text = document.model_dump_json(exclude_unset=True)
        (after / CHECKPOINT_METADATA_FILE).write_text(text, encoding="utf-8")
    if marker.is_file():
        shutil.copyfile(marker, after / COMMIT_MARKER)


def _copy_others(before: Path, after: Path, state: set[str]) -> None:
    done = {*state, CHECKPOINT_METADATA_FILE, COMMIT_MARKER}
    for child in before.iterdir():
        if child.name in done:
            continue
        if child.is_dir():
            shutil.copytree(child, after / child.name, symlinks=True)
        else:
            shutil.copyfile(child, after / child.name)


def _with_scan_layers(document: CheckpointMetadata, plan: Plan) -> CheckpointMetadata:
    """MaxText refuses a state whose `scan_layers` is not that of the run, where it is told at all."""
    custom = document.custom_metadata
    if custom is None or "scan_layers" not in custom or not plan.target.groups:
        return document
    stacked = any(group.stacking is LayerStacking.STACKED for group in plan.target.groups)
    return document.model_copy(update={"custom_metadata": {**custom, "scan_layers": stacked}})


def _with_handlers(document: CheckpointMetadata, items: list[str] | None) -> CheckpointMetadata:
    """A step names the handler of each of its items; the state's may have new names."""
    handlers = document.item_handlers
    if items is None or handlers is None:
        return document
    if not isinstance(handlers, dict):
        return document.model_copy(update={"item_handlers": dict.fromkeys(items, handlers)})
    if set(items) <= set(handlers):
        return document
    others = {name: handler for name, handler in handlers.items() if "PyTree" not in str(handler)}
    tree = next((handler for handler in handlers.values() if "PyTree" in str(handler)), None)
    return document.model_copy(update={"item_handlers": {**others, **dict.fromkeys(items, tree)}})
