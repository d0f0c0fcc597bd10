"""The urgency rules, table by table; the messages are in tests/unit/data/triage_*.tsv."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.answer import Finding
from clarify.agent.red_flags import LEVELS, triage
from clarify.agent.words import Speller

DATA = Path(__file__).parent / "data"
MESSAGES = [
    tuple(line.split("\t"))
    for path in sorted(DATA.glob("triage_*.tsv"))
    for line in path.read_text(encoding="utf-8").splitlines()
]


def test_the_table_is_long_and_has_every_level() -> None:
    assert len(MESSAGES) >= 150
    assert {level for level, _ in MESSAGES} == set(LEVELS)


@pytest.mark.parametrize(("level", "message"), MESSAGES)
def test_level(level: str, message: str) -> None:
    assert triage(message).level == level


@pytest.mark.parametrize(("level", "message"), [m for m in MESSAGES if m[0] == "emergency"])
def test_capitals_change_nothing(level: str, message: str) -> None:
    assert triage(message.upper()).level == level


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ("no fever but my throat is closing", "anaphylaxis"),
        ("purple spots that do not fade under a glass and fever", "meningococcal"),
        ("my skin comes off in sheets", "stevens-johnson"),
        ("the pain is out of proportion and the redness spreads within hours", "necrotising-infection"),
        ("our newborn has blisters", "newborn-skin"),
        ("shingles next to my eye", "zoster-eye"),
        ("cellulitis with fever", "cellulitis"),
        ("my whole skin is red and scaly", "erythroderma"),
        ("my upper lip is swollen", "angioedema"),
        ("my mole changed and bleeds", "pigmented-suspicious"),
        ("a sore that does not heal", "non-healing"),
        ("a lump that grows fast", "growing-lump"),
    ],
)
def test_rule_and_words(message: str, rule: str) -> None:
    hits = triage(message).rules
    assert rule in [h.id for h in hits]
    assert all(h.matched for h in hits)


def test_findings_are_a_floor() -> None:
    melanoma = Finding(
        tool="specialist", image="img1", label="nv", confidence=0.6, prediction_set=["nv", "mel"]
    )
    assert triage("hello", findings=[melanoma]).as_json() == {
        "level": "soon",
        "rules": [{"id": "pigmented-suspicious", "matched": "img1: mel"}],
    }
    assert triage("my throat is closing", findings=[melanoma]).level == "emergency"
    out = melanoma.model_copy(update={"in_scope": False})
    assert triage("hello", findings=[out]).level == "routine"
    bcc = Finding(tool="specialist", image="img1", label="bcc", confidence=0.9, prediction_set=["bcc"])
    assert triage("", findings=[bcc]).level == "soon"
    calm = Finding(tool="specialist", image="img1", label="nv", confidence=0.9, prediction_set=["nv"])
    assert triage("", findings=[calm]).level == "routine"
    assert triage("", findings=[calm], patient={"changed": True}).level == "soon"


def test_the_age_in_the_form_counts() -> None:
    assert triage("fever since this morning", patient={"age": 0.05}).level == "emergency"
    assert triage("fever since this morning", patient={"age": 40.0}).level == "routine"


@given(st.text(max_size=400))
def test_any_text_is_answered(text: str) -> None:
    assert triage(text).level in LEVELS


@given(
    st.sampled_from([m for level, m in MESSAGES if level == "emergency"]), st.text("ab .,!\n", max_size=30)
)
def test_more_words_behind_never_lower_an_emergency(message: str, more: str) -> None:
    assert triage(f"{message}. {more}").level == "emergency"


def test_spelling_is_bounded_and_real_words_stay() -> None:
    speller = Speller(["swelling", "fever", "throat"], real=["fewer"])
    assert [speller.fix(w) for w in ("sweling", "fevr", "fewer", "threat", "never", "thraot")] == [
        "swelling", "fever", "fewer", "throat", "never", "throat",
    ]  # fmt: skip
