"""Which words of a source may become names and objects of facts."""

from __future__ import annotations

import re

from ..folding import normalise

_ADJECTIVE = re.compile(r"\w+(ic|al|ous|ive|ary)", re.IGNORECASE)
_UNSAID = re.compile(r"[\[\]|\n\r\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MAX_NAME = 200
_GENERAL = frozenset(
    """skin hair nail scalp eyelid sweat gland pigmentation integumentary subcutaneous tissue system rash
    eruption disease disorder condition lesion spot patch problem abnormality of the and""".split()
)
"""Folded words that by themselves name a class of diseases, or what anybody calls a change of the skin."""


def bare_adjective(name: str) -> bool:
    """Whether a name is one describing word ("Allergic"): in a sentence it would be taken for a disease."""
    return bool(_ADJECTIVE.fullmatch(name.strip()))


def general(name: str) -> bool:
    """Whether a name is made of general words ("rash", "hair disease").

    In a question such words say what the person sees, and must not be taken for the name of one disease.
    """
    return set(normalise(name).split()) <= _GENERAL


def unsayable(text: str, longest: int = MAX_NAME) -> str:
    """Returns why a text cannot be a name or stand in a cited statement, or an empty string.

    Brackets mark citations and bars divide columns where facts are read; control characters steer terminals.
    """
    if not text.strip():
        return "empty text"
    if len(text) > longest:
        return f"longer than {longest} characters"
    found = _UNSAID.search(text)
    return f"the character {found.group()!r} cannot be part of a name or fact" if found else ""
