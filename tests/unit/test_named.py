"""Names in calls are read with the names that the conversation has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.named import Heard, completed, completed_args, heard_of

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
    assert completed_args(args, Heard(NAMED), lambda _: False)["diseases"] == ["peroneal neuropathy"]
    assert completed_args({"image": "img1"}, Heard(NAMED), lambda _: False) == {"image": "img1"}


def test_the_names_of_a_conversation_are_what_was_linked_listed_and_fetched():
    state = {
        "work": {"mentions": ["acne"], "topics": ["acne", "rosacea"], "text": "is it acne?"},
        "evidence": [{"subject": "eczema"}, {"subject": "acne"}],
    }
    assert heard_of(state) == (["acne", "rosacea", "eczema"], ["acne"], "is it acne?")


@pytest.mark.parametrize(
    ("diseases", "text", "mentions", "meant"),
    [
        (["VT"], "what brings on VTZE?", ["vtze"], ["vtze"]),  # a garbled copy
        (["acne", "x"], "acne or UEU?", ["acne", "ueu"], ["acne", "ueu"]),
        (["x", "y"], "acne or UEU?", ["acne", "ueu"], ["x", "y"]),  # which is which?
        (["foobaritis"], "foobaritis? I have acne too", ["acne"], ["foobaritis"]),  # the user's own word
        (["melanoma"], "and acne?", ["acne"], ["melanoma"]),  # known, if not what was asked
        (["x"], "acne or UEU?", ["acne", "ueu"], ["x"]),
        (["x"], "what is it?", [], ["x"]),
    ],
)
def test_a_name_that_nobody_knows_or_wrote_is_the_only_one_that_is_left(diseases, text, mentions, meant):
    heard = Heard(["rosacea", *mentions], mentions, text)
    read = completed_args({"diseases": diseases}, heard, {"melanoma", "acne"}.__contains__)
    assert read == {"diseases": meant}
