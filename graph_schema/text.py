"""How names are compared: a similarity that forgives misspellings and knows words that mean the same.

Both stores index the normal form (`folding`) and are rescored with the same function, so they answer alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from rapidfuzz.distance import OSA

from .folding import readings
from .vocabulary import vocabulary

_NOISE = frozenset("a an the of on in my your his her its is are was and or for with to by from at s".split())
_MOST_MISSING = 0.25
"""How much of a name may be left out: "squamous carcinoma" is enough, "strawberry" (mark) is not."""
_SAME = 0.95
"""What another word for the same thing counts."""


@lru_cache(maxsize=65536)
def allowed_edits(word: str) -> int:
    """How many edits a word of this length may be away: none to 3 letters, one to 7, two from 8 on."""
    return 0 if len(word) <= 3 or any(c.isdigit() for c in word) else 1 if len(word) <= 7 else 2


def distance(a: str, b: str, limit: int) -> int:
    """Optimal string alignment distance (insert, delete, replace, swap), `limit + 1` when larger."""
    return OSA.distance(a, b, score_cutoff=limit)


def same(a: str, b: str) -> bool:
    """Whether two folded words are one word, or two words for one thing."""
    return a == b or b in vocabulary().same.get(a, ())


def alike(word: str) -> set[str]:
    """A folded word and the others for the same thing."""
    return {word, *vocabulary().same.get(word, ())}


def similarity(query: Sequence[str], term: Sequence[str]) -> float:
    """Scores folded query words against folded term words in 0..1.

    A Dice coefficient weighted by word length. Every telling word of the query must be found in the term:
    "uveal melanoma" is not melanoma, a modifier that the term lacks means another disease. What the term
    has more counts in full ("age" is no age spot) unless it is empty ("Bowen" is Bowen's disease).
    """
    left = list(term)
    matched = total = 0.0
    for number, word in enumerate(query):
        if any(same(word, earlier) for earlier in query[:number]):
            continue  # "dermatitis/eczema" says one thing twice
        weight = _weight(word)
        total += weight
        best, best_score = nearest(word, left)
        if best:
            left.remove(best)
            matched += best_score * (weight + _weight(best))
        elif _implied(word, term) or _somewhere(word, term):
            total -= 0.8 * weight
        elif weight and word not in vocabulary().weak:
            return 0.0
    whole = sum(_weight(word) for word in term)
    missing = sum(len(word) for word in left if word not in _NOISE and word not in vocabulary().empty)
    whole += missing - sum(map(_weight, left))
    if missing > _MOST_MISSING * whole:
        return 0.0
    total += whole
    return round(matched / total, 4) if total else 0.0


def nearest(word: str, words: Iterable[str]) -> tuple[str, float]:
    """Returns the word that is most likely meant and how like it is, 0..1; an empty string when none is."""
    best, best_score = "", 0.0
    for candidate in words:
        limit = min(allowed_edits(word), allowed_edits(candidate))
        edits = distance(word, candidate, limit)
        near = edits <= limit and not _opposite(word, candidate)
        score = 1 - edits / max(len(word), len(candidate)) if near else 0.0
        if score < _SAME and same(word, candidate):
            score = _SAME
        if score > best_score:
            best, best_score = candidate, score
    return best, best_score


def _opposite(a: str, b: str) -> bool:
    pairs = vocabulary().opposites
    return any(a.startswith(x) and b.startswith(y) or a.startswith(y) and b.startswith(x) for x, y in pairs)


def _implied(word: str, term: Sequence[str]) -> bool:
    return any(other in vocabulary().implied.get(word, ()) for other in term)


def _somewhere(word: str, term: Sequence[str]) -> bool:
    """Whether a word says where, of a name that does not: "hand eczema", not "body lice" of head lice."""
    sites = vocabulary().sites
    return word in sites and sites.isdisjoint(term)


def little(word: str) -> bool:
    """Whether a name may have a folded word more or less."""
    known = vocabulary()
    return word in _NOISE or word in known.weak or word in known.sites or word in known.implied


def _weight(word: str) -> float:
    return 0.0 if word in _NOISE else len(word) * (0.2 if word in vocabulary().weak else 1.0)


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
