"""The one normal form that names are compared in; both stores index it."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

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


@lru_cache(maxsize=65536)
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
