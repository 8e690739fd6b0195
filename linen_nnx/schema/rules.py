"""`Rules`: how the variables of a Linen model become those of an NNX one, as a user writes it in TOML.

One ordered list; the first rule that fits a variable is its rule. Sources are Linen addresses, which begin
with their collection (`params/Dense_0/kernel`); targets are paths inside the NNX model (`head/kernel`).
Moments are never named: each goes where its parameter goes. Read backwards the same file leads from NNX to
Linen.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from linen_nnx.schema.array import ArraySpec, DType
from linen_nnx.schema.model import Model
from linen_nnx.schema.rule_text import INDEX, REST, expression, names_of, template


class Stacking(Model):
    """Layers one by one become one array; `by` is the group of `match` that counts them, else `{i}` does."""

    axis: int = 0
    by: Annotated[int, Field(ge=1)] | None = None


class Unstacking(Model):
    """One array becomes layers one by one; `{i}` in `to` is the number of each."""

    axis: int = 0


class Moving(Model):
    """One axis goes to another place."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    source: Annotated[int, Field(alias="from")]
    destination: Annotated[int, Field(alias="to")]


class Joining(Model):
    """Equal arrays, one for each path of `from`, are joined on an axis in that order."""

    axis: int = -1


class Splitting(Model):
    """An array is split into equal pieces on an axis, one for each path of `to`, in that order."""

    axis: int = -1


class Requirement(StrEnum):
    """What must hold of the values of what is dropped; looked at before anything is written."""

    ZERO = "zero"


class Dropping(Model):
    """The variable does not arrive, and neither do its moments."""

    reason: Annotated[str, Field(min_length=1)]
    require: Annotated[Requirement, Field(strict=False)] | None = None
    shape: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """With `dtype`: the zeros to put back on the way to Linen; else a spec of the Linen state must say."""
    dtype: Annotated[DType, Field(strict=False)] | None = None

    @property
    def spec(self) -> ArraySpec | None:
        """What was dropped."""
        if self.shape is None or self.dtype is None:
            return None
        return ArraySpec(shape=self.shape, dtype=self.dtype)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.shape is None) != (self.dtype is None):
            raise ValueError("shape and dtype are given together or not at all")
        return self


class OpStack(Model):
    """`{ stack = { axis = 0 } }`."""

    stack: Stacking


class OpUnstack(Model):
    """`{ unstack = { axis = 0 } }`."""

    unstack: Unstacking


class OpMove(Model):
    """`{ move_axis = { from = 1, to = 0 } }`."""

    move_axis: Moving


class OpConcat(Model):
    """`{ concat = { axis = -1 } }`."""

    concat: Joining


class OpSplit(Model):
    """`{ split = { axis = -1 } }`."""

    split: Splitting


class OpDrop(Model):
    """`{ drop = { reason = "…", require = "zero" } }`."""

    drop: Dropping


def _kind(value: Any) -> str:
    if isinstance(value, Model):
        return next(iter(type(value).model_fields))
    return next(iter(value), "") if isinstance(value, dict) else ""


Operation = Annotated[
    Annotated[OpStack, Tag("stack")]
    | Annotated[OpUnstack, Tag("unstack")]
    | Annotated[OpMove, Tag("move_axis")]
    | Annotated[OpConcat, Tag("concat")]
    | Annotated[OpSplit, Tag("split")]
    | Annotated[OpDrop, Tag("drop")],
    Discriminator(_kind),
]
"""What is done to the arrays, beside giving them another name; exactly one."""

Text = Annotated[str, Field(min_length=1)]
Keys = Annotated[tuple[str, ...], Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(min_length=2)]


