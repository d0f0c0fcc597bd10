"""A disease of the graph as a picture: the disease, its relations, what each points to, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_LINE, _TOP = 22, 40
_DISEASE_X, _RELATION_X, _OBJECT_X = 20, 300, 560
_CHARACTER = 6.8
"""Pixels a character of 13 px text takes, rounded up."""


def disease_svg(entry: Mapping[str, Any]) -> str:
    """Draws one entry of `retrieval.show` as a tree from left to right.

    Args:
        entry: Properties of the disease and its `facts`.

    Returns:
        A whole SVG document; text in it is escaped, it refers to nothing outside.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for fact in entry["facts"]:
        groups.setdefault(fact["predicate"], []).append(fact)
    rows = max(1, len(entry["facts"]))
    height = _TOP + _LINE * (rows + len(groups))
    middle = _TOP + (height - _TOP) / 2
    parts = [
        _text(_DISEASE_X, middle, entry["name"], "font-weight='bold' font-size='17'"),
        _text(_DISEASE_X, middle + 20, entry["curie"], "fill='#666'"),
    ]
    start = _DISEASE_X + 11 * len(entry["name"])
    y, widest = float(_TOP), 0
    for number, (relation, facts) in enumerate(groups.items()):
        colour = nth_colour(number)
        centre = y + _LINE * (len(facts) - 1) / 2
        parts.append(_curve(min(start, _RELATION_X - 40), middle, _RELATION_X - 6, centre, colour))
        parts.append(_text(_RELATION_X, centre, relation, f"fill='{colour}'"))
        end = min(_RELATION_X + _CHARACTER * len(relation) + 6, _OBJECT_X - 30)
        for fact in facts:
            said = f"{fact['object']}  [{fact['fact_id']}]"
            widest = max(widest, len(said))
            parts.append(_curve(end, centre, _OBJECT_X - 6, y, colour))
            parts.append(_text(_OBJECT_X, y, said, f"data-source='{escape(fact['source']['id'])}'"))
            y += _LINE
        y += _LINE
    width = _OBJECT_X + _CHARACTER * widest + 20
    return document(width, height, parts)


def nth_colour(number: int) -> str:
    """A dark colour; steps of the golden angle keep any number of neighbours apart."""
    return f"hsl({number * 137 % 360},55%,38%)"


def _text(x: float, y: float, said: str, more: str) -> str:
    return f"<text x='{x:.0f}' y='{y + 4:.0f}' {more}>{escape(said)}</text>"


def _curve(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    half = (x1 + x2) / 2
    path = f"M{x1:.0f},{y1:.0f} C{half:.0f},{y1:.0f} {half:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"
    return f"<path d='{path}' stroke='{colour}' fill='none' opacity='.6'/>"


def document(width: float, height: float, parts: Sequence[str]) -> str:
    """Puts drawn parts on a white sheet of so many pixels, as a whole SVG document."""
    inside = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        "font-family='sans-serif' font-size='13'>\n<rect width='100%' height='100%' fill='white'/>\n"
        f"{inside}\n</svg>\n"
    )
