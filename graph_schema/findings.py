"""From what a patient sees, and where, to the signs and sites of the graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..errors import BadInput
from .folding import normalise, readings
from .linking import MAX_NAME
from .protocol import KnowledgeGraph, Link
from .text import alike, nearest, noise
from .vocabulary import vocabulary


def link_finding(kg: KnowledgeGraph, text: str, label: str) -> list[Link]:
    """Finds the signs or sites that a patient's words mean.

    Unlike a disease, a sign is often told in part: "scale" means "white surface scale" too. A node is meant
    when every telling word is among the words of its name or of a fact about it, misspelt or in other words
    ("itchy", "pruritus"); "itching" does not mean "no itching", and for a site the whole stands for the
    part ("nose": face).

    Args:
        kg: The graph.
        text: One sign or one site.
        label: `Sign` or `Site`.

    Returns:
        Every such node, the closest wording first; `score` is the share of its words that was said.

    Raises:
        BadInput: Empty or longer than 200 characters.
    """
    best: dict[str, Link] = {}
    for row, score in _fitting(kg, text, label):
        if row["id"] not in best or score > best[row["id"]].score:
            best[row["id"]] = Link(
                curie=row["id"], name=row["name"], matched=text, score=score, how="words", label=label
            )
    return sorted(best.values(), key=lambda m: (-m.score, m.name, m.curie))


def finding_wordings(kg: KnowledgeGraph, text: str, label: str) -> dict[str, frozenset[str]]:
    """Finds how facts word what is meant: node -> normal forms of those wordings of it that say so.

    "Worse at night" means the node itching, but only where a fact says "itching that is worse at night".

    Raises:
        BadInput: As `link_finding`.
    """
    found: dict[str, frozenset[str]] = {}
    for row, _ in _fitting(kg, text, label):
        found[row["id"]] = found.get(row["id"], frozenset()) | {normalise(row["words"])}
    return found


def _fitting(kg: KnowledgeGraph, text: str, label: str) -> list[tuple[dict[str, Any], float]]:
    """The wordings that say what a text means, each with the share of its words that was said."""
    if not text.strip() or len(text) > MAX_NAME:
        raise BadInput(f"a sign or site has 1 to {MAX_NAME} characters.", hint="Write signs=itching.")
    said, denied = polarity(text)
    groups = [sorted(meant(word, label)) for word in (*_telling(said), *_telling(denied))]
    rows = kg.near_wordings(groups, label) if groups else []
    scored = ((row, _fit(said, denied, row["words"], label)) for row in rows)
    return [(row, score) for row, score in scored if score > 0]


def polarity(text: str) -> tuple[str, str]:
    """Splits a phrase into what it says is there and what it says is not."""
    denied = [m["listed"] or m["denied"] for m in _negated().finditer(text)]
    return _negated().sub(" ", text), " ".join(denied)


@cache
def _negated() -> re.Pattern[str]:
    words = "|".join(re.escape(phrase) for phrase in vocabulary().negations)
    listed = r"without\b(?P<listed>(?:[^,;]*?,)+[^,;]*?\bor\b.*?)"  # "without scale, itch or pain"
    return re.compile(rf"\b(?:{listed}|(?:{words})\b(?P<denied>.*?))(?=\bbut\b|[,;]|$)", re.IGNORECASE)


def _fit(said: str, denied: str, wording: str, label: str) -> float:
    theirs_said, theirs_denied = polarity(wording)
    parts = [(said, theirs_said), (denied, theirs_denied)]
    scores = [_share(ours, theirs, label) for ours, theirs in parts if _telling(ours)]
    return round(min(scores), 4) if scores else 0.0


def _share(ours: str, theirs: str, label: str) -> float:
    """The share of their words that is said, or 0 when a telling word of ours is not among them."""
    known = [word for reading in readings(theirs) for word in reading if not noise(word)]
    needed = _telling(ours)
    for word in needed:
        if not nearest(word, known)[0] and meant(word, label).isdisjoint(known):
            return 0.0
    return min(1.0, len(needed) / max(1, len(_telling(theirs)))) if known else 0.0


def meant(word: str, label: str) -> set[str]:
    """A folded word, others for the same thing, and for a site the wholes it is part of."""
    wholes = vocabulary().wholes.get(word, frozenset()) if label == "Site" else frozenset()
    return alike(word) | wholes


def _telling(text: str) -> Sequence[str]:
    words = [word for word in readings(text)[0] if not noise(word)] if text.strip() else []
    return [word for word in words if word not in vocabulary().finding_weak] or words
