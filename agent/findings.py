"""Checks what a statement says about the specialist's finding on a picture: the other half of `grounding`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .answer import Finding
from .lexicon import Item, Lexicon, english
from .words import tokenise


@dataclass(frozen=True)
class Verdict:
    """Whether a statement holds, and if not why, in one short sentence."""

    supported: bool
    reason: str = ""


def check_finding(text: str, finding: Finding, lexicon: Lexicon, sure: bool | None = None) -> Verdict:
    """Checks a sentence that cites `specialist:imgN`.

    Args:
        text: The sentence without its citations.
        finding: What the specialist said about that picture.
        lexicon: Names; its `labels` and `label_curies` say what each label is called.
        sure: Whether the gate counted the finding as confident; None: words of certainty are not checked.
    """
    reason = _wrong(text, finding, lexicon, sure)
    return Verdict(not reason, reason)


def _wrong(text: str, finding: Finding, lexicon: Lexicon, sure: bool | None) -> str:
    words = english().finding
    items = [i for i in lexicon.items(tokenise(text)) if i.text != finding.image and i.text != "img"]
    named = [(at, labels) for at, i in enumerate(items) if (labels := _labels(i, finding, lexicon))]
    line = " ".join("L" if _labels(i, finding, lexicon) else i.text for i in items)
    for item in items:
        if item.curies and not _labels(item, finding, lexicon) and item.stem not in english().generic:
            return f"'{item.text}' is none of the specialist's labels"
        if not item.curies and not item.text[0].isdigit() and item.text != "%":
            if item.stem not in english().finding_words and not _labels(item, finding, lexicon):
                return f"'{item.text}' is not in the finding"
    if any(_says(p, line) for p in words["refuse"]):
        return "a picture alone does not settle a diagnosis"
    outside = any(_says(p, line) for p in words["out"])
    if not finding.in_scope:
        if named or any(i.text[0].isdigit() for i in items):
            return "the picture is out of scope, so nothing can be read from it"
        return "" if outside else "it does not say that the picture is out of scope"
    if outside:
        return "the picture is in scope"
    return _wrong_numbers(items, named, finding) or _wrong_words(line, named, finding, sure)


def _says(pattern: re.Pattern[str], line: str) -> bool:
    return bool(pattern.search(line))


def _labels(item: Item, finding: Finding, lexicon: Lexicon) -> frozenset[str]:
    found = lexicon.label_of(item)
    if finding.label and finding.curie and finding.curie in item.curies:
        found |= {finding.label}
    return found


def _top(finding: Finding) -> str | None:
    return finding.label or max(finding.probabilities, key=finding.probabilities.__getitem__, default=None)


def _wrong_numbers(
    items: Sequence[Item], named: Sequence[tuple[int, frozenset[str]]], finding: Finding
) -> str:
    """Every number must be the rounded per cent of its label: the one before, else behind, else the top."""
    for at, item in enumerate(items):
        if not item.text[0].isdigit() or (at and items[at - 1].text in ("picture", "image", "photo")):
            continue
        before = [labels for i, labels in named if i < at]
        behind = [labels for i, labels in named if i > at]
        options: set[str] = set((before[-1:] or behind[:1] or [frozenset([_top(finding) or ""])])[0])
        if (
            at + 2 < len(items)
            and behind
            and items[at + 1].text == "%"
            and items[at + 2].text in ("for", "of", "on")
        ):
            options = set(behind[0])
        chances = [
            finding.probabilities.get(o, finding.confidence if o == finding.label else 0.0) for o in options
        ]
        said = float(item.text)
        if not any(said == round(100 * p) or (said < 1 and said == round(p, 2)) for p in chances):
            return f"{item.text} is not what the specialist gave"
        if at + 1 >= len(items) or (items[at + 1].text != "%" and said >= 1):
            return f"{item.text} has lost its per cent"
    return ""


def _wrong_words(
    line: str, named: Sequence[tuple[int, frozenset[str]]], finding: Finding, sure: bool | None
) -> str:
    """Labels must stand where they belong: first, possible, or unlikely; certainty as the gate has it."""
    words = english().finding
    unsure = any(_says(p, line) for p in words["unsure"])
    if sure is not None and unsure and sure:
        return "the finding is sure"
    plain = line
    for p in words["unsure"]:
        plain = p.sub("", plain)
    if sure is False and any(_says(p, plain) for p in words["sure"]):
        return "the finding is unsure"
    top, shortlist = _top(finding), set(finding.prediction_set)
    rest = list(named)
    for clause in _clauses(line):
        here, rest = rest[: clause.count("L")], rest[clause.count("L") :]
        if not here:
            continue
        possible = any(_says(p, clause) for p in words["possible"])
        stripped = clause
        for p in words["possible"]:
            stripped = p.sub("", stripped)
        if any(_says(p, stripped) for p in words["excluded"]):
            return "nothing is ruled out by a picture"
        labels = [labels for _, labels in here]
        if possible and not all(s & shortlist for s in labels):
            return "it is not on the shortlist"
        negative = any(
            w in stripped.split() for w in ("not", "no", "nor", "neither", "less", "without", "never")
        )
        if negative:
            if any(top in s or s & shortlist for s in labels):
                return "it denies what the specialist gave"
        elif not possible and top not in labels[0]:
            if "%" not in clause or any(_says(p, stripped) for p in words["best"]):
                return "it is not the specialist's first label"
    return ""


def _clauses(line: str) -> list[str]:
    return re.split(r"\b(?:but|and|while|whereas|followed by|then|although|though|yet)\b", line)
