"""Draws what `bench.kg` found: milliseconds against nodes, a line for each thing asked, both axes by tens."""

from __future__ import annotations

from html import escape
from math import log10
from typing import Any

from ..apps.picture import document, nth_colour

_WIDTH, _HEIGHT, _LEFT, _TOP, _PLOT = 578, 420, 60, 50, 230
_LOW, _HIGH = -1.0, 3.0
"""Powers of ten of a millisecond that the axis spans."""


def draw(found: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Draws one panel an engine, the 95th percentiles.

    Args:
        found: engine -> nodes -> the table of `bench.kg.measure`.

    Returns:
        A whole SVG document.
    """
    panels = [
        f"<g transform='translate({i * _WIDTH},0)'>{_panel(engine, tables)}</g>"
        for i, (engine, tables) in enumerate(found.items())
    ]
    return document(_WIDTH * len(panels), _HEIGHT, panels)


def _panel(engine: str, tables: dict[int, dict[str, Any]]) -> str:
    sizes = sorted(tables)
    parts = [f"<text x='{_LEFT}' y='24' font-size='15'>{escape(engine)}: p95 in ms against nodes</text>"]
    for power in range(int(_LOW), int(_HIGH) + 1):
        y = _y(10.0**power)
        parts.append(f"<path d='M{_LEFT},{y:.0f} h{_PLOT}' stroke='#ddd'/>")
        parts.append(f"<text x='{_LEFT - 8}' y='{y + 4:.0f}' text-anchor='end'>{10.0**power:g}</text>")
    for size in sizes:
        parts.append(
            f"<text x='{_x(size, sizes):.0f}' y='{_HEIGHT - 20}' text-anchor='middle'>{size:,}</text>"
        )
    ends = sorted((tables[sizes[-1]]["ms"][name]["p95"], name) for name in tables[sizes[-1]]["ms"])
    below = float(_HEIGHT)
    for number, (last, name) in enumerate(ends):
        colour = nth_colour(number)
        points = " ".join(f"{_x(s, sizes):.1f},{_y(tables[s]['ms'][name]['p95']):.1f}" for s in sizes)
        parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.6'/>")
        below = min(_y(last), below - 14)  # names stand one above the other, nearest to their lines
        parts.append(
            f"<text x='{_LEFT + _PLOT + 8}' y='{below + 4:.0f}' fill='{colour}'>"
            f"{escape(name)} {last:.2g}</text>"
        )
    return "\n".join(parts)


def _x(size: int, sizes: list[int]) -> float:
    span = log10(sizes[-1] / sizes[0]) or 1.0
    return _LEFT + 14 + (_PLOT - 28) * log10(size / sizes[0]) / span


def _y(milliseconds: float) -> float:
    share = (log10(max(milliseconds, 10**_LOW)) - _LOW) / (_HIGH - _LOW)
    return _TOP + (_HEIGHT - 2 * _TOP) * (1 - share)
