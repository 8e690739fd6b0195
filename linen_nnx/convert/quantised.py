"""Quantised weights: told by their names, kept and restacked where that is exact, refused where it is not.

AQT keeps a frozen weight as `…/qrhs/frozen/{qvalue,scale/[i]}`, stacked on axis 0; Linen in a collection of
its own beside an empty kernel, NNX inside the module, all of it under one `value`. qwix puts
`array/{qvalue,scale}` under the `value` of the weight's variable; on which axis its scales are stacked is not
known.
"""

from collections.abc import Iterable
from enum import StrEnum

from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.problem import Code

QVALUE, FROZEN = DictKey("qvalue"), DictKey("qrhs")


class Maker(StrEnum):
    """What quantised the weights."""

    AQT = "AQT"
    QWIX = "qwix"


def quantised(paths: Iterable[KeyPath]) -> dict[Maker, list[KeyPath]]:
    """The quantised weights among `paths`, by what made them."""
    found: dict[Maker, list[KeyPath]] = {}
    for path in paths:
        if QVALUE in path and path[-1] == QVALUE:
            found.setdefault(Maker.AQT if FROZEN in path else Maker.QWIX, []).append(path)
    return found


def quantised_signs(paths: Iterable[KeyPath]) -> tuple[str, ...]:
    """What `inspect` says of them."""
    return tuple(
        f"{len(weights)} weights are quantised ({maker.value}), as at {weights[0]}"
        for maker, weights in quantised(paths).items()
    )


def refuse_quantised(
    paths: Iterable[KeyPath], source: Form, layout: Layout, options: ConversionOptions
) -> None:
    """Raise `ConversionError` where quantised weights would have to be written in another way."""
    for maker, weights in quantised(paths).items():
        restacked = options.stacking is not None or options.layer_axis is not None
        if source.layout is not layout:
            expected = f"plain weights, to convert to {layout.value}"
        elif options.leaves not in (None, source.leaves):
            expected = f"plain weights, to put leaves in another form ({options.leaves})"
        elif maker is Maker.QWIX and restacked:
            expected = "plain weights, to restack their layers"
        else:
            continue
        raise ConversionError.one(
            Code.UNSUPPORTED,
            path=weights[0],
            expected=expected,
            found=f"{len(weights)} quantised weights ({maker.value}), whose parts stand otherwise there",
            hint="convert the state that it was quantised from, and quantise that again",
        )
