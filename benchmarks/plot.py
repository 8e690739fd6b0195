"""A plot of all arms, as an SVG that reads on light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_BAR, _GAP, _LEFT, _WIDTH, _RIGHT = 15, 30, 300, 430, 60
_LEAST, _MOST = 0.1, 50.0
_INK, _OURS, _THEIRS = "#808080", "#2f7ed8", "#c98a2b"


def _at(ratio: float) -> float:
    """Where a ratio stands on a logarithmic axis."""
    part = math.log(min(max(ratio, _LEAST), _MOST) / _LEAST) / math.log(_MOST / _LEAST)
    return _LEFT + _WIDTH * part


def plot(groups: Mapping[str, Mapping[str, float]], theirs: Sequence[str]) -> str:
    """A bar an arm, its wall time as a multiple of `cp`'s; `theirs` are in another colour."""
    parts: list[str] = []
    top = 40
    for title, ratios in groups.items():
        parts.append(_text(8, top + 4, title, "start", bold=True))
        top += 12
        for name, ratio in ratios.items():
            end, colour = _at(ratio), _THEIRS if name in theirs else _OURS
            parts += [
                _text(_LEFT - 8, top + 11, name, "end"),
                f'<rect x="{_LEFT}" y="{top}" width="{end - _LEFT:.1f}" height="12" fill="{colour}"/>',
                _text(end + 5, top + 11, f"{ratio:.2f}", "start"),
            ]
            top += _BAR
        top += _GAP
    grid = [_line(mark, top - 18) for mark in (0.1, 0.35, 1, 4, 10, 50)]
    width, height = _LEFT + _WIDTH + _RIGHT, top
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" font-size="11" fill="{_INK}">',
            "<title>Wall time as a multiple of cp -r and sync; the shorter the better</title>",
            _text(_LEFT, 14, "wall time as a multiple of cp -r and sync, medians (logarithmic)", "start"),
            *grid,
            *parts,
            "</svg>\n",
        )
    )


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _line(ratio: float, bottom: int) -> str:
    x, strong = _at(ratio), 1.0 if ratio == 1 else 0.4
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="34" y2="{bottom}" stroke="{_INK}" stroke-opacity="{strong}"/>'
        + _text(x, 30, f"{ratio:g}", "middle")
    )
