"""What the knowledge graph says a disease looks like: more prompts for the dual encoder than its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...graph_schema.protocol import FactRow
    from ..knowledge import Knowledge

_MOST = 20
TELLING = ("dermoscopic sign", "clinical sign")
"""Predicates of facts that say what can be seen."""


def signs_of(knowledge: Knowledge, diseases: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Reads the visible signs of diseases.

    Args:
        knowledge: The graph.
        diseases: Name -> what the graph calls it: names or CURIEs; one that it does not know has no signs.

    Returns:
        Name -> its signs, as the graph words them.

    Raises:
        KGError: The graph cannot be read.
    """
    from ...graph_schema.retrieval import UnknownDisease

    found: dict[str, list[str]] = {}
    for name, keys in diseases.items():
        rows: list[FactRow] = []
        for key in keys:
            with suppress(UnknownDisease):
                rows += knowledge.run("signs", [key], _MOST)
        found[name] = [row.object for row in rows if row.predicate in TELLING]
    return found
