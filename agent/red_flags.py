"""Urgency by rule, outside the model: what a message and the findings say must be seen, and how soon.

The table is `rules/red_flags.toml`; `scope` says which words count (not negated, not past, not somebody
else's, not only asked about). The highest level of all rules that fire wins, and nothing a model writes can
lower it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from .answer import Finding, Level, Urgency
from .scope import Word, read
from .words import Speller, rules

LEVELS: tuple[Level, ...] = ("routine", "soon", "urgent", "emergency")
MAX_CHARS = 8000
"""Longer messages are read at their beginning and end, so that a call stays within milliseconds."""


_TURNS = frozenset(("but", "however", "although", "though"))
_OVER = re.compile(
    r"(?:\w+ )?(?:(?:is|are|was|were|has|have|had|been|now|all|completely|already|it) )*"
    r"(?:gone(?! (?:black|up|to|from|bad|red|dark|purple))|went away|resolved|disappeared|cleared"
    r"|none|absent|negative|subsided"
    r"|settled|healed"
    r"|(?<=is )(?:fine|normal|ok|okay)|(?<=are )(?:fine|normal|ok|okay)|: no)\b"
)


@dataclass(frozen=True)
class Hit:
    """A rule that fired.

    Attributes:
        id: Rule, as in the table.
        level: Its urgency.
        matched: The words of the message it fired on, or the finding.
    """

    id: str
    level: Level
    matched: str


@dataclass(frozen=True)
class Triage:
    """The outcome: the highest level and every rule that fired, highest first."""

    level: Level
    rules: list[Hit]

    def urgency(self) -> Urgency:
        """As it stands in a `ClarifyAnswer`."""
        return Urgency(level=self.level, rules=[h.id for h in self.rules])

    def as_json(self) -> dict[str, Any]:
        """As `clarify triage --json` prints it."""
        return {"level": self.level, "rules": [{"id": h.id, "matched": h.matched} for h in self.rules]}


@dataclass(frozen=True)
class _Found:
    """One place where a concept stands, and how it is meant."""

    words: tuple[int, ...]
    negated: bool
    past: bool
    other: int
    asked: bool
    question: bool


@dataclass(frozen=True)
class _Table:
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
    concepts: Mapping[str, tuple[tuple[tuple[str, ...], int], ...]]
    speller: Speller
    lasting: frozenset[str]
    named: frozenset[str]


@cache
def _table() -> _Table:
    table = rules("red_flags")
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for name, words in table["words"].items():
        for word in words.split():
            parts = tuple(word.split("_"))
            by_first.setdefault(parts[0], []).append((parts, name))
    concepts: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {}
    for name, alternatives in table["concepts"].items():
        read_alternatives = []
        for text in alternatives:
            parts = text.split()
            within = int(parts.pop()[1:]) if parts[-1].startswith("~") else 6
            read_alternatives.append((tuple(parts), within))
            for part in parts:
                if part not in table["words"]:  # a word or phrase itself
                    split = tuple(part.split("_"))
                    by_first.setdefault(split[0], []).append((split, part))
        concepts[name] = tuple(read_alternatives)
    known = {part for entries in by_first.values() for parts, _ in entries for part in parts}
    return _Table(
        phrases={k: tuple(v) for k, v in by_first.items()},
        concepts=concepts,
        speller=Speller(known, table["real_words"].split()),
        lasting=frozenset(table["flags"]["lasting"].split()),
        named=frozenset(table["flags"]["named"].split()),
    )


def _places(words: Sequence[Word], table: _Table) -> dict[str, list[tuple[int, ...]]]:
    """Where each class of words stands: the positions of every word or phrase of it."""
    fixed = [table.speller.fix(w.text) for w in words]
    places: dict[str, list[tuple[int, ...]]] = {}
    for at, word in enumerate(fixed):
        for parts, name in table.phrases.get(word, ()):
            if (
                tuple(fixed[at : at + len(parts)]) == parts
                and words[at + len(parts) - 1].sentence == words[at].sentence
            ):
                places.setdefault(name, []).append(tuple(range(at, at + len(parts))))
    return places


def _find(
    words: Sequence[Word], places: Mapping[str, list[tuple[int, ...]]], table: _Table
) -> dict[str, list[_Found]]:
    found: dict[str, list[_Found]] = {}
    for name, alternatives in table.concepts.items():
        for classes, within in alternatives:
            if not all(c in places for c in classes):
                continue
            for combination in _near(words, [places[c] for c in classes], within):
                found.setdefault(name, []).append(_meant(words, combination))
    return found


def _near(
    words: Sequence[Word], options: Sequence[list[tuple[int, ...]]], within: int
) -> Iterator[tuple[int, ...]]:
    """Choices of one place a class in one sentence, close together, each word used once."""
    for first in options[0]:
        close = [
            [
                p
                for p in o
                if words[p[0]].sentence == words[first[0]].sentence and abs(p[0] - first[0]) <= within + 2
            ][:6]
            for o in options[1:]
        ]
        for rest in product(*close):
            flat = tuple(sorted(i for place in (first, *rest) for i in place))
            between = {words[i].text for i in range(flat[0], flat[-1])}
            if (
                len(set(flat)) == len(flat)
                and flat[-1] - flat[0] <= within + len(flat) - 1
                and (not between & _TURNS or "it" in between)
            ):
                yield flat


def _meant(words: Sequence[Word], at: tuple[int, ...]) -> _Found:
    mine = [words[i] for i in at]
    after: list[str] = []
    for word in words[at[-1] + 1 : at[-1] + 6]:
        if word.text in ",.;!?\n" or word.sentence != mine[-1].sentence:
            break
        after.append(word.text)
    over = bool(_OVER.match(" ".join(after)))
    return _Found(
        words=at,
        negated=over or any(w.negator >= 0 and w.negator not in at for w in mine),
        past=any(w.past for w in mine),
        other=max(w.other for w in mine),
        asked=any(w.asked for w in mine),
        question=any(w.question for w in mine),
    )


def _holds(found: _Found, concept: str, level: str, table: _Table) -> bool:
    if found.negated or found.asked or (found.past and concept not in table.lasting):
        return False
    if found.other == 1 or (found.other == 2 and level != "emergency"):
        return False
    return not (concept in table.named and found.question)


def triage(
    text: str,
    *,
    findings: Sequence[Finding] = (),
    patient: Mapping[str, Any] | None = None,
) -> Triage:
    """How soon somebody must be seen.

    Args:
        text: What the user wrote, in any state.
        findings: The specialist's findings; a possible cancer is at least "soon".
        patient: From `patient.patient_context`: `age` in years below 0.25 counts as newborn, `changed` or
            `bleeds` with a specialist finding of a pigmented lesion as a changing one.
    """
    if len(text) > MAX_CHARS:
        text = f"{text[: MAX_CHARS // 2]}\n{text[-MAX_CHARS // 2 :]}"
    table = _table()
    plain, words = read(text)
    found = _find(words, _places(words, table), table)
    given = patient or {}
    age = given.get("age")
    young = isinstance(age, int | float) and age < 0.17
    hits = [h for rule in rules("red_flags")["rule"] if (h := _fire(rule, found, words, plain, table, young))]
    hits += _from_findings(findings, given)
    best: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda h: -LEVELS.index(h.level)):
        best.setdefault(hit.id, hit)
    ordered = list(best.values())
    return Triage(ordered[0].level if ordered else "routine", ordered)


def _fire(
    rule: Mapping[str, Any],
    found: Mapping[str, list[_Found]],
    words: Sequence[Word],
    plain: str,
    table: _Table,
    young: bool,
) -> Hit | None:
    def first(group: str) -> _Found | None:
        for concept in group.split("|"):
            if concept == "newborn" and young:
                return _Found((), False, False, 0, False, False)
            for f in found.get(concept, ()):
                if _holds(f, concept, rule["level"], table):
                    return f
        return None

    if "unless" in rule and first(rule["unless"]):
        return None
    for groups in rule["any"]:
        got = [first(group) for group in groups]
        if all(got):
            said = [plain[words[f.words[0]].start : words[f.words[-1]].end] for f in got if f and f.words]
            return Hit(rule["id"], rule["level"], "; ".join(dict.fromkeys(said)))
    return None


def _from_findings(findings: Sequence[Finding], patient: Mapping[str, Any]) -> list[Hit]:
    hits = []
    for finding in findings:
        if not finding.in_scope:
            continue
        for rule, spec in rules("red_flags")["findings"].items():
            labels: list[str] = [x for x in finding.prediction_set if x in spec["shortlist"]]
            if finding.label and finding.label in (*spec["first"], *spec["shortlist"]):
                labels.append(finding.label)
            if labels:
                hits.append(Hit(rule, spec["level"], f"{finding.image}: {labels[0]}"))
        if finding.label == "nv" and (patient.get("changed") or patient.get("bleeds")):
            hits.append(Hit("pigmented-suspicious", "soon", f"{finding.image}: it changes or bleeds"))
    return hits
