"""How answers are phrased: `phrasing.toml`, a sentence a row, and drafts that were refused."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...graph_schema.protocol import FactRow
from .world import WORDS

PHRASING: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent / "phrasing.toml").read_text(encoding="utf-8")
)
_REVISE = (Path(__file__).parents[2] / "prompts" / "revise.txt").read_text(encoding="utf-8").strip()
_REASONS = (
    "it does not say what its rows say",
    "it says {word}, its row does not",
    "it leaves out {word}",
    "{word} is not in its row",
)


def say_rows(rows: Sequence[FactRow]) -> list[str]:
    """Says each row in a sentence, taking the wordings of a predicate in turn per subject."""
    seen: dict[tuple[str, str], int] = {}
    lines = []
    for row in rows:
        predicate, _, other = row.predicate.partition("differs from ")
        name = "differs from" if other else predicate.strip()
        key = (row.subject, row.predicate)
        wordings = PHRASING["row"][name]
        wording = wordings[min(seen.get(key, 0), len(wordings) - 1)]
        seen[key] = seen.get(key, 0) + 1
        lines.append(wording.format(s=row.subject, o=row.object, x=other) + f" [{row.fact_id}]")
    return lines


def refused(rng: random.Random, lines: Sequence[str]) -> tuple[str, str]:
    """Spoils one cited line of an answer, as a small model does, and words what `verify` says of it.

    Args:
        rng: Source of all choices.
        lines: The right answer; at least one line is cited.

    Returns:
        The spoilt draft and the request to write it again.
    """
    spoilt = list(lines)
    at = rng.choice([i for i, line in enumerate(lines) if line.endswith("]")])
    text, _, cite = spoilt[at].rpartition(" [")
    words = text.rstrip(".").split(" ")
    place = rng.randrange(1, len(words))
    word = words[place]
    words[place] = rng.choice(WORDS["nouns"] if rng.random() < 0.7 else WORDS["adjectives"])
    said = " ".join(words) + "."
    spoilt[at] = f"{said} [{cite}"
    reason = rng.choice(_REASONS).format(word=word)
    return "\n".join(spoilt), _REVISE.replace("{reasons}", f"- {said} ({reason})")
