"""Drafts: what followed the same tokens last time, and nothing that was never read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.generalist.drafting import Lookup

IDS = st.lists(st.integers(0, 3), max_size=40)


def test_what_followed_the_same_words_is_drafted() -> None:
    lookup = Lookup([7, 8, 9, 10, 11, 12, 1, 8, 9], most=3)
    assert lookup.draft() == [10, 11, 12]
    lookup.add(5)
    assert lookup.draft() == []


def test_the_longest_and_then_the_latest_likeness_counts() -> None:
    assert Lookup([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], most=1).draft() == [4]
    assert Lookup([2, 3, 4, 2, 3, 5, 2, 3], most=1).draft() == [5]


def test_a_draft_ends_before_what_is_never_drafted() -> None:
    assert Lookup([1, 2, 3, 99, 4, 1, 2], most=4, never={99}).draft() == [3]
    assert Lookup([1, 2, 99, 4, 1, 2], most=4, never={99}).draft() == []


@given(IDS, IDS, st.integers(0, 6))
def test_a_draft_stood_in_the_text_behind_its_end(prompt: list[int], more: list[int], most: int) -> None:
    lookup = Lookup(prompt, most)
    for token in more:
        lookup.add(token)
    ids, draft = [*prompt, *more], lookup.draft()
    assert len(draft) <= most
    places = [i for i in range(2, len(ids)) if ids[i - 2 : i] == ids[-2:]]
    assert not draft or any(ids[i : i + len(draft)] == draft for i in places)
    assert bool(draft) == bool(places and most)
