"""How one train state becomes another.

This room and the public function `linen_nnx.convert` share a name, and Python gives the name to the room as
soon as anything in it is imported. So the room can be called: `linen_nnx.convert(source, target)` is
`linen_nnx.convert.converting.convert(source, target)`, whichever of the two the name stands for.
"""

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Convert a checkpoint: see `linen_nnx.convert.converting.convert`."""
        from linen_nnx.convert.converting import convert

        return convert(*args, **options)


sys.modules[__name__].__class__ = _CallableRoom
