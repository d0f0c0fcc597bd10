"""Signs and sites read from sentences, over the shipped facts, and which conditions are worth telling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarify.agent.turn_kind import asks_which_condition
from clarify.graph_schema.build import build_graph
from clarify.graph_schema.findings import link_finding, polarity
from clarify.graph_schema.multihop import MAX_SIGNS, conditions_with
from clarify.graph_schema.protocol import ConditionRow
from clarify.graph_schema.stores import open_graph
from clarify.graph_schema.stores.base import BaseStore
from clarify.graph_schema.told import Told, find_told
from clarify.tools.conditions import MOST, conditions_tool, facts_of, fitting


@pytest.fixture(scope="module")
def kg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseStore]:
    folder = tmp_path_factory.mktemp("told") / "graph"
    build_graph(folder)
    store = open_graph(folder)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("text", "signs", "sites"),
    [
        (
            "Which skin condition gives itchy purple flat bumps on the wrists?",
            ("itchy", "purple", "flat", "bumps"),
            ("wrists",),
        ),
        ("blackheads and pimples on my face, what is wrong?", ("blackheads", "pimples"), ("face",)),
        (
            "It doesn't itch. There are RED BUMPS on it",
            ("red", "bumps"),
            (),
        ),  # a denial ends with its sentence
        ("peeling between the toes", ("peeling",), ("toes",)),
        ("a ring with a clear centre", ("ring", "clear centre"), ()),  # two words that say little alone
        ("itching, itching and more itching", ("itching",), ()),
        ("itchng blisterss on the elbow", ("itchng", "blisterss"), ("elbow",)),
        ("red patches, no scale, not painful but itchy", ("red patches", "itchy"), ()),
        ("Thanks! It's getting worse since I take this, what gives?", (), ()),
        ("I have had a spot for two weeks. What is it?", (), ()),
        ("", (), ()),
    ],
)
def test_signs_and_sites_of_a_sentence(
    kg: BaseStore, text: str, signs: tuple[str, ...], sites: tuple[str, ...]
) -> None:
    assert find_told(kg, text) == Told(signs, sites)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from("no red itchy, . on my elbow'n skin wrist not".split(" "))).map(" ".join)
)
def test_any_text_is_read_and_what_is_read_is_known(kg: BaseStore, text: str) -> None:
    told = find_told(kg, text)
    assert max(len(told.signs), len(told.sites)) <= MAX_SIGNS
    for phrases, label in ((told.signs, "Sign"), (told.sites, "Site")):
        assert len(set(phrases)) == len(phrases)
        assert all(phrase in text.lower().replace("\u2019", "'") for phrase in phrases)
        assert all(link_finding(kg, phrase, label) for phrase in phrases)


def test_a_list_after_without_is_denied_as_a_whole() -> None:
    said, denied = polarity("a smooth surface without scale, itch or pain")
    assert said.strip() == "a smooth surface" and {"scale", "itch", "pain"} <= set(
        denied.replace(",", "").split()
    )
    assert polarity("no scale, red patches")[1].strip() == "scale"


def test_a_smooth_surface_without_itch_is_not_found_by_itching(kg: BaseStore) -> None:
    assert not [m.name for m in link_finding(kg, "itching", "Sign") if "without" in m.name]


def ranked(kg: BaseStore, text: str) -> list[ConditionRow]:
    told = find_told(kg, text)
    return conditions_with(kg, told.signs, told.sites)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Which skin condition gives itchy purple flat bumps on the wrists?", "lichen planus"),
        ("red scaly patch with silvery scale on my elbows and knees", "psoriasis"),
        ("honey-coloured crusts around the mouth of a child", "impetigo"),
        ("Flushing and red bumps on cheeks and nose", "rosacea"),
        ("Which disease has Wickham striae?", "lichen planus"),
        ("dome shaped bumps with a central dimple", "molluscum contagiosum"),
        ("blisters in a band on one side of my chest, painful", "herpes zoster"),
    ],
)
def test_the_condition_that_is_meant_comes_first(kg: BaseStore, text: str, first: str) -> None:
    outcome, best = fitting(ranked(kg, text))
    assert outcome == "rows" and best[0].subject == first and len(best) <= MOST


def test_too_little_and_too_much_said_name_nothing(kg: BaseStore) -> None:
    assert fitting(ranked(kg, "an itchy spot")) == ("many", [])  # one sign alone, however few have it
    assert fitting(ranked(kg, "something red and itchy")) == ("many", [])
    assert fitting(ranked(kg, "silvery, umbilicated, honey-coloured, velvety and greasy horns")) == (
        "none",
        [],
    )
    assert fitting([]) == ("none", [])


def test_the_tool_gives_single_facts_the_best_condition_first(kg: BaseStore) -> None:
    class Graph:
        def conditions(self, signs: list[str], sites: list[str]) -> list[ConditionRow]:
            return conditions_with(kg, signs, sites)

    tool = conditions_tool(knowledge=lambda: Graph(), max_rows=5)  # type: ignore[arg-type, return-value]
    call = {"name": tool.name, "type": "tool_call", "id": "1"}
    message = tool.invoke(
        {**call, "args": {"signs": ["itchy", "purple", "flat", "bumps"], "sites": ["wrists"]}}
    )
    rows = message.artifact["rows"]
    assert message.artifact["diseases"][0] == rows[0]["subject"] == "lichen planus" and len(rows) <= 5
    assert all(f"[{row['fact_id']}]" in message.content for row in rows)
    assert {row["query"] for row in rows} == {"conditions_with"} and all(row["cypher"] for row in rows)
    nothing = tool.invoke({**call, "args": {"signs": ["itchy"]}})
    assert nothing.artifact["outcome"] == "many" and "too many" in nothing.content


def test_a_sign_that_several_facts_say_is_told_once(kg: BaseStore) -> None:
    [first, *_] = ranked(kg, "purple bumps on the wrists")
    facts = facts_of([first], 20)
    assert len({fact.fact_id for fact in facts}) == len(facts) <= len(first.matched)
    assert set(first.fact_ids) == {fact.fact_id for fact in first.facts}
    assert "facts" not in first.model_dump()


@pytest.mark.parametrize(
    ("text", "new", "later"),
    [
        ("Which skin condition gives itchy bumps?", True, True),
        ("What causes itchy bumps?", True, True),
        ("I have itchy bumps on my wrists.", True, False),
        ("What could this itchy patch be?", True, False),
        ("Does it itch?", True, False),
        ("How do I treat itchy bumps?", False, False),
        ("Is an itchy bump dangerous?", False, False),
    ],
)
def test_which_questions_look_for_a_condition(text: str, new: bool, later: bool) -> None:
    assert asks_which_condition(text) is new
    assert asks_which_condition(text, thread_has_subject=True) is later
