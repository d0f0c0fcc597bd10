"""Must-calls as a pure function of the turn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.must_calls import MAX_TRIES, Turn, must_calls, turn_of

LOOK, FETCH = "classify_lesion", "query_knowledge"
MEL = ("DOID:1909",)
KNOWN = frozenset({("treatment", "DOID:1909")})


@pytest.mark.parametrize(
    ("turn", "owed"),
    [
        (Turn(medical=False), ()),
        (Turn(medical=False, subjects=MEL), ()),
        (Turn(medical=True), ()),
        (Turn(medical=True, unseen=("img1",)), (LOOK, FETCH)),
        (Turn(medical=False, unseen=("img1",)), (LOOK,)),
        (Turn(medical=True, subjects=MEL), (FETCH,)),
        (Turn(medical=True, subjects=MEL, fetched=True), ()),
        (Turn(medical=True, subjects=MEL, tries=MAX_TRIES), ()),
        (Turn(medical=True, subjects=MEL, tries=MAX_TRIES - 1), (FETCH,)),
        (Turn(medical=True, subjects=MEL, intents=("treatment",), known=KNOWN), ()),
        (Turn(medical=True, subjects=MEL, intents=("treatment", "tests"), known=KNOWN), (FETCH,)),
        (Turn(medical=True, subjects=("DOID:8893",), intents=("treatment",), known=KNOWN), (FETCH,)),
        (Turn(medical=True, subjects=MEL, known=KNOWN), (FETCH,)),
        (Turn(medical=True, subjects=MEL, known=frozenset({("describe", "DOID:1909")})), ()),
        (Turn(medical=True, unseen=("img1",), refused=frozenset({LOOK})), (FETCH,)),
        (Turn(medical=True, unseen=("img1",), refused=frozenset({LOOK, FETCH})), ()),
    ],
)
def test_table(turn: Turn, owed: tuple[str, ...]) -> None:
    assert must_calls(turn) == owed


@given(
    st.builds(
        Turn,
        medical=st.booleans(),
        unseen=st.sampled_from([(), ("img1",), ("img1", "img2")]),
        intents=st.sampled_from([(), ("treatment",), ("tests", "signs")]),
        subjects=st.sampled_from([(), MEL]),
        known=st.sampled_from([frozenset(), KNOWN]),
        fetched=st.booleans(),
        tries=st.integers(0, 3),
        refused=st.sampled_from([frozenset(), frozenset({LOOK}), frozenset({FETCH})]),
    )
)
def test_laws(turn: Turn) -> None:
    owed = must_calls(turn)
    assert must_calls(turn) == owed
    assert (LOOK in owed) == (bool(turn.unseen) and LOOK not in turn.refused)
    assert not (FETCH in owed and (turn.fetched or not turn.medical or turn.tries >= MAX_TRIES))
    assert owed == tuple(sorted(owed)), "the picture comes first"


def state(**more: Any) -> Any:
    work = {
        "turn": 2,
        "kind": "medical",
        "attached": ["img1"],
        "subjects": ["DOID:1909"],
        "intents": ["tests"],
    }
    return {"work": {**work, **more.pop("work", {})}, **more}


def test_a_failed_look_is_a_look() -> None:
    failed = {"turn": 2, "name": LOOK, "args": {"image": "img1"}, "status": "error", "ms": 1.0}
    assert turn_of(state()).unseen == ("img1",)
    assert turn_of(state(tool_calls=[failed])).unseen == ()
    assert turn_of(state(tool_calls=[{**failed, "turn": 1}])).unseen == ("img1",)


def test_widening_counts_only_for_what_it_answers() -> None:
    widened = {"turn": 2, "query": "differential", "outcome": "rows", "widening": True}
    assert not turn_of(state(retrievals=[widened])).fetched
    assert turn_of(state(retrievals=[widened], work={"intents": ["describe"]})).fetched
    assert turn_of(state(retrievals=[{**widened, "widening": False}])).fetched


def test_differential_is_known_of_both_diseases() -> None:
    row = {"query": "differential", "subject_curie": "A:1", "object_curie": "B:2"}
    assert turn_of(state(evidence=[row])).known == {("differential", "A:1"), ("differential", "B:2")}
