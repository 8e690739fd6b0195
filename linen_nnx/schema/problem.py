"""Problems are data: a closed code, a path, both sides, and what to do where that is known."""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum

from linen_nnx.schema.model import Model
from linen_nnx.schema.path import ROOT, KeyPath


class Code(StrEnum):
    """Every kind of problem there is. Match on these, never on message text."""

    NOT_A_CHECKPOINT = "not-a-checkpoint"
    UNCOMMITTED = "uncommitted"
    METADATA_UNREADABLE = "metadata-unreadable"
    SEVERAL_ITEMS = "several-items"
    STEP_NOT_FOUND = "step-not-found"
    NAME_COLLISION = "name-collision"
    NOT_STORED = "array-not-stored"
    NOT_LISTED = "array-not-listed"
    CHUNK_MISSING = "chunk-missing"
    STORAGE_MISMATCH = "storage-mismatch"
    UNKNOWN_LAYOUT = "unknown-layout"
    AMBIGUOUS_LAYOUT = "ambiguous-layout"
    AMBIGUOUS_CHAIN = "ambiguous-chain"
    UNKNOWN_ENTRY = "unknown-entry"
    MISSING_ENTRY = "missing-entry"
    WRONG_KIND = "wrong-kind"
    SHAPE_MISMATCH = "shape-mismatch"
    DTYPE_MISMATCH = "dtype-mismatch"
    KEY_IMPL_MISMATCH = "key-impl-mismatch"
    MOMENT_MISMATCH = "moment-mismatch"
    LAYER_GAP = "layer-gap"
    LAYER_LEAF_MISSING = "layer-leaf-missing"
    LAYERS_NOT_STACKABLE = "layers-not-stackable"
    AXIS_AMBIGUOUS = "axis-ambiguous"
    AXIS_NOT_FOUND = "axis-not-found"
    DIRECTION_CONTRADICTION = "direction-contradiction"
    STEP_OUT_OF_RANGE = "step-out-of-range"
    TARGET_EXISTS = "target-exists"
    TARGET_INSIDE_SOURCE = "target-inside-source"
    TARGET_NOT_WRITABLE = "target-not-writable"
    TWO_WRITERS = "two-writers"
    UNREAD_SOURCE = "unread-source"
    VALUE_DIFFERS = "value-differs"
    UNEXPECTED_ENTRY = "unexpected-entry"
    RESTORE_FAILED = "restore-failed"
    NO_SPEC = "no-spec"
    UNSUPPORTED = "unsupported"
    DIGEST_MISMATCH = "digest-mismatch"
    FILE_MISSING = "file-missing"
    FILE_UNEXPECTED = "file-unexpected"
    RECEIPT_DAMAGED = "receipt-damaged"
    ALREADY_SEALED = "already-sealed"
    NOT_SEALED = "not-sealed"
    RULES_INVALID = "rules-invalid"
    NO_RULE = "source-without-rule"
    NO_WRITER = "target-without-writer"
    UNUSED_RULE = "unused-rule"
    NOT_INVERTIBLE = "rule-not-invertible"
    NOT_ZERO = "value-not-zero"
    AMBIGUOUS_MAPPING = "ambiguous-mapping"
    NO_MAPPING = "no-mapping"
    MODELS_DIFFER = "models-differ"


class Problem(Model):
    """One fault. `expected` and `found` are always both said; `hint` only where an action is known."""

    code: Code
    path: KeyPath = ROOT
    expected: str
    found: str
    hint: str | None = None
    item: str | None = None
    file: str | None = None
    """Where it is of a file that the fault is."""

    def __str__(self) -> str:
        """`path: expected …, found …  [code]`, and the hint on a line of its own."""
        where = ": ".join(part for part in (self.item, self.file, str(self.path)) if part)
        line = f"expected {self.expected}, found {self.found}  [{self.code.value}]"
        line = f"{where}: {line}" if where else line
        return line if self.hint is None else f"{line}\n  hint: {self.hint}"


def near(path: KeyPath, among: Iterable[KeyPath]) -> str | None:
    """A hint with the paths most like `path`, or None where nothing comes close."""
    close = get_close_matches(str(path), [str(other) for other in among], n=3, cutoff=0.75)
    return f"did you mean {' or '.join(close)}?" if close else None
