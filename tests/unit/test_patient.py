"""What the words say of the patient."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.patient import patient_context


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "I'm 45 and have a mole on my left cheek for two years, it itches but does not bleed",
            {"age": 45.0, "site": "left cheek", "duration": "two years", "itches": True, "bleeds": False},
        ),
        ("Female, 12 years old, ulcers on both lower legs for over 6 months, painless",
         {"age": 12.0, "sex": "female", "site": "lower legs", "duration": "6 months", "hurts": False}),
        ("my 3 week old son has a rash on the belly", {"age": 0.06, "sex": "male", "site": "belly"}),
        ("34F rash on the back of the hand since yesterday",
         {"age": 34.0, "sex": "female", "site": "back of hand", "duration": "since yesterday"}),
        ("The spot has grown and hurts.", {"changed": True, "hurts": True}),
        ("No pain, no itching, hasn't changed in 10 years; 70 y/o man, scalp",
         {"age": 70.0, "sex": "male", "site": "scalp", "changed": False, "itches": False, "hurts": False}),
        ("a woman in her 60s", {"age": 60.0, "sex": "female"}),
        ("What is melanoma?", {}),
        ("Does melanoma itch?", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_words(text: str, wanted: dict[str, Any]) -> None:
    assert patient_context(text) == wanted


def test_a_form_wins_for_age_and_sex_and_the_words_for_what_is_newer() -> None:
    before = {"age": 46, "sex": "", "site": "nose", "bleeds": False, "other": "kept"}
    assert patient_context("I am 45 years old, now it bleeds and itches", before) == {
        "age": 46, "site": "nose", "bleeds": True, "itches": True, "other": "kept",
    }  # fmt: skip


@given(st.text(max_size=300))
def test_any_text_gives_plain_values(text: str) -> None:
    for key, value in patient_context(text).items():
        assert key in ("age", "sex", "site", "duration", "changed", "bleeds", "itches", "hurts")
        assert isinstance(value, str | float | bool)
