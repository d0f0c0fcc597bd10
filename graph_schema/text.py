"""How names are compared: one normal form, and a similarity that forgives misspellings.

Both stores index the normal form and are rescored with the same function, so they answer alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_IRREGULAR = {
    "nevi": "nevus",
    "naevi": "nevus",
    "bullae": "bulla",
    "gray": "grey",
    "feet": "foot",
    "metastases": "metastasis",
}
_ENDINGS = (
    ("oses", "osis"), ("iases", "iasis"), ("itides", "itis"), ("omata", "oma"), ("igines", "igo"), ("ae",
    "a"),
    ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("ies", "y"), ("sses", "ss"),
)  # fmt: skip
_BRITISH = (
    ("ae", "e"),
    ("oe", "e"),
    ("our", "or"),
    ("sulph", "sulf"),
    ("isation", "ization"),
    ("rrhoe", "rrhe"),
)
_NOISE = frozenset("a an the of on in my your his her its is are was and or for with to by from at s".split())
_GENERIC = frozenset(
    "skin disease disorder condition lesion spot patch rash cancer syndrome common problem".split()
)


def fold(word: str, *, singular: bool = True) -> str:
    """Folds one word: case, accents, possessive, plural, British spelling; applied to both sides alike."""
    word = unicodedata.normalize("NFKD", word.casefold().replace("\u2019", "'"))
    word = "".join(c for c in word if not unicodedata.combining(c))
    word = re.sub(r"'s?\b", "", word)
    if singular:
        word = _singular(word)
    for british, american in _BRITISH:
        word = word.replace(british, american)
    return word


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, one in _ENDINGS:
        if len(word) > len(ending) + 1 and word.endswith(ending):
            return word[: -len(ending)] + one
    plural = len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


def spans(text: str) -> list[tuple[str, int, int]]:
    """Returns the folded words of a text with their spans; hyphens, slashes and punctuation divide."""
    return [(w, m.start(), m.end()) for m in _WORD.finditer(text) if (w := fold(m.group()))]


def normalise(text: str) -> str:
    """Returns the normal form of a name: folded words joined by single spaces."""
    return " ".join(word for word, _, _ in spans(text))


def slug(text: str) -> str:
    """Returns a text as part of an id: lower case, everything else than letters and digits one hyphen."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")


def readings(text: str) -> list[list[str]]:
    """Returns the folded words, and the words without plural folding where that differs.

    The ending of a misspelt word may only look like a plural: "psoriasys".
    """
    plain = [fold(m.group(), singular=False) for m in _WORD.finditer(text)]
    folded = [fold(m.group()) for m in _WORD.finditer(text)]
    return [folded] if plain == folded else [folded, plain]


def allowed_edits(word: str) -> int:
    """How many edits a word of this length may be away: none to 3 letters, one to 7, two from 8 on."""
    return 0 if len(word) <= 3 or any(c.isdigit() for c in word) else 1 if len(word) <= 7 else 2


def distance(a: str, b: str, limit: int) -> int:
    """Optimal string alignment distance (insert, delete, replace, swap), `limit + 1` when larger."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        row = [i]
        for j, cb in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (ca != cb))
            if i > 1 and j > 1 and ca == b[j - 2] and a[i - 2] == cb:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return min(last[-1], limit + 1)


def similarity(query: Sequence[str], term: Sequence[str]) -> float:
    """Scores folded query words against folded term words in 0..1.

    A Dice coefficient weighted by word length. Every telling word of the query must be found in the term:
    "uveal melanoma" is not melanoma, a modifier that the term lacks means another disease.
    """
    left = list(term)
    matched = total = 0.0
    for word in query:
        weight = _weight(word)
        total += weight
        best, best_score = "", 0.0
        for candidate in left:
            limit = min(allowed_edits(word), allowed_edits(candidate))
            edits = distance(word, candidate, limit)
            if edits <= limit and (score := 1 - edits / max(len(word), len(candidate))) > best_score:
                best, best_score = candidate, score
        if best:
            left.remove(best)
            matched += best_score * (weight + _weight(best))
        elif weight and word not in _GENERIC:
            return 0.0
    total += sum(_weight(word) for word in term)
    return round(matched / total, 4) if total else 0.0


def _weight(word: str) -> float:
    return 0.0 if word in _NOISE else len(word) * (0.2 if word in _GENERIC else 1.0)


def noise(word: str) -> bool:
    """Whether a folded word says nothing in a name: articles, prepositions."""
    return word in _NOISE


def telling(words: Sequence[str]) -> bool:
    """Whether any word says more than "a skin lesion"."""
    return any(_weight(word) >= 3 for word in words)


def deletions(word: str, edits: int) -> set[str]:
    """Returns the word and everything that up to `edits` deletions make of it."""
    found = {word}
    frontier = {word}
    for _ in range(edits):
        frontier = {w[:i] + w[i + 1 :] for w in frontier for i in range(len(w))}
        found |= frontier
    return found


def rank_names(text: str, rows: Iterable[Mapping[str, Any]], k: int) -> list[dict[str, Any]]:
    """Scores names against a text and returns the best of each node, best first."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    variants = [words for words in readings(text) if telling(words)]
    for row in rows:
        score = max((similarity(words, row["term"].split()) for words in variants), default=0.0)
        node = (row["label"], row["id"])
        if score > 0 and (node not in best or score > best[node]["score"]):
            best[node] = {**{key: value for key, value in row.items() if key != "term"}, "score": score}
    return sorted(best.values(), key=lambda r: (-r["score"], r["name"], r["id"]))[:k]
