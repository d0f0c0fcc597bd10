"""Every loop ends within its budget, whatever the model does; and nothing unsupported gets out on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from clarify.agent.context import Context
from clarify.agent.runtime import Session
from clarify.tests.graph.conftest import picture
from clarify.tests.graph.scripted import SURE, UNSURE, Expert, Facts, always, call, good

Make = Callable[..., Session]
MOST_STEPS = 60


def counted(one: Session, question: str, images: list[bytes]) -> tuple[Any, int, int]:
    """The answer, the number of graph steps and of model calls."""
    message = one._message(question, images)
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": MOST_STEPS}
    steps, last = 0, {}
    for mode, part in one._graph.stream(
        {"messages": [message]}, config, context=one.context, stream_mode=["updates", "values"]
    ):  # type: ignore[call-overload]
        steps += mode == "updates"
        last = part if mode == "values" else last
    return last["answer"], steps, len(one.deps.generalist("").calls)  # type: ignore[attr-defined]


def turning(*messages: AIMessage) -> Callable[..., AIMessage]:
    """A model that says these again and again."""
    cycle = itertools.cycle(messages)
    return lambda *a: next(cycle).model_copy()


LOOK, FETCH = (
    call("classify_lesion", image="img1"),
    call("query_knowledge", query="signs", diseases=["melanoma"]),
)
MANY = [{**FETCH.tool_calls[0], "args": {"query": "signs", "diseases": [f"disease {n}"]}} for n in range(50)]
WRONG = "Melanoma is treated with {} mg of ibuprofen. [mel-clini-2]"
ADVERSARIES = {
    "always looks": always(LOOK),
    "always looks again": always(call("classify_lesion", image="img1", second_look=True)),
    "always fetches": always(FETCH),
    "never calls": always(AIMessage("It is a melanoma and it needs chemotherapy.")),
    "says nothing": always(AIMessage("")),
    "garbage": always(AIMessage("]]{{<tool_call>\x00 [specialist:img9] [mel-first-3][mel-first-3 " * 40)),
    "unknown tool": always(call("delete_everything", path="/")),
    "wrong arguments": always(call("classify_lesion", image=["img1", {"a": 1}], second_look="maybe")),
    "another picture": always(call("classify_lesion", image="img7")),
    "unknown disease": always(call("query_knowledge", query="treatment", diseases=["xyzzy"])),
    "unknown query": always(call("query_knowledge", query="DROP", diseases=["melanoma"])),
    "many calls": always(AIMessage("", tool_calls=MANY)),
    "turn about": turning(LOOK, AIMessage("It is melanoma. [specialist:img1]"), FETCH, AIMessage("No.")),
    "endless wrong statements": turning(LOOK, FETCH, *[AIMessage(WRONG.format(n)) for n in range(40)]),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize("seen", [SURE, UNSURE], ids=["sure", "unsure"])
def test_every_adversary_ends(session: Make, name: str, seen: Any) -> None:
    one = session(ADVERSARIES[name], expert=Expert(seen, seen))
    answer, steps, asked = counted(one, "What is this, and how is melanoma treated?", [picture()])
    context = Context()
    assert steps < MOST_STEPS and asked <= 16
    rounds = [d for d in answer["tool_calls"] if d["name"] != "second"]
    assert len(rounds) <= 4 * context.max_tool_rounds + 2
    assert "chemotherapy" not in answer["answer"] and "ibuprofen" not in answer["answer"]
    assert answer["answer"]


def test_budgets_of_the_context_are_kept(session: Make) -> None:
    context = Context(max_tool_rounds=1, max_reclassify=0, max_widen=0, max_revisions=0)
    expert, facts = Expert(UNSURE, UNSURE), Facts()
    one = session(ADVERSARIES["always fetches"], expert=expert, facts=facts, context=context)
    answer, steps, asked = counted(one, "What is this?", [picture()])
    assert len(answer["tool_calls"]) == 1 and expert.looks == []
    assert asked <= 3 and answer["abstained"]


def test_more_second_looks_when_the_context_allows(session: Make) -> None:
    expert = Expert(UNSURE, UNSURE)
    one = session(good("describe"), expert=expert, context=Context(max_reclassify=3))
    one.ask("What is this?", images=[picture()])
    assert expert.looks == ["first", "second", "second", "second"]


def test_must_call_is_given_up_for_the_next_owed(session: Make) -> None:
    def never_looks(messages: Any, choice: Any, tools: Any) -> AIMessage:
        return FETCH.model_copy() if choice == "query_knowledge" else AIMessage("I see nothing.")

    answer = session(never_looks, facts=(facts := Facts())).ask("What is this melanoma?", images=[picture()])
    assert [d.taken for d in answer.decisions if d.rule == "forced"][:3] == ["asked for by name"] * 2 + [
        "given up"
    ]
    assert facts.asked and answer.findings == []


statements = st.sampled_from(
    [
        "The picture fits melanoma best, at 93 %. [specialist:img1]",
        "You have melanoma. [specialist:img1]",
        "This is a melanoma.",
        "Melanoma is first treated with wide local excision. [mel-first-3]",
        "Melanoma is first treated with wide local excision.",
        "Psoriasis is first treated with a topical corticosteroid. [pso-first-9]",
        "Hello.",
        "Take 50 mg of prednisone. [mel-first-3]",
    ]
)
moves = st.one_of(
    statements.map(AIMessage),
    st.just(LOOK),
    st.just(FETCH),
    st.just(call("query_knowledge", query="treatment", diseases=["melanoma"])),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(moves, min_size=1, max_size=8), with_picture=st.booleans())
def test_nothing_is_claimed_without_its_call(
    session: Make, script: list[AIMessage], with_picture: bool
) -> None:
    """No diagnostic statement without a look at that picture, no medical one without a retrieved fact."""
    one = session(turning(*script), expert=(expert := Expert(SURE)))
    answer, _, _ = counted(one, "What is melanoma?", [picture()] if with_picture else [])
    fetched = {e["fact_id"] for e in answer["evidence"]}
    for statement in answer["statements"]:
        for cite in statement["citations"]:
            assert cite in fetched or (cite == "specialist:img1" and expert.looks)
        if not statement["citations"]:
            assert "melanoma" not in statement["text"].lower() and "prednisone" not in statement["text"]
