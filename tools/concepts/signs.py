"""What the knowledge graph says a disease looks like: more prompts for the dual encoder than its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..knowledge import Knowledge

_MOST = 20
_TELLING = ("dermoscopic sign", "clinical sign")


def signs_of(knowledge: Knowledge, diseases: Sequence[str]) -> dict[str, list[str]]:
    """Reads the visible signs of diseases.

    Args:
        knowledge: The graph.
        diseases: Names; one that the graph does not know has no signs.

    Returns:
        Disease -> its signs, as the graph words them.

    Raises:
        KGError: The graph cannot be read.
    """
    from ...graph_schema.retrieval import UnknownDisease

    found: dict[str, list[str]] = {}
    for name in diseases:
        try:
            rows = knowledge.run("signs", [name], _MOST)
        except UnknownDisease:
            rows = []
        found[name] = [row.object for row in rows if row.predicate in _TELLING]
    return found
