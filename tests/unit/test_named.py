"""Names in calls are read with the names that the conversation has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.named import completed, completed_args, names_of

NAMED = ["peroneal neuropathy", "basal cell carcinoma", "melanoma"]
KNOWN = {"squamous cell carcinoma", "melanoma in situ", "neuropathy"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("neuropathy", "peroneal neuropathy"),  # a piece, though the graph knows it
        ("Peroneal Neuropathy", "Peroneal Neuropathy"),  # as it stands there
        ("count peroneal neuropathy", "peroneal neuropathy"),  # a word too many
        ("perineal neuropathie", "peroneal neuropathy"),  # misspelt
        ("melanoma in situ", "melanoma in situ"),  # known, and another disease
        ("squamous cell carcinoma", "squamous cell carcinoma"),  # known, though like a name there
        ("parents", "parents"),  # like nothing: the tool will say that it knows no such disease
        ("", ""),
    ],
)
def test_a_name_is_completed(said, meant):
    assert completed(said, NAMED, KNOWN.__contains__) == meant


def test_a_piece_of_two_names_is_left_alone():
    assert completed("nevus", ["blue nevus", "melanocytic nevus"], lambda _: False) == "nevus"


def test_the_longer_name_is_taken_where_both_stand_in_what_was_said():
    assert completed("x basal cell carcinoma", ["carcinoma", "basal cell carcinoma"], lambda _: False) == (
        "basal cell carcinoma"
    )


words = st.text("abcdefgh ", max_size=20)


@given(words, st.lists(words, max_size=4), st.booleans())
def test_a_completed_name_is_one_of_the_conversation_or_as_it_was_and_stays(said, named, known):
    once = completed(said, named, lambda _: known)
    assert once in (said, *named)
    if once in named:
        assert completed(once, named, lambda _: known) == once


def test_diseases_that_become_the_same_are_asked_for_once():
    args = {"query": "signs", "diseases": ["neuropathy", "peroneal"]}
    assert completed_args(args, NAMED, lambda _: False)["diseases"] == ["peroneal neuropathy"]
    assert completed_args({"image": "img1"}, NAMED, lambda _: False) == {"image": "img1"}


def test_the_names_of_a_conversation_are_what_was_linked_listed_and_fetched():
    state = {
        "work": {"mentions": ["acne"], "topics": ["acne", "rosacea"]},
        "evidence": [{"subject": "eczema"}, {"subject": "acne"}],
    }
    assert names_of(state) == ["acne", "rosacea", "eczema"]
