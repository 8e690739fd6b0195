"""Work that needs tensorstore's own codecs, or values: one chunk of a target array, however it is made."""

from collections.abc import Set
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.chunks import Index
from linen_nnx.convert.engine.codec import chunk_nbytes
from linen_nnx.convert.engine.encoding import encoded_chunk, raw
from linen_nnx.convert.engine.reader import Reader
from linen_nnx.convert.engine.regions import Region, Regions
from linen_nnx.convert.engine.routes import Routed
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.engine.tally import Tally


@dataclass(frozen=True, slots=True)
class Block:
    """The chunk at `index` of the array that a write makes."""

    write: Routed
    reader: Reader
    index: Index
    tally: Tally

    @property
    def region(self) -> Region:
        """Where it lies in the array."""
        zarr = self.write.array.zarr
        return tuple(
            slice(at * part, min((at + 1) * part, size))
            for at, part, size in zip(self.index, zarr.chunk_shape, zarr.shape, strict=True)
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of the chunk."""
        return (f"{self.write.write.target.param_name}/{self.write.array.zarr.chunk_key(self.index)}",)

    @property
    def nbytes(self) -> int:
        """Of the chunk's elements."""
        zarr = self.write.array.zarr
        sizes: list[int] = [part.stop - part.start for part in self.region]
        return prod(sizes) * zarr.spec.dtype.itemsize

    @property
    def cost(self) -> int:
        """What is read (a chunk of a source at least), made, and encoded."""
        return 4 * self.nbytes + max((chunk_nbytes(s.zarr) for s in self.write.sources), default=0)

    def run(self, sink: Sink, buffers: Buffers) -> None:
        """Read the regions that it needs, make it, encode and write it."""
        made = np.asarray(Regions(self.reader, self.tally).read(self.write.write.op, self.region), order="C")
        sink.tap.elements(self.keys[0], raw(made))
        sink.put(self.keys[0], encoded_chunk(made, self.write.array.zarr, buffers))

    def without(self, stored: Set[str]) -> Self:
        """The same: it is one key."""
        del stored
        return self
