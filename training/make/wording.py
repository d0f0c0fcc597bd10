"""How captions word things: phrases found in running text, its sentences, and what it says is not there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...graph_schema.folding import normalise, spans

_END = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s)|\n[^\S\n]*\n")
_PUNCTUATION = r"[;:()\[\]]"
_ITEM = r"[\w'-]+(?:\s+[\w'-]+)?"
_LIST = re.compile(rf"(?:,\s*{_ITEM}\s*)*,?\s*and\s+\w|.*\b(?:or|nor)\b", re.DOTALL)
_LEAD = r"(?:\b(?:is|are|was|were|be|been)\s+)?"
_ONE_WORD = re.compile(r"\bnon[-\s]\w+|\b\w+[-\s]free\b(?!\s+(?:of|from)\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A phrase in a text.

    Attributes:
        values: What it stands for; empty for a phrase that is known to mean something else.
        start: Offset of its first character.
        end: Offset behind its last.
    """

    values: tuple[str, ...]
    start: int
    end: int


class PhraseIndex:
    """Finds known phrases in texts, compared folded; where two overlap, the longer one is meant."""

    def __init__(self, phrases: Mapping[str, tuple[str, ...]], capitals: Collection[str] = ()) -> None:
        """Indexes phrases.

        Args:
            phrases: Phrase -> what it stands for.
            capitals: Those of them that count only in capitals: abbreviations that may be words.
        """
        self._values = {key: value for phrase, value in phrases.items() if (key := normalise(phrase))}
        self._capitals = {normalise(phrase) for phrase in capitals}
        self._lengths: dict[str, set[int]] = {}
        for key in self._values:
            words = key.split()
            self._lengths.setdefault(words[0], set()).add(len(words))

    def __contains__(self, phrase: str) -> bool:
        return normalise(phrase) in self._values

    def get(self, phrase: str) -> tuple[str, ...]:
        """What a phrase on its own stands for, or nothing."""
        return self._values.get(normalise(phrase), ())

    def find(self, text: str) -> list[Found]:
        """The phrases of a text in its order, none in another."""
        words = spans(text)
        runs = [
            (i, i + n)
            for i, (word, _, _) in enumerate(words)
            for n in self._lengths.get(word, ())
            if i + n <= len(words) and self._said(text, words[i : i + n])
        ]
        taken: set[int] = set()
        found = []
        for i, j in sorted(runs, key=lambda run: (run[0] - run[1], run[0])):
            if taken.isdisjoint(range(i, j)):
                taken.update(range(i, j))
                key = " ".join(word for word, _, _ in words[i:j])
                found.append(Found(self._values[key], words[i][1], words[j - 1][2]))
        return sorted(found, key=lambda f: f.start)

    def _said(self, text: str, run: list[tuple[str, int, int]]) -> bool:
        key = " ".join(word for word, _, _ in run)
        if key not in self._values:
            return False
        raw = text[run[0][1] : run[-1][2]]
        return key not in self._capitals or (raw.rstrip("s").isupper() and not _shouted(text, raw))


def _shouted(text: str, raw: str) -> bool:
    """Whether a text of more than the abbreviation is all in capitals, so that capitals mean nothing."""
    return text.isupper() and text.strip(" .") != raw


@dataclass(frozen=True)
class Cues:
    """How a sentence says that something is not there, or not meant.

    Attributes:
        before: Matches what denies the words after it.
        after: Matches what denies the words before it.
        never: Matches what only begins like a denial.
        stops: Matches where the first ends.
        back_stops: Matches where the second ends, read backwards.
    """

    before: re.Pattern[str]
    after: re.Pattern[str]
    never: re.Pattern[str]
    stops: re.Pattern[str]
    back_stops: re.Pattern[str]

    def ranges(self, sentence: str) -> list[tuple[int, int]]:
        """The stretches of a sentence that it denies, as offsets; they may overlap."""
        text = sentence.replace("\u2019", "'")
        idle = [m.span() for m in self.never.finditer(text)]
        found = [m.span() for m in _ONE_WORD.finditer(text)]
        for m in self.before.finditer(text):
            if not inside(m.span(), idle):
                found.append((m.end(), self._end(text, m.end())))
        for m in self.after.finditer(text):
            if not inside(m.span(), idle):
                starts = [s.end() for s in self.back_stops.finditer(text, 0, m.start())]
                found.append((max(starts, default=0), m.start()))
        return found

    def _end(self, text: str, start: int) -> int:
        """Where a denial ends: at a stop, or at a comma unless it is one of a list that goes on."""
        stop = self.stops.search(text, start)
        end = stop.start() if stop else len(text)
        comma = text.find(",", start, end)
        while comma >= 0 and _LIST.match(text, comma, end):
            comma = text.find(",", comma + 1, end)
        return end if comma < 0 else comma


