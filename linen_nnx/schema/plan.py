"""`Plan`: everything a conversion will write and drop, known before one array byte is read.

The conservation law is an invariant of the model: every target has exactly one writer, every source
entry is read or stands in `drops` under a named rule, and every op makes exactly the value it promises.
Silent loss cannot be represented.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import model_validator

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.coverage import unread_parts
from linen_nnx.schema.layout import Form
from linen_nnx.schema.model import Model, value
from linen_nnx.schema.ops import Copy, Op, OpError, Origin, Ref, read_by, result
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.residue import Residue
from linen_nnx.schema.rules import Requirement


class Place(StrEnum):
    """Where a target entry is written."""

    ITEM = "item"
    SIDE = "side"
    """The side item in the target's own `linen_nnx/` folder, invisible to readers of the target."""


@value
class Write:
    """One entry of the target and how it is made."""

    place: Place = Place.ITEM
    target: KeyPath
    value: Value
    op: Op


class DropRule(StrEnum):
    """Every reason for which a source entry may not arrive. Each is seen by the user."""

    NO_KEEP_AUX = "no-keep-aux"
    PARAMS_ONLY = "params-only"
    FROM_TEMPLATE = "from-template"
    SECOND_MODEL = "second-model"
    GRAPHDEF = "graphdef"
    MODULE_STATE = "module-state"
    SOWN = "sown"
    ABSENT = "absent"
    BY_RULE = "by-rule"
    PUT_IN = "put-in"

    @property
    def reason(self) -> str:
        """The rule in words."""
        match self:
            case DropRule.NO_KEEP_AUX:
                return "the target layout cannot hold it, and --no-keep-aux was given"
            case DropRule.PARAMS_ONLY:
                return "only parameters were asked for"
            case DropRule.FROM_TEMPLATE:
                return "the template's value was taken"
            case DropRule.SECOND_MODEL:
                return "the optimizer's own copy of the model; conversion checks that it equals the model"
            case DropRule.GRAPHDEF:
                return "the place of a graphdef, which no checkpoint holds"
            case DropRule.MODULE_STATE:
                return "what flax notes of a Module in memory; it holds nothing"
            case DropRule.SOWN:
                return "intermediates of one forward pass"
            case DropRule.ABSENT:
                return "a variable that is absent: it holds None"
            case DropRule.BY_RULE:
                return "a rule says so"
            case DropRule.PUT_IN:
                return "an empty state that an earlier conversion put in; the target has no place for it"


class Drop(Model):
    """A source entry that is not written, and the rule that says so."""

    source: Ref
    rule: DropRule
    reason: str | None = None
    """In the words of the rules file, where one says so."""
    require: Requirement | None = None
    """What its values must be; looked at before anything is written."""


class NoteCode(StrEnum):
    """Things a user should know of a conversion that is exact all the same."""

    NO_RNGS = "no-rngs"
    CHAIN_PADDED = "chain-padded"
    CHAIN_LENGTH_UNKNOWN = "chain-length-unknown"
    KEPT_ASIDE = "kept-aside"
    AUX_NOT_STACKABLE = "aux-not-stackable"
    UNCLASSIFIED_AUX = "unclassified-aux"
    RESTACK_CHANGES_TRAINING = "restack-changes-training"
    WRAPPERS_LOST = "wrappers-lost"
    COPIED_NOT_LINKED = "copied-not-linked"
    UNDECODABLE = "undecodable"
    KEPT_FROM_TARGET = "kept-from-target"
    MASKS_BY_NAME = "masks-by-name"
    NORM_WRITES_BACK = "norm-writes-back"
    DROPPED_WAS_TRAINED = "dropped-was-trained"
    INFERRED_RULES = "inferred-rules"
    OLDER_BLOCKS = "older-blocks"
    STAGES_KEPT = "stages-kept"
    OTHER_COLLECTION = "other-collection"
    CAST = "cast"
    ROUNDED = "rounded"
    ITEM_AS_IT_IS = "item-as-it-is"


class Note(Model):
    """A named remark; `paths` are examples, not all of them."""

    code: NoteCode
    text: str
    paths: tuple[KeyPath, ...] = ()


@value
class Input:
    """One entry of the source (or of what lies beside it) as it stands."""

    source: Ref
    value: Value


class Plan(Model):
    """A whole conversion."""

    source: Form
    target: Form
    inputs: tuple[Input, ...]
    writes: tuple[Write, ...]
    drops: tuple[Drop, ...] = ()
    notes: tuple[Note, ...] = ()
    rules: str | None = None
    """SHA-256 of the rules that gave the leaves their places; None if no rules did."""
    residue: Residue | None = None
    """What the target's own folder will say; None if nothing is kept aside."""

    @model_validator(mode="after")
    def _conserves(self) -> Self:
        values = {entry.source: entry.value for entry in self.inputs}
        faults = [*self._two_writers(), *self._unread(values), *self._unfit(values)]
        if faults:
            raise ValueError("the plan does not conserve the state:\n" + "\n".join(faults))
        return self

    def _two_writers(self) -> list[str]:
        targets = [Counter(write.target for write in part) for part in (self.item_writes, self.side_writes)]
        return [f"{t} has {n} writers" for part in targets for t, n in part.items() if n > 1]

    def _unread(self, values: Mapping[Ref, Value]) -> list[str]:
        ops = [write.op for write in self.writes]
        read = set(read_by(ops))
        dropped = {drop.source for drop in self.drops}
        known = values.keys()
        owed = known - [ref for ref in known if ref.origin is Origin.TEMPLATE]
        in_part = unread_parts(ops, values, owed)
        return [
            *(f"{ref} is read in part: {part} is neither written nor dropped" for ref, part in in_part),
            *(f"{ref} is neither read nor dropped" for ref in sorted(owed - read - dropped, key=str)),
            *(f"{ref} is read and dropped at once" for ref in sorted(read & dropped, key=str)),
            *(f"{ref} is not an entry" for ref in sorted((read | dropped) - known, key=str)),
        ]

    def _unfit(self, values: Mapping[Ref, Value]) -> list[str]:
        faults = []
        for write in self.writes:
            op = write.op
            try:
                # Most ops of most plans: as `result` has it.
                made = values[op.source] if isinstance(op, Copy) else result(op, values.__getitem__)
            except (OpError, KeyError) as error:
                faults.append(f"{write.target}: {error}")
                continue
            if made is not write.value and not same_content(made, write.value):
                faults.append(f"{write.target}: promised {write.value}, made {made}")
        return faults

    @property
    def item_writes(self) -> tuple[Write, ...]:
        """What goes into the target item."""
        return tuple([write for write in self.writes if write.place is Place.ITEM])

    @property
    def side_writes(self) -> tuple[Write, ...]:
        """What goes into the side item."""
        return tuple([write for write in self.writes if write.place is Place.SIDE])


def same_content(one: Value, other: Value) -> bool:
    """Equal but for the kind of object that holds an array, which is a label of the target."""
    if isinstance(one, ArrayValue) and isinstance(other, ArrayValue):
        return one.spec is other.spec or one.spec == other.spec
    return one == other
