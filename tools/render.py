"""What the generalist reads of a tool's result: short lines, ids first. Training uses the same code."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Protocol

from ..graph_schema.protocol import FactRow

MAX_TEXT = 400
_PLAIN = str.maketrans({"[": "(", "]": ")", "{": "(", "}": ")", "<": "(", ">": ")", "|": "/", "`": "'"})
"""Brackets, column marks and the marks of chat templates -> plain ones."""
OUT_OF_SCOPE = "not dermoscopy of a skin lesion; no label"


class Finding(Protocol):
    """The part of a classification that is shown to the generalist."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Calibrated probability by label."""

    @property
    def prediction_set(self) -> Sequence[str]:
        """The shortlist, likeliest first."""

    @property
    def in_scope(self) -> bool:
        """Whether the picture is of the kind that the specialist knows."""


def render_rows(rows: Sequence[FactRow]) -> str:
    """Renders fact rows, one a line: `[fact_id] subject | predicate | object`."""
    return "\n".join(
        f"[{quoted(r.fact_id)}] {quoted(r.subject)} | {quoted(r.predicate)} | {quoted(r.object)}"
        for r in rows
    )


def quoted(text: str) -> str:
    """Makes text of the graph data on one line: it cannot end the line or its column, cite or call a tool.

    The shipped facts have none of these characters (`loading.Text`), a server's graph may have any.
    """
    line = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFKC", text))
    return " ".join(line.translate(_PLAIN).split())[:MAX_TEXT]


def render_no_rows(query: str, diseases: Sequence[str]) -> str:
    """Says that the graph holds nothing for a query."""
    return f"no facts found: {query} of {quoted(', '.join(diseases))}"


def render_no_fit(outcome: str, told: Sequence[str]) -> str:
    """Says that no condition fits what was told, or too many do (outcome `many`)."""
    head = "too many conditions fit" if outcome == "many" else "no condition fits"
    return f"{head}: {quoted(', '.join(told))}"


def render_unknown_disease(name: str) -> str:
    """Says that no node is near enough to a name."""
    return f"no disease found: {quoted(name)}"


def render_finding(
    image: str, finding: Finding, names: Mapping[str, str], *, sure: bool, second_look: bool = False
) -> str:
    """Renders a classification.

    Args:
        image: The thread's picture id, for example `img1`.
        finding: Calibrated probabilities by label, conformal set, scope.
        names: Display name of each label.
        sure: Whether the gate counts the top probability as confident.
        second_look: Whether this is the result of test-time augmentation.

    Returns:
        One line, for example `img1: melanoma 71 %, melanocytic nevus 21 %, benign keratosis 5 %; unsure;
        shortlist melanoma, melanocytic nevus`.
    """
    head = f"{image} second look" if second_look else image
    if not finding.in_scope:
        return f"{head}: {OUT_OF_SCOPE}"
    top = sorted(finding.probabilities.items(), key=lambda item: -item[1])[:3]
    shares = ", ".join(f"{names[label]} {round(100 * p)} %" for label, p in top)
    shortlist = ", ".join(names[label] for label in finding.prediction_set)
    return f"{head}: {shares}; {'sure' if sure else 'unsure'}; shortlist {shortlist}"


def render_error(message: str) -> str:
    """Renders a tool failure for the generalist."""
    return f"error: {message}"
