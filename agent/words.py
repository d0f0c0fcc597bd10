"""Words: one tokeniser, one light stemmer and one bounded spelling corrector for every rule module.

The stemmer only undoes inflection (plural, -ing, -ed, -ly): a heavier one would make "painful" and
"painless" the same word, and `grounding` lives from telling such words apart.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from ..graph_schema.text import distance

_CONTRACTIONS = (
    (re.compile(r"\b(?:can't|cant|cannot)\b"), "can not"),
    (re.compile(r"\bwon'?t\b(?=\s+\w)"), "will not"),
    (re.compile(r"\b(do|does|did|is|are|was|were|has|have|had|should|would|could|must)n'?t\b"), r"\1 not"),
    (re.compile(r"\b(i)'?m\b"), r"\1 am"),
    (re.compile(r"\b(he|she|it|that|there|what|who|here)'s\b"), r"\1 is"),
    (re.compile(r"\b(\w+)'(ve|re|ll|d)\b"), r"\1 \2"),
    (re.compile(r"'s\b|(?<=s)'(?=\s|$)"), ""),
)
_SYMBOLS = (
    (re.compile(r"(?<=\d)\s*(?:-|to)\s*(?=\d)"), " to "),
    (re.compile(r"(?<=\d),(?=\d{3}\b)"), ""),
    (re.compile(r"(?<=\d),(?=\d)"), "."),
    (re.compile(r"\bper ?cent\b"), "%"),
    (re.compile("≥|>="), " at least "),
    (re.compile("≤|<="), " at most "),
    (re.compile(">"), " more than "),
    (re.compile("<"), " less than "),
)
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[%°]")
_DERIVED = frozenset(
    " s es ed d ing ion ions ation ations ative ive al ally ity ic ical y e er ers or ous ment ments ant "
    "ance ary ar ize ized tion tic ability able".split(" ")
)


_SHORT = re.compile("[^aeiou][aeiou][^aeiouwxy]")  # "mak" of "making": the word had an e


class Token(NamedTuple):
    """One word of a text.

    Attributes:
        text: Lower-case word as it stands, British or American.
        stem: What two inflections of the word share.
        start: Offset of the word in the normalised text.
        raw: The word with its capitals.
    """

    text: str
    stem: str
    start: int
    raw: str


def load_rules(name: str) -> dict[str, Any]:
    """Reads one of the packaged tables `agent/rules/<name>.toml`."""
    return tomllib.loads((files(__package__) / "rules" / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def rules(name: str) -> Mapping[str, Any]:
    """The same, read once a process."""
    return load_rules(name)


@cache
def _table(name: str) -> dict[str, str]:
    return dict(pair.split(">") for pair in rules("words")[name].split())


def normalise(text: str, *, lower: bool = True) -> str:
    """Unicode to its plain form, contractions and number ranges opened, symbols as words."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub("[‐‑‒–—−]", "-", text)  # noqa: RUF001
    text = re.sub("[’‘`´]", "'", text)  # noqa: RUF001
    if lower:
        text = text.lower()
    for pattern, replacement in (*_CONTRACTIONS, *_SYMBOLS):
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """The part of a lower-case word that its inflections share; British and American spellings meet."""
    irregular = _table("irregular").get(word)
    if irregular is not None:
        return irregular
    if len(word) >= 6:
        word = word.replace("our", "or").replace("ae", "e").replace("oe", "e")
        word = re.sub(r"([iy])s(e|ed|es|ing|ation|ations)$", r"\1z\2", word)
    if len(word) <= 3:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in ("ing", "ed", "ly"):
        root = word[: -len(suffix)]
        if word.endswith(suffix) and len(root) >= 4 - (suffix != "ly") and re.search("[aeiouy]", root):
            doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "slz"
            word = root[:-1] if doubled else f"{root}e" if _SHORT.fullmatch(root) and suffix != "ly" else root
            break
    if word.endswith("i") and len(word) > 4:
        word = word[:-1] + "y"
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def tokenise(text: str) -> list[Token]:
    """Words, numbers and percent signs of any text, in order; number words become digits."""
    cased = normalise(text, lower=False)
    # the contractions are written for lower case; a text in capitals is opened on its lower-case copy
    plain = normalise(text)
    raws = cased if len(cased) == len(plain) else plain
    numbers = _table("numbers")
    out = []
    for match in _TOKEN.finditer(plain):
        word = numbers.get(match.group(), match.group())
        raw = raws[match.start() : match.end()]
        out.append(Token(word, word if word[0].isdigit() else stem(word), match.start(), raw))
    return out


@lru_cache(maxsize=65536)
def same_word(a: str, b: str) -> bool:
    """Whether two stems are one word up to derivation: "ulcer", "ulceration"; not "painful", "painless"."""
    if a == b:
        return True
    if a[0].isdigit() or b[0].isdigit() or min(len(a), len(b)) < 5:
        return False
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return n >= 5 and a[n:] in _DERIVED and b[n:] in _DERIVED


def allowed_edits(word: str) -> int:
    """Misspellings forgiven in a known word: none below five letters, one up to eight, then two."""
    return 0 if len(word) < 5 else 1 if len(word) < 9 else 2


class Speller:
    """Finds the known word that a misspelt one means; the first letter must be right.

    Args:
        known: Words to correct to.
        real: Words that exist and are never "corrected" ("fewer" is not "fever").
    """

    def __init__(self, known: Iterable[str], real: Iterable[str] = ()) -> None:
        self._known = frozenset(known)
        self._real = frozenset(real)
        self._by_start: dict[str, list[str]] = {}
        for word in sorted(self._known):
            if allowed_edits(word):
                self._by_start.setdefault(word[0], []).append(word)
        self._seen: dict[str, str] = {}

    def fix(self, word: str) -> str:
        """Returns the known word meant by `word`, or `word` itself."""
        if word in self._known or word in self._real or len(word) < 4 or not word.isalpha():
            return word
        if word not in self._seen:
            if len(self._seen) > 20_000:  # a server must not grow with what strangers type
                self._seen.clear()
            found = [(distance(word, k, allowed_edits(k)), k) for k in self._by_start.get(word[0], ())]
            best = min((f for f in found if f[0] <= allowed_edits(f[1])), default=(0, word))
            self._seen[word] = best[1]
        return self._seen[word]
