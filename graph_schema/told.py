"""Signs and sites told in running text: "itchy purple bumps on the wrists" is three signs and a site."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .findings import link_finding, meant, polarity
from .folding import normalise, spans
from .linking import MAX_TEXT
from .multihop import MAX_SIGNS
from .protocol import KnowledgeGraph
from .text import noise
from .vocabulary import vocabulary

LABELS = ("Sign", "Site")
_LONGEST = 5
"""Most words of a site: "the outer side of the upper arm"."""
_LONG = 6
"""From so many letters on a word of a sentence may be a misspelt one: "gives" is no "live"."""
_SENTENCES = r"[.?!\n]+"
_PARTS = (
    r"[,;:()]|\b(?:and|but|or|on|in|with|at|under|around|between|from|after|over|along|that|which|when)\b"
)


@dataclass(frozen=True)
class Told:
    """What a text tells of a skin, in its own words.

    Attributes:
        signs: Phrases that the graph knows as signs.
        sites: Phrases that it knows as sites.
    """

    signs: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()


def find_told(kg: KnowledgeGraph, text: str) -> Told:
    """Finds the signs and sites that a text says are there; what it denies is left out.

    A sign is one specific word ("purple"), or two that say something only together ("clear centre"):
    conditions are then ranked by how many of the words they have, whole phrases would fit too few. A site is
    the longest phrase that the graph knows.

    Args:
        kg: The graph.
        text: Free text; what follows 8,000 characters is not read.
    """
    reader = _Reader(kg)
    found: dict[str, dict[str, None]] = {label: {} for label in LABELS}
    for sentence in re.split(_SENTENCES, text[:MAX_TEXT].replace("\u2019", "'")):
        for part in re.split(_PARTS, polarity(sentence)[0]):
            for phrase, label in reader.phrases(part):
                found[label].setdefault(phrase.lower())
    signs, sites = (tuple(found[label])[:MAX_SIGNS] for label in LABELS)
    return Told(signs, sites)


class _Reader:
    """Reads parts of one text; what the graph knows of a word is asked once."""

    def __init__(self, kg: KnowledgeGraph) -> None:
        self._kg = kg
        self._places = vocabulary().sites | vocabulary().wholes.keys()
        self._labels: dict[str, frozenset[str]] = {}

    def phrases(self, text: str) -> list[tuple[str, str]]:
        """The phrases of a part of the text with their labels, in its order."""
        words = [s for s in spans(text) if not noise(s[0])]
        taken: set[int] = set()
        found = []
        runs = [(i, j) for i in range(len(words)) for j in range(i + 1, min(i + _LONGEST, len(words)) + 1)]
        for i, j in sorted(runs, key=lambda run: (run[0] - run[1], run[0])):
            phrase = text[words[i][1] : words[j - 1][2]]
            run = [(word, text[a:b].lower()) for word, a, b in words[i:j]]
            if taken.isdisjoint(range(i, j)) and (label := self._label(run, phrase)):
                taken.update(range(i, j))
                found.append((i, phrase, label))
        return [(phrase, label) for _, phrase, label in sorted(found)]

    def _label(self, run: list[tuple[str, str]], phrase: str) -> str:
        """What the graph knows a phrase as, or an empty string."""
        known = vocabulary()
        telling = [word for word, _ in run if word not in known.finding_weak]
        specific = [w for w in telling if w in self._places or w not in known.finding_general]
        label = "Site" if not self._places.isdisjoint(telling) else "Sign"
        if label == "Sign" and len(telling) != (1 if specific else 2):
            return ""
        if not all(label in self._known_as(*word) for word in run if word[0] in telling):
            return ""
        return label if link_finding(self._kg, phrase, label) else ""

    def _known_as(self, word: str, raw: str) -> frozenset[str]:
        """The labels under which some wording has a word; misspelt only when none has it as it is."""
        if word not in self._labels:
            spelt, misspelt = set(), set()
            says_nothing = not {raw, word}.isdisjoint(vocabulary().sentence) or len(raw) < 3 or word.isdigit()
            for label in () if says_nothing else LABELS:
                group = meant(word, label)
                rows = self._kg.near_wordings([sorted(group)], label)
                if any(not group.isdisjoint(normalise(row["words"]).split()) for row in rows):
                    spelt.add(label)
                elif rows and len(word) >= _LONG:
                    misspelt.add(label)
            self._labels[word] = frozenset(spelt or misspelt)
        return self._labels[word]