class Rule(Model):
    """One rule: of which variables, by `from`, `match` or `path`; to where; and what is done to them."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    source: Annotated[Text | Texts | None, Field(alias="from")] = None
    """A path, which may end in `*` and hold `{i}`; several, to be joined."""
    match: str | None = None
    """A regular expression over the whole path."""
    path: Keys | None = None
    """The very keys, where a key holds a slash or a brace."""
    to: Text | Texts | None = None
    to_path: Keys | None = None
    op: Operation | None = None
    evidence: str | None = None
    """Why `map` wrote this rule."""

    def __str__(self) -> str:
        """Its source, for messages."""
        if self.match is not None:
            return f"match {self.match}"
        return f"from {' + '.join(self.sources) if self.path is None else list(self.path)}"

    @property
    def sources(self) -> tuple[str, ...]:
        """`from` as a list; empty for `match` and `path`."""
        return (self.source,) if isinstance(self.source, str) else self.source or ()

    @property
    def targets(self) -> tuple[str, ...]:
        """`to` as a list; empty for `to_path`."""
        return (self.to,) if isinstance(self.to, str) else self.to or ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if sum(one is not None for one in (self.source, self.match, self.path)) != 1:
            raise ValueError("a rule has exactly one of from, match and path")
        wanted = 0 if isinstance(self.op, OpDrop) else 1
        if sum(one is not None for one in (self.to, self.to_path)) != wanted:
            raise ValueError(
                "a rule has exactly one of to and to_path" if wanted else "what is dropped goes nowhere"
            )
        if (len(self.sources) > 1) != isinstance(self.op, OpConcat):
            raise ValueError("several paths in from are for concat, which needs them")
        if (len(self.targets) > 1) != isinstance(self.op, OpSplit):
            raise ValueError("several paths in to are for split, which needs them")
        self._holes()
        return self

    def _holes(self) -> None:
        """Every hole of a target is filled by the source, and none twice."""
        bound = [self._bound(source) for source in self.sources] or [self._bound(None)]
        if any(one != bound[0] for one in bound):
            raise ValueError("the paths of from must hold the same * and {i}")
        free, index = bound[0], self.index
        if index is not None and index not in free:
            raise ValueError("stack needs {i} in from, or `by` with a group of match: the layers' numbers")
        if isinstance(self.op, OpUnstack):
            if INDEX in free:
                raise ValueError("{i} is the number that unstack gives: it cannot stand in from")
            free = free | {INDEX}
        for text in self.targets:
            names = names_of(template(text))
            if unknown := sorted(set(names) - free):
                raise ValueError(f"{text}: nothing in the source fills {', '.join(unknown)}")
            if index in names:
                raise ValueError(f"{text}: the number of a layer goes away when layers are stacked")
            if isinstance(self.op, OpUnstack) and INDEX not in names:
                raise ValueError(f"{text}: unstack needs {{i}} for the number of each layer")
            if REST in free and REST not in names:
                raise ValueError(f"{text}: what * takes must stand in the target too")

    def _bound(self, source: str | None) -> set[str]:
        if source is not None:
            names = names_of(template(source))
            if any(name not in (REST, INDEX) for name in names):
                raise ValueError(f"{source}: only {{i}} and * may stand in from; groups are for match")
            return set(names)
        return {str(n + 1) for n in range(expression(self.match).groups)} if self.match is not None else set()

    @property
    def index(self) -> str | None:
        """The name of what counts the layers to stack."""
        if not isinstance(self.op, OpStack):
            return None
        return INDEX if self.op.stack.by is None else str(self.op.stack.by)


class Keep(Model):
    """Variables of the target that no source gives, such as PRNG streams: the target's own are kept."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    to: Text
    """A path; `**` is any number of keys, a `*` at the end one or more."""
    source: Annotated[Literal["target"], Field(alias="from")] = "target"
    """The target's own: on disk the template's, live the model's."""


class Mirroring(Model):
    """A field of the Linen state that mirrors the parameters, such as an average: it follows their rules."""

    mirror: Literal["params"]
    to: Literal["ema/params"]
    """Where NNX has it: what `nnx.EMA` keeps, saved beside the model as `ema`."""


class Rules(Model):
    """A rules file."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    version: Literal[1] = 1
    collections: dict[str, str | Mirroring] = Field(default={})
    """The Variable type, or its base, of each Linen collection, where its name does not tell; or what it
    mirrors."""
    rules: Annotated[tuple[Rule, ...], Field(alias="rule")] = ()
    keep: tuple[Keep, ...] = ()
