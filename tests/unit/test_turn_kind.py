"""Turn kinds and intents by table (tests/unit/data)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.turn_kind import intents, turn_kind
from clarify.graph_schema.multihop import TREATMENT_PAIRS
from clarify.graph_schema.predicates import QUERIES
from clarify.training.generalist.wording import load_wordings

DATA = Path(__file__).parent / "data"
NAMES = (
    "melanoma",
    "psoriasis",
    "nevus",
    "dermatofibroma",
    "rosacea",
    "vitiligo",
    "ringworm",
    "eczema",
    "basal cell",
)


def _rows(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def test_the_table_is_long() -> None:
    assert len(_rows("turns.tsv")) >= 80


@pytest.mark.parametrize(("kind", "flags", "text"), _rows("turns.tsv"))
def test_turn_kind(kind: str, flags: str, text: str) -> None:
    """Flags: i has a picture, s the thread has a subject."""
    mentions = [n for n in NAMES if n in text.lower()]
    assert turn_kind(text, has_image="i" in flags, thread_has_subject="s" in flags, mentions=mentions) == kind


@pytest.mark.parametrize(("wanted", "text"), _rows("intents.tsv"))
def test_intents(wanted: str, text: str) -> None:
    assert set(intents(text)) == set(wanted.replace("-", "").split())


@given(st.text(max_size=200), st.booleans(), st.booleans())
def test_any_text_has_a_kind(text: str, image: bool, subject: bool) -> None:
    kind = turn_kind(text, has_image=image, thread_has_subject=subject)
    assert (
        kind == "medical"
        if image
        else kind in ("medical", "greeting", "thanks", "small_talk", "out_of_field", "unclear")
    )
    assert set(intents(text)) <= {*QUERIES, "identify"}


def test_questions_about_the_treatments_of_two_diseases_are_recognised() -> None:
    asked = load_wordings("test")["pair"]
    for name, wordings in asked.items():
        heard = [set(intents(w.format(d1="psoriasis", d2="rosacea"), 2)) for w in wordings]
        if name == "differential":
            assert not any(h & set(TREATMENT_PAIRS) for h in heard)
        else:
            assert sum(h == {name} for h in heard) >= len(wordings) - 1
    shared = "Which treatments do psoriasis and rosacea share?"
    assert intents(shared, 1) == ("treatment",)