def inside(span: tuple[int, int], ranges: Iterable[tuple[int, int]]) -> bool:
    """Whether a stretch of a text touches one of some others."""
    return any(span[0] < end and start < span[1] for start, end in ranges)


@dataclass(frozen=True)
class Words:
    """The tables of `words.toml`.

    Attributes:
        diagnosis: Sentence with a place for a path.
        shows: Sentence with a place for a list of concepts.
        concepts: Kind of concept -> its concepts.
        terms: Finds how captions word concepts.
        no_diagnosis: Normal forms of names that say no disease.
        denial: Of what is not there.
        family: Of what somebody else has.
        doubt: Of diseases that are named without being the diagnosis.
        abbreviations: Folded words whose full stop ends no sentence.
        numbered: Those that do so before a number.
    """

    diagnosis: str
    shows: str
    concepts: Mapping[str, tuple[str, ...]]
    terms: PhraseIndex
    no_diagnosis: frozenset[str]
    denial: Cues
    family: Cues
    doubt: Cues
    abbreviations: frozenset[str]
    numbered: frozenset[str]


@cache
def words() -> Words:
    """Reads the tables, once a process."""
    table = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
    denial, family = table["denial"], table["family"]
    return Words(
        diagnosis=table["sentences"]["diagnosis"],
        shows=table["sentences"]["concepts"],
        concepts={kind: tuple(names) for kind, names in table["concepts"].items()},
        terms=PhraseIndex(_terms(table)),
        no_diagnosis=frozenset(normalise(name) for name in table["no_diagnosis"]["names"]),
        denial=_cues(denial["before"], denial["after"], denial, contractions=True),
        family=_cues(family["phrases"], family["phrases"], denial | {"stops": family["stops"]}),
        doubt=_cues(table["doubt"]["before"], table["doubt"]["after"], denial),
        abbreviations=frozenset(table["abbreviations"]["always"]),
        numbered=frozenset(table["abbreviations"]["numbered"]),
    )


def _terms(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    terms: dict[str, tuple[str, ...]] = {normalise(phrase): () for phrase in table["other"]["phrases"]}
    for concepts in table["concepts"].values():
        for concept, phrases in concepts.items():
            for key in dict.fromkeys(normalise(phrase) for phrase in phrases):
                terms[key] = (*terms.get(key, ()), concept)
    return terms


def _cues(
    before: Collection[str], after: Collection[str], denial: Mapping[str, Any], *, contractions: bool = False
) -> Cues:
    return Cues(
        _matcher(before, r"\b\w+n't\b" if contractions else ""),
        _matcher(after, lead=_LEAD),
        _matcher(denial["never"]),
        _matcher(denial["stops"], _PUNCTUATION),
        _matcher(denial["back_stops"], _PUNCTUATION),
    )


def _matcher(phrases: Collection[str], more: str = "", lead: str = "") -> re.Pattern[str]:
    longest_first = sorted(phrases, key=lambda p: (-len(p), p))
    listed = "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in longest_first)
    pattern = rf"{lead}\b(?:{listed})(?:'s|s)?\b"
    return re.compile(f"{pattern}|{more}" if more else pattern, re.IGNORECASE)


def split_sentences(text: str) -> list[str]:
    """Splits a text into its sentences, with their punctuation; together they have every word of it.

    A full stop within a number, after an abbreviation or an initial, or before a small letter ends none.
    """
    pieces, start = [], 0
    for m in _END.finditer(text):
        if m.group().isspace() or _ends(text[start : m.start()], m.group(), text[m.end() :].lstrip()[:1]):
            pieces.append(text[start : m.end()].strip())
            start = m.end()
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def _ends(before: str, mark: str, following: str) -> bool:
    """Whether a mark between two parts of a text ends a sentence."""
    if not mark.startswith("."):
        return not following.islower()
    parts = before.split()[-2:] or [""]
    word = parts[-1].lstrip("([\"'\u201c\u2018").casefold()
    if following.islower() or word in words().abbreviations:
        return False
    if word in words().numbered and following.isdigit():
        return False
    return not _is_initial(parts)


def _is_initial(parts: list[str]) -> bool:
    """A single capital is an initial first or after a capital ("J. R. Smith"), no "vitamin D."."""
    if not (len(parts[-1]) == 1 and parts[-1].isupper()):
        return False
    return len(parts) == 1 or parts[0][:1].isupper()


def folded_in(phrase: str, text: str) -> list[tuple[int, int]]:
    """Where a text has a phrase, word for word but for folding, as offsets."""
    wanted = normalise(phrase).split()
    said = spans(text)
    n = len(wanted)
    return [
        (said[i][1], said[i + n - 1][2])
        for i in range(len(said) - n + 1 if n else 0)
        if [word for word, _, _ in said[i : i + n]] == wanted
    ]
