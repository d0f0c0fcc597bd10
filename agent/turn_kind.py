"""What kind of turn a message is, and what it asks: by rule, before any model speaks.

The state machine uses it to know that a medical statement is about to be made (so that knowledge is a must-
call) and that greetings, thanks and foreign topics need none. The patterns are `rules/turns.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from ..graph_schema.multihop import TREATMENT_PAIRS
from ..graph_schema.predicates import QUERIES
from .words import normalise, rules

TurnKind = Literal["medical", "greeting", "thanks", "small_talk", "out_of_field", "unclear"]


@cache
def _patterns(name: str) -> tuple[re.Pattern[str], ...]:
    table = rules("turns")
    said = table[name] if name in table else table["intents"][name]
    return tuple(re.compile(p) for p in ([said] if isinstance(said, str) else said))


def _any(name: str, text: str) -> bool:
    return any(p.search(text) for p in _patterns(name))


def _plain(text: str) -> str:
    """Lower case, contractions opened, only words, numbers and question marks."""
    return " ".join(re.findall(r"[^\W_]+|\?", normalise(text[:4000])))


def _without(text: str, *names: str) -> str:
    for name in names:
        for pattern in _patterns(name):
            text = pattern.sub(" ", text)
    return " ".join(re.findall(r"[^\W_]+", text))


def intents(text: str, diseases: int = 1) -> tuple[str, ...]:
    """What a message asks, in a fixed order, or nothing.

    Args:
        text: What the user wrote.
        diseases: How many diseases it names; of two it may ask which treatments they share, or which of the
            one harm the other.

    Returns:
        Keys of `QUERIES`, "identify", or one of `TREATMENT_PAIRS` alone.
    """
    plain = _plain(text)
    if diseases == 2:
        pair = next((name for name in reversed(TREATMENT_PAIRS) if _any(name, plain)), "")
        if pair and _any("treatment", plain):
            return (pair,)
    found = [name for name in ("identify", *QUERIES) if _any(name, plain)]
    if (
        "describe" in found
        and len(found) > 1
        and not re.search(r"\b(?:tell me|explain|describe|define)\b", plain)
    ):
        # "what is the treatment of ..." asks for the treatment
        found.remove("describe")
    return tuple(found)


def asks_which_condition(text: str, *, thread_has_subject: bool = False) -> bool:
    """Whether a message without a disease's name may be about one to be found from what it tells.

    It asks what it is (and perhaps more), what causes it or nothing at all; with something to talk about
    already, only a question for a condition counts: "does it itch?" is about that.
    """
    if thread_has_subject:
        return _any("which_condition", _plain(text))
    asked = intents(text)
    return "identify" in asked or set(asked) <= {"describe", "signs", "causes", "differential"}


def asks_to_measure(text: str) -> bool:
    """Whether a message asks for asymmetry, border, colours or diameter of the lesion on a picture."""
    return _any("measure", _plain(text))


def turn_kind(
    text: str, *, has_image: bool = False, thread_has_subject: bool = False, mentions: Sequence[str] = ()
) -> TurnKind:
    """The kind of one message.

    Args:
        text: What the user wrote.
        has_image: A picture came with it.
        thread_has_subject: Earlier turns have a finding or a disease that "it" can mean.
        mentions: Diseases found in the text by the graph's linking.
    """
    plain = _plain(text)
    bare = plain.replace("?", " ").strip()
    if has_image:
        return "medical"
    if not re.search(r"[^\W\d_]", bare):
        return "unclear"
    kind = _polite(plain, asks="?" in plain or bool(intents(text)))
    if kind is not None and not (mentions and "?" in plain):
        return kind
    if mentions or _any("skin", bare):
        foreign = _any("out_of_field", bare) and not mentions and not intents(text)
        return "out_of_field" if foreign else "medical"
    if _any("small_talk", bare):
        return "small_talk"
    if _any("out_of_field", bare):
        return "out_of_field"
    asks = intents(text)
    if thread_has_subject and (asks or _any("follow_up", bare)):
        return "medical"
    if len(bare.split()) < 3 or asks or not re.search(r"[aeiouy]", bare):
        return "unclear"
    question = "?" in plain or re.match(
        r"(?:who|what|when|where|why|how|which|can|could|do|does|is|are|tell|write|give|make|explain|find|show|help)\b",
        bare,
    )
    return "out_of_field" if question else "unclear"


def _polite(plain: str, *, asks: bool) -> TurnKind | None:
    """Greeting, thanks or goodbye, when nothing else is in the message."""
    bare = plain.replace("?", " ").strip()
    if _any("bye", bare):
        return "small_talk"
    if not _without(bare, "greeting"):
        return "greeting"
    rest = _without(bare, "greeting", "thanks")
    if _any("thanks_core", bare) and (
        len(rest.split()) <= 1 or (bare.startswith(("thank", "thx", "cheers")) and not asks)
    ):
        return "thanks"
    return None
