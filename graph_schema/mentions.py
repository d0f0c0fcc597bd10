"""Diseases named in running text: exact names first, then misspellings, never a part of another name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .folding import normalise, readings, spans
from .linking import MAX_TEXT, as_link, exact, how_near
from .protocol import KnowledgeGraph, Link
from .text import allowed_edits, distance, little, nearest, noise, rank_names, telling
from .vocabulary import vocabulary

MENTION_FLOOR = 0.85
"""Within a sentence most words are no names at all, so a misspelling must be closer than in a name alone."""
_LONGEST_NAME = 8
_LONGEST_MISSPELT = 4


def find_mentions(kg: KnowledgeGraph, text: str) -> list[Link]:
    """Finds the diseases that a sentence names.

    The longest name wins where names overlap. Words outside every exact name are then tried as misspellings.
    A name that a word beside it makes another disease ("uveal melanoma", "eczema herpeticum") is no mention.
    Two-letter abbreviations count only in capitals ("AK", not "ak").

    Args:
        kg: The graph.
        text: Free text; what follows 8,000 characters is not read.

    Returns:
        Links in the order of the text; `matched` is the part of the text.
    """
    reader = _Reader(text[:MAX_TEXT])
    grams = reader.grams(_LONGEST_NAME)
    ids = {run: reader.term_ids(*run) for run in grams}
    names = exact(kg, sorted({id_ for both in ids.values() for id_ in both}), "Disease")
    for i, j in grams:
        links = next((names[id_] for id_ in ids[i, j] if id_ in names), [])
        if links and reader.free(i, j) and not reader.by_chance(i, j, links):
            reader.take(i, j, [] if reader.is_another(i, j) else links)
        elif reader.free(i, j) and " ".join(reader.words[i:j]) in vocabulary().others:
            reader.take(i, j, [])
    near = [row for row in kg.near_names(reader.rest()) if row["label"] == "Disease"]
    likely = reader.near({word for row in near for word in row["term"].split()})
    for i, j in reader.grams(_LONGEST_MISSPELT) if near else []:
        part = reader.words[i:j]
        if not (reader.free(i, j) and likely.issuperset(range(i, j)) and telling(part)):
            continue
        if noise(part[0]) or noise(part[-1]):  # "the melanom" is the one word "melanom"
            continue
        best = rank_names(reader.raw(i, j), near, 3)
        if best and best[0]["score"] >= MENTION_FLOOR:
            links = [
                as_link(r, r["score"], how_near(reader.raw(i, j), r["matched"]))
                for r in best
                if r["score"] == best[0]["score"] and _spelt(part, r["matched"])
            ]
            if not links:
                continue
            reader.take(i, j, [] if reader.is_another(i, j) else links)
    return reader.mentions()


def _spelt(words: Sequence[str], name: str) -> bool:
    """Whether a telling word stands in a name, perhaps misspelt.

    In a sentence, words that only mean the same name nothing: "bumps on the wrist" are no "pimples" (acne).
    """
    theirs = normalise(name).split()
    return any(
        distance(word, other, allowed_edits(word)) <= allowed_edits(word)
        for word in words
        if telling([word])
        for other in theirs
    )


class _Reader:
    """A text, which of its words are spoken for, and what was found."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans = spans(text)
        self.words = [word for word, _, _ in self._spans]
        self._taken: set[int] = set()
        self._found: list[tuple[int, list[Link]]] = []

    def grams(self, longest: int) -> list[tuple[int, int]]:
        """Runs of words, longest first, then in the order of the text."""
        n = len(self.words)
        runs = [(i, j) for i in range(n) for j in range(i + 1, min(i + longest, n) + 1)]
        return sorted(runs, key=lambda run: (run[0] - run[1], run[0]))

    def term_ids(self, i: int, j: int) -> list[str]:
        """Ids of the Terms that a run of words may be: as it is, and two words written as one."""
        words = self.words[i:j]
        return ["TERM:" + "_".join(words), *(["TERM:" + "".join(words)] if j - i == 2 else [])]

    def raw(self, i: int, j: int) -> str:
        return self._text[self._spans[i][1] : self._spans[j - 1][2]]

    def free(self, i: int, j: int) -> bool:
        return self._taken.isdisjoint(range(i, j))

    def rest(self) -> str:
        return " ".join(self.raw(n, n + 1) for n in range(len(self.words)) if n not in self._taken)

    def near(self, known: Collection[str]) -> set[int]:
        """The words that are like one of the known words, or say little: a name has no others."""

        def fits(n: int) -> bool:
            said = {word for reading in readings(self.raw(n, n + 1)) for word in reading}
            return any(little(word) or nearest(word, known)[0] for word in said)

        return {n for n in range(len(self.words)) if n not in self._taken and fits(n)}

    def take(self, i: int, j: int, links: Sequence[Link]) -> None:
        self._found.append((i, [m.model_copy(update={"matched": self.raw(i, j)}) for m in links]))
        self._taken.update(range(i, j))

    def by_chance(self, i: int, j: int, links: Sequence[Link]) -> bool:
        raw = self.raw(i, j).rstrip("s")
        shouted = self._text.isupper() and len(self.words) > 1
        return len(raw) <= 2 and links[0].how == "abbreviation" and (not raw.isupper() or shouted)

    def is_another(self, i: int, j: int) -> bool:
        """Whether the words around a name make it another disease."""
        known, after = vocabulary(), self.words[j : j + 3]
        if after and self._joined(j) and after[0] in known.after:
            return True
        last = self.words[j - 1]
        if not last.endswith("oma") and last not in known.growth:
            return False
        start = i
        while start > 0 and self._joined(start) and (start == i or self._adds_little(start)):
            start -= 1
            if self.words[start] in known.before:
                return True
        organ = next((word for word in after[1:] if word != "the"), "") if after[:1] == ["of"] else ""
        return organ in known.organs | known.before

    def _adds_little(self, n: int) -> bool:
        return little(self.words[n])

    def _joined(self, j: int) -> bool:
        """Whether only a space or a hyphen stands before word `j`."""
        return self._text[self._spans[j - 1][2] : self._spans[j][1]] in (" ", "-")

    def mentions(self) -> list[Link]:
        """The links in the order of the text, each node once."""
        first: dict[str, Link] = {}
        for _, links in sorted(self._found, key=lambda f: f[0]):
            for m in links:
                first.setdefault(m.curie, m)
        return list(first.values())
