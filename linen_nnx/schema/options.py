"""What a user may ask of a conversion, with the defaults."""

from collections import Counter
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from linen_nnx.schema.array import DType
from linen_nnx.schema.choices import Accept as Accept
from linen_nnx.schema.choices import Aux as Aux
from linen_nnx.schema.choices import Chunks as Chunks
from linen_nnx.schema.choices import Codec as Codec
from linen_nnx.schema.choices import Decoder as Decoder
from linen_nnx.schema.choices import Direction as Direction
from linen_nnx.schema.choices import PartName as PartName
from linen_nnx.schema.choices import Parts as Parts
from linen_nnx.schema.layout import LayerNames, LayerStacking, Layout, Leaves
from linen_nnx.schema.model import Model
from linen_nnx.schema.rules import Rules
from linen_nnx.schema.spec import Spec


class Storing(Model):
    """How the arrays of a target are stored."""

    chunks: Chunks = Chunks.SOURCE
    codec: Codec = Codec.SOURCE


STEP_DTYPES = frozenset(dtype for dtype in DType if dtype.is_integer) - {
    DType.INT2,
    DType.INT4,
    DType.UINT2,
    DType.UINT4,
}
"""Of a byte or more."""
FLOAT_DTYPES = frozenset(dtype for dtype in DType if dtype.is_float) - {
    DType.FLOAT8_E4M3,
    DType.FLOAT8_E8M0FNU,
}
"""All that tensorstore stores and that have a zero and a sign."""


class PartDType(Model):
    """A dtype that a part is to have: the step, which is an integer, or the floats of any other part."""

    part: PartName
    dtype: DType

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dtype not in (STEP_DTYPES if self.part is PartName.STEP else FLOAT_DTYPES):
            raise ValueError(f"the part {self.part.value} cannot be cast to {self.dtype.value}")
        return self


class ConversionOptions(Model):
    """Options of `plan` and `convert`. None means: as the source has it, or the layout's default."""

    source: Layout | None = None
    """The layout of the source, where its looks do not tell."""
    to: Layout | None = None
    direction: Direction = Direction.AUTO
    stacking: LayerStacking | None = None
    layer_axis: Annotated[int, Field(ge=0)] | None = None
    layer_cycle: Annotated[int, Field(ge=1)] | None = None
    """Layers in one block, where layers are stacked anew and neither shapes nor family tell."""
    decoder: Decoder | None = None
    """Whose layers they are, where two families hold the same names and stack them otherwise. An NNX
    target then has the blocks of its newest runs."""
    leaves: Leaves | None = None
    layer_names: LayerNames | None = None
    parts: Parts = Parts.ALL
    aux: Aux = Aux.KEEP
    rules: Rules | None = None
    """Where each variable goes, in the words of a user; they lead from Linen to NNX."""
    inverse: bool = False
    """Read the rules backwards, from NNX to Linen."""
    spec: Spec | None = None
    """What the target must be; without rules, they are inferred from it."""
    accept: Accept = Accept.PROVED
    chunks: Chunks = Chunks.SOURCE
    codec: Codec = Codec.SOURCE
    dtypes: tuple[PartDType, ...] = ()
    """Casts; each part once."""

    @field_validator("dtypes")
    @classmethod
    def _each_part_once(cls, dtypes: tuple[PartDType, ...]) -> tuple[PartDType, ...]:
        twice = [part.value for part, times in Counter(asked.part for asked in dtypes).items() if times > 1]
        if twice:
            raise ValueError(f"several dtypes for one part: {', '.join(twice)}")
        return dtypes

    @property
    def storing(self) -> Storing:
        """How the arrays of the target are stored."""
        return Storing(chunks=self.chunks, codec=self.codec)
