"""Draws a few lines in one frame whose axes are shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..apps.picture import document, nth_colour

_SIDE, _MARGIN, _NAMES = 300, 60, 190


@dataclass(frozen=True)
class Line:
    """A named line.

    Attributes:
        name: Written beside it.
        points: (across, up), each a share.
    """

    name: str
    points: Sequence[tuple[float, float]]


def draw(title: str, lines: Sequence[Line], *, across: str = "", up: str = "", diagonal: bool = False) -> str:
    """Draws lines.

    Args:
        title: Above the frame.
        lines: What is drawn; the upward axis ends above the highest point, the other one at 1.
        across: Name of the axis from left to right.
        up: Name of the axis from bottom to top.
        diagonal: Whether to draw where both shares are equal; both axes then end at 1.

    Returns:
        A whole SVG document.
    """
    top = (
        1.0 if diagonal else min(1.0, 1.15 * max((y for line in lines for _, y in line.points), default=1.0))
    )
    parts = [f"<text x='{_MARGIN}' y='24' font-size='15'>{escape(title)}</text>"]
    for step in range(6):
        share = step / 5
        x, y = _place((share, share * top), top)
        parts.append(f"<path d='M{_MARGIN},{y:.0f} h{_SIDE}' stroke='#ddd'/>")
        parts.append(f"<text x='{_MARGIN - 8}' y='{y + 4:.0f}' text-anchor='end'>{share * top:.2f}</text>")
        parts.append(f"<text x='{x:.0f}' y='{_MARGIN + _SIDE + 18}' text-anchor='middle'>{share:.1f}</text>")
    parts.append(f"<text x='{_MARGIN}' y='{_MARGIN + _SIDE + 38}'>{escape(across)}</text>")
    parts.append(f"<text x='{_MARGIN}' y='{_MARGIN - 12}'>{escape(up)}</text>")
    if diagonal:
        parts.append(
            f"<path d='M{_MARGIN},{_MARGIN + _SIDE} l{_SIDE},-{_SIDE}' stroke='#999' stroke-dasharray='4'/>"
        )
    for number, line in enumerate(lines):
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(point, top) for point in line.points))
        colour, y = nth_colour(number), _MARGIN + 14 + 18 * number
        parts.append(f"<polyline points='{places}' fill='none' stroke='{colour}' stroke-width='1.8'/>")
        parts.append(f"<text x='{_MARGIN + _SIDE + 12}' y='{y}' fill='{colour}'>{escape(line.name)}</text>")
    return document(_SIDE + _MARGIN + _NAMES, _SIDE + 2 * _MARGIN, parts)


def _place(point: tuple[float, float], top: float) -> tuple[float, float]:
    return _MARGIN + _SIDE * point[0], _MARGIN + _SIDE * (1 - point[1] / top)
