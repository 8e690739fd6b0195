"""`Inspection`: what `inspect` tells of a checkpoint. No array is read, but for the step."""

from linen_nnx.schema.choices import PartName as PartName
from linen_nnx.schema.detection import Detection
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import LayerGroup
from linen_nnx.schema.model import Model
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note
from linen_nnx.schema.problem import Problem


class Part(Model):
    """How much one part holds: entries, elements, bytes in memory."""

    name: PartName
    entries: int
    elements: int
    nbytes: int


class DTypeCount(Model):
    """Arrays of one dtype in one part."""

    part: PartName
    dtype: str
    arrays: int
    nbytes: int


class MirrorField(Model):
    """A field of the optimizer that mirrors parameters, such as `[0]/mu`."""

    at: KeyPath
    moments: int
    empty: int


class Inspection(Model):
    """A checkpoint, described."""

    path: str
    item: str
    step_folder: int | None
    step: int | None
    storage: StorageForm
    detection: Detection | None
    """None if the layout is not known; `problems` say why."""
    parts: tuple[Part, ...] = ()
    dtypes: tuple[DTypeCount, ...] = ()
    groups: tuple[LayerGroup, ...] = ()
    mirrors: tuple[MirrorField, ...] = ()
    inventory: Inventory
    problems: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()
    kept_aside: int = 0
    fingerprint: str | None = None
    """Only where it was asked for: it reads every array."""
