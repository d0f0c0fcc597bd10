"""Words that linking knows beside the names of the graph: `vocabulary.toml`, folded as names are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .folding import fold, normalise


@dataclass(frozen=True)
class Vocabulary:
    """The tables of `vocabulary.toml`.

    Attributes:
        same: folded word -> the folded words that may stand for it, itself among them.
        weak: Words that a text may add to a name.
        empty: Those of them that it may also leave out.
        opposites: Pairs of beginnings that turn a word into its opposite.
        sites: Places of the skin; a name that says none is not changed by one.
        implied: A word that may be left out -> the words one of which must be there.
        sentence: Words that a name does not have.
        growth: Last words of names of growths, beside those that end in "oma".
        before: Words that make the name of a growth after them another disease.
        organs: Words that do so after "of".
        after: Words that make the name before them another disease.
        finding_weak: Words that a sign may have more or less.
        finding_general: Words of signs that are none on their own.
        negations: Phrases after which a phrase says what is not there.
        wholes: A part of the body -> what it is a part of.
        others: Normal forms of other diseases' names.
    """

    same: Mapping[str, frozenset[str]]
    weak: frozenset[str]
    empty: frozenset[str]
    opposites: tuple[tuple[str, str], ...]
    sites: frozenset[str]
    implied: Mapping[str, frozenset[str]]
    sentence: frozenset[str]
    growth: frozenset[str]
    before: frozenset[str]
    organs: frozenset[str]
    after: frozenset[str]
    finding_weak: frozenset[str]
    finding_general: frozenset[str]
    negations: tuple[str, ...]
    wholes: Mapping[str, frozenset[str]]
    others: frozenset[str]


@cache
def vocabulary() -> Vocabulary:
    """Reads the tables, once a process."""
    table = tomllib.loads((Path(__file__).parent / "vocabulary.toml").read_text(encoding="utf-8"))
    groups = [_folded(line) for line in table["same"]]
    other = table["other"]
    return Vocabulary(
        same={word: group for group in groups for word in group},
        weak=_folded(table["weak"]),
        empty=_folded(table["empty"]),
        opposites=tuple((a, b) for a, b in (line.split() for line in table["opposites"])),
        sites=_folded(table["sites"]),
        implied={word: _folded(line) for word, line in table["implied"].items()},
        sentence=frozenset(table["sentence"]["words"].split()),
        growth=_folded(other["growth"]),
        before=_folded(other["before"]),
        organs=_folded(other["organs"]),
        after=_folded(other["after"]),
        finding_weak=_folded(table["findings"]["weak"]),
        finding_general=_folded(table["findings"]["general"]),
        negations=tuple(table["findings"]["negations"]),
        wholes=_wholes(table["part_of"]),
        others=frozenset(normalise(name) for name in other["names"]),
    )


def _wholes(table: Mapping[str, str]) -> dict[str, frozenset[str]]:
    wholes: dict[str, frozenset[str]] = {}
    for whole, parts in table.items():
        for part in _folded(parts):
            wholes[part] = wholes.get(part, frozenset()) | {fold(whole)}
    return wholes


def _folded(line: str) -> frozenset[str]:
    return frozenset(fold(word) for word in line.split())
