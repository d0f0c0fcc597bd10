"""What a tool call means by a disease's name, read with the names that the conversation has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rapidfuzz import fuzz

from ..graph_schema.folding import normalise
from .state import State

ALIKE = 0.7
"""From this ratio of common letters on, a name that nobody knows is taken for a misspelt one."""


class Heard(NamedTuple):
    """Names of diseases that stand in a conversation.

    Attributes:
        named: All: linked in the words, shortlisted, subjects of fetched facts.
        mentions: Those in the latest words of the user.
        text: These words.
    """

    named: Sequence[str]
    mentions: Sequence[str] = ()
    text: str = ""


def completed(name: str, named: Sequence[str], known: Callable[[str], bool]) -> str:
    """Reads a disease name as the one that the conversation has and that it must mean.

    Small generalists drop or add a word of a name, or misspell it, while they copy it into a call. A name
    is read as another one only where it is a piece of exactly one that the conversation has, or is none that
    is known and has that one's words and more, or is like it letter by letter.

    Args:
        name: The name in the call.
        named: Names in the conversation.
        known: Whether the graph knows a name.

    Returns:
        One of `named`, or `name` as it is.
    """
    said = normalise(name)
    words = {other: set(normalise(other).split()) for other in dict.fromkeys(named)}
    mine = set(said.split())
    if not mine or any(normalise(other) == said for other in words):
        return name
    whole = [other for other, theirs in words.items() if mine < theirs]
    if whole:
        return whole[0] if len(whole) == 1 else name
    if known(name):
        return name
    parts = sorted(
        (o for o, theirs in words.items() if theirs and theirs < mine), key=lambda o: -len(words[o])
    )
    if parts:
        return parts[0]
    near = max(words, key=lambda other: _ratio(said, other), default=name)
    return near if near != name and _ratio(said, near) >= ALIKE else name


def _ratio(said: str, other: str) -> float:
    return fuzz.ratio(said, normalise(other)) / 100


def heard_of(state: State) -> Heard:
    """What the conversation has by way of disease names, the latest turn's first."""
    work = state["work"]
    facts = (row["subject"] for row in reversed(state.get("evidence", [])))
    mentions = work.get("mentions", [])
    named = list(dict.fromkeys([*mentions, *work.get("topics", []), *facts]))
    return Heard(named, mentions, work.get("text", ""))


def completed_args(args: dict[str, Any], heard: Heard, known: Callable[[str], bool]) -> dict[str, Any]:
    """A call's arguments with every disease completed, each once.

    A single name that nobody knows and that the user did not write either is a garbled copy: it is read as
    the disease in the user's words that the call does not have, if there is one and no more.
    """
    diseases = args.get("diseases")
    if not isinstance(diseases, list):
        return args
    read = [completed(str(name), heard.named, known) for name in diseases]
    folded, text = {normalise(name) for name in read}, f" {normalise(heard.text)} "
    left = [name for name in heard.mentions if normalise(name) not in folded]
    if len(left) == 1:  # only then is the graph asked
        strange = [name for name in read if f" {normalise(name)} " not in text and not known(name)]
        if len(strange) == 1:
            read = [left[0] if name == strange[0] else name for name in read]
    return {**args, "diseases": list(dict.fromkeys(read))}
