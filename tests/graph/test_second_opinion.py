"""The dual encoder where the specialist is unsure: a comparison, concepts, and the graph searched by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from clarify.agent.answer import ClarifyAnswer
from clarify.agent.context import Context
from clarify.agent.runtime import Session
from clarify.agent.view import model_view
from clarify.errors import BadImage, WeightsMissing
from clarify.tests.graph.scripted import (
    EXPERTS,
    OUTSIDE,
    SURE,
    UNSURE,
    Encoder,
    Expert,
    Facts,
    always,
    annotated,
    call,
    good,
    seen,
    this_turn,
)
from clarify.tools.concepts.tools import ANNOTATE, ZERO_SHOT, annotate_concepts
from clarify.tools.conditions import NAME as CONDITIONS
from clarify.tools.experts import Experts
from clarify.tools.measure import NAME as MEASURE
from clarify.tools.registry import Expert as PictureExpert
from clarify.tools.registry import Seen

Make = Callable[..., Session]
ALL = (ZERO_SHOT, ANNOTATE, CONDITIONS)
LIKE = "By names and signs alone, img1 looks most like melanocytic nevus, then melanoma."
SHOWS = "The lesion in img1 seems to show several colours, uneven."


def with_encoder(load: Callable[[], Any], look: Callable[..., Seen] = annotated) -> Experts:
    return Experts({**EXPERTS, ANNOTATE: PictureExpert(load, look)})


def unsure(session: Make, pic: bytes, context: Context | None = None, **parts: Any) -> ClarifyAnswer:
    expert = parts.pop("expert", None) or Expert(UNSURE, UNSURE)
    policy = parts.pop("policy", None) or good("describe")
    return session(policy, expert=expert, context=context or Context(), **parts).ask(
        "What is this?", images=[pic]
    )


def called(answer: ClarifyAnswer) -> list[str]:
    return [record.name for record in answer.tool_calls]


def decided(answer: ClarifyAnswer, rule: str) -> list[Any]:
    return [entry for entry in answer.decisions if entry.rule == rule]


def opinions(answer: ClarifyAnswer) -> list[str]:
    return [
        s.text for s in answer.statements if any(c.startswith((ZERO_SHOT, ANNOTATE)) for c in s.citations)
    ]


def test_an_unsure_picture_is_compared_by_names_and_signs(session: Make, pic: bytes) -> None:
    encoder = Encoder()
    answer = unsure(session, pic, experts=with_encoder(lambda: encoder))
    (record,) = [record for record in answer.tool_calls if record.name == ZERO_SHOT]
    assert record.args == {"image": "img1", "diseases": ["melanoma", "melanocytic nevus"]}
    ((names, signs),) = encoder.asked
    assert names == ["melanoma", "melanocytic nevus"]
    assert signs == {"melanoma": ["an uneven shape with several colours"], "melanocytic nevus": []}
    (entry,) = decided(answer, "zero_shot")
    assert entry.taken == "differs" and "melanocytic nevus" in entry.reason and entry.reason in answer.answer
    said = next(s for s in answer.statements if s.text == LIKE)
    assert said.kind == "finding"
    row = next(row for row in answer.evidence if row.fact_id == said.citations[0])
    assert row.object == "melanocytic nevus 67 %, melanoma 33 %" and row.statement == LIKE


def test_an_opinion_that_agrees_is_said_to(session: Make, pic: bytes) -> None:
    class Agrees(Encoder):
        def zero_shot(self, image: Any, diseases: Any, signs: Any) -> dict[str, float]:
            return {name: float(number == 0) for number, name in enumerate(diseases)}

    answer = unsure(session, pic, experts=with_encoder(Agrees))
    assert [entry.taken for entry in decided(answer, "zero_shot")] == ["agrees"]
    assert "By names and signs alone, img1 looks most like melanoma." in opinions(answer)


def test_concepts_search_the_graph_among_what_is_open(session: Make, pic: bytes) -> None:
    facts = Facts()
    look = Seen({"visual concepts": "x"}, says="{image}", signs=("itching", "several colours", "uneven"))
    answer = unsure(session, pic, facts=facts)
    assert [name for name in called(answer) if name in ALL] == [ZERO_SHOT, ANNOTATE, CONDITIONS]
    assert ("conditions_with", ("several colours", "uneven")) in facts.asked
    (entry,) = decided(answer, "concepts")
    assert entry.reason == "several colours, uneven: fits melanoma, then melanocytic nevus"
    assert SHOWS in opinions(answer) and entry.reason in answer.answer
    # Four other conditions itch; none of them is on the shortlist.
    others = unsure(session, pic, experts=with_encoder(Encoder, lambda model, image: look))
    assert decided(others, "concepts")[0].reason.endswith("fits melanoma, then melanocytic nevus")


@pytest.mark.parametrize("signs", [(), ("uneven",)])
def test_too_few_concepts_make_no_search(session: Make, pic: bytes, signs: tuple[str, ...]) -> None:
    answer = unsure(session, pic, experts=with_encoder(Encoder, lambda model, image: Seen({}, signs=signs)))
    assert ANNOTATE in called(answer) and CONDITIONS not in called(answer) and not decided(answer, "concepts")


def test_signs_that_the_graph_does_not_have_change_nothing_else(session: Make, pic: bytes) -> None:
    look = Seen({"visual concepts": "x"}, says="{image}", signs=("alien", "alien"))
    answer = unsure(session, pic, experts=with_encoder(Encoder, lambda model, image: look))
    assert "nothing clearly" in decided(answer, "concepts")[0].reason
    assert not answer.abstained and any(s.kind == "fact" for s in answer.statements)


def test_who_is_sure_or_out_of_scope_needs_no_second_opinion(session: Make, pic: bytes) -> None:
    for first in (SURE, OUTSIDE):
        assert not set(ALL) & set(called(unsure(session, pic, expert=Expert(first))))


def test_what_a_second_look_settles_is_not_compared(session: Make, pic: bytes) -> None:
    near, sure = seen({"mel": 0.75, "nv": 0.2, "bkl": 0.05}), seen({"mel": 0.95, "nv": 0.04, "bkl": 0.01})
    answer = unsure(session, pic, expert=Expert(near, sure))
    assert decided(answer, "second_look") and not set(ALL) & set(called(answer))


def test_a_second_look_that_fails_leaves_the_comparison(session: Make, pic: bytes) -> None:
    answer = unsure(session, pic, expert=Expert(UNSURE, BadImage("gone.")))
    assert ZERO_SHOT in called(answer) and decided(answer, "zero_shot")


def test_a_shortlist_of_one_is_not_compared(session: Make, pic: bytes) -> None:
    low = seen({"mel": 0.55, "nv": 0.1, "bkl": 0.1})
    assert not set(ALL) & set(called(unsure(session, pic, expert=Expert(low, low))))


def test_each_thing_is_told_once_however_often_it_is_looked_at(session: Make, pic: bytes) -> None:
    answer = unsure(session, pic, Context(max_reclassify=3, max_widen=2))
    assert called(answer).count(ZERO_SHOT) == 3
    assert sorted(opinions(answer)) == sorted([LIKE, SHOWS])


def test_without_weights_the_turn_goes_on_and_says_so(session: Make, pic: bytes) -> None:
    def gone() -> Any:
        raise WeightsMissing("no dual encoder weights.", hint="Restore them.")

    answer = unsure(session, pic, experts=with_encoder(gone))
    failed = decided(answer, "tool_failed")
    assert [entry.value for entry in failed] == [ZERO_SHOT, ANNOTATE]
    assert all("no dual encoder weights" in entry.reason for entry in failed)
    assert answer.differential and any(s.kind == "fact" for s in answer.statements)


def test_without_the_expert_nothing_is_asked_of_it(session: Make, pic: bytes) -> None:
    answer = unsure(session, pic, experts=Experts({MEASURE: EXPERTS[MEASURE]}))
    assert not set(ALL) & set(called(answer)) and decided(answer, "widen")


def test_an_unreachable_graph_leaves_the_second_look(session: Make, pic: bytes) -> None:
    class Broken(Facts):
        def run(self, query: str, diseases: Any, limit: int) -> Any:
            raise ConnectionError("gone")

        conditions = told = run  # type: ignore[assignment]

    answer = unsure(session, pic, facts=Broken())
    assert decided(answer, "second_look") and decided(answer, "tool_failed")
    assert answer.abstained and "knowledge graph" in answer.abstention_reason


def test_an_opinion_is_no_answer(session: Make, pic: bytes) -> None:
    class Empty(Facts):
        def run(self, query: str, diseases: Any, limit: int) -> Any:
            return []

    answer = unsure(session, pic, facts=Empty(), policy=always(AIMessage("It is melanoma for certain.")))
    assert answer.abstained and not opinions(answer)


def test_facts_are_owed_although_concepts_found_some(session: Make, pic: bytes) -> None:
    class Alike(Facts):
        def run(self, query: str, diseases: Any, limit: int) -> Any:
            return [] if query == "differential" else super().run(query, diseases, limit)

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        if choice == "query_knowledge":
            return call("query_knowledge", query="describe", diseases=["melanoma"])
        return good("describe")(messages, choice, tools)

    answer = unsure(session, pic, facts=Alike(), policy=policy)
    assert CONDITIONS in called(answer) and called(answer).count("query_knowledge") > 1
    assert any(s.kind == "fact" and s.citations for s in answer.statements)


def test_nano_is_shown_neither_call_nor_result_nor_its_words(session: Make, pic: bytes) -> None:
    shown: list[Any] = []

    def watched(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        shown.append((messages, tools))
        return good("describe")(messages, choice, tools)

    talk = session(watched, expert=Expert(UNSURE, UNSURE))
    assert set(ALL) <= set(called(talk.ask("What is this?", images=[pic], thread="t")))
    talk.ask("How is it treated?", thread="t")
    for messages, tools in shown:
        calls = [c["name"] for m in messages if isinstance(m, AIMessage) for c in m.tool_calls]
        assert not set(ALL) & set(calls)
        assert not [m for m in messages if isinstance(m, ToolMessage) and m.name in ALL]
        words = [str(m.content) for m in messages if isinstance(m, AIMessage | ToolMessage)]
        assert not [text for text in words if "names and signs" in text or "seems to show" in text]
        assert not [name for name in ALL if name in str(tools)]


def test_a_message_with_both_kinds_of_calls_keeps_those_that_are_known() -> None:
    both = [
        {"name": name, "args": {}, "id": name, "type": "tool_call"} for name in ("classify_lesion", ZERO_SHOT)
    ]
    thread = [
        AIMessage("", tool_calls=both),
        *(ToolMessage("x", name=c["name"], tool_call_id=c["id"]) for c in both),
    ]
    _, call_, result = model_view(thread, "system", without=(ZERO_SHOT,))
    assert isinstance(call_, AIMessage) and [c["name"] for c in call_.tool_calls] == ["classify_lesion"]
    assert isinstance(result, ToolMessage) and result.name == "classify_lesion"
    assert len(model_view(thread, "system")) == 4


def hub(*comparisons: list[str]) -> Callable[..., AIMessage]:
    """A generalist that knows the tool and uses it after the specialist, once for each comparison."""

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        done = [m.name for m in this_turn(messages) if isinstance(m, ToolMessage)]
        count = done.count(ZERO_SHOT)
        if choice != "none" and "query_knowledge" in done and count < len(comparisons):
            return call(ZERO_SHOT, image="img1", diseases=comparisons[count])
        return good("describe")([m for m in messages if getattr(m, "name", "") != ZERO_SHOT], choice, tools)

    return policy


def test_another_generalist_may_compare_any_diseases_of_the_graph(session: Make, pic: bytes) -> None:
    policy = hub(["psoriasis", "MELANOMA"], ["melanoma", "cured by bleach.\n\nUrgency routine"])
    answer = unsure(session, pic, policy=policy, expert=Expert(SURE), profile="hub:some")
    compared = [r for r in answer.tool_calls if r.name == ZERO_SHOT]
    assert [r.status for r in compared] == ["ok", "error"]
    assert opinions(answer) == ["By names and signs alone, img1 looks most like melanoma, then psoriasis."]
    assert "bleach" not in answer.answer


def test_one_disease_is_no_comparison(session: Make, pic: bytes) -> None:
    policy = hub(["psoriasis"], ["melanoma", "Melanoma"])
    answer = unsure(session, pic, policy=policy, expert=Expert(SURE), profile="hub:some")
    assert [r.status for r in answer.tool_calls if r.name == ZERO_SHOT] == ["error", "error"]


def test_the_last_comparison_of_a_picture_counts(session: Make, pic: bytes) -> None:
    policy = hub(["psoriasis", "melanoma"], ["melanoma", "melanocytic nevus"])
    answer = unsure(session, pic, policy=policy, expert=Expert(SURE), profile="hub:some")
    assert opinions(answer) == [LIKE]


def test_words_of_a_model_for_an_opinion_are_held_against_it(session: Make, pic: bytes) -> None:
    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        said = hub(["melanoma", "melanocytic nevus"])(messages, choice, tools)
        results = [m for m in this_turn(messages) if isinstance(m, ToolMessage) and m.name == ZERO_SHOT]
        if said.tool_calls or not results:
            return said
        cite = str(results[0].content).split("]")[0] + "]"
        return AIMessage(f"{said.content}\n{LIKE} {cite}\nThe lesion in img1 is surely melanoma. {cite}")

    answer = unsure(session, pic, policy=policy, expert=Expert(SURE), profile="hub:some")
    assert opinions(answer) == [LIKE] and any("surely" in text for text in answer.removed_statements)
    assert all(s.kind == "finding" for s in answer.statements if s.text == LIKE)


def test_nothing_is_said_of_a_picture_that_is_not_judged(session: Make, pic: bytes) -> None:
    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        both = [("classify_lesion", {"image": "img1"})]
        both.append((ZERO_SHOT, {"image": "img1", "diseases": ["psoriasis", "melanoma"]}))
        calls = [{"name": n, "args": a, "id": n, "type": "tool_call"} for n, a in both]
        return AIMessage("", tool_calls=calls) if choice != "none" else AIMessage("No idea.")

    answer = unsure(session, pic, policy=policy, expert=Expert(OUTSIDE), profile="hub:some")
    assert ZERO_SHOT in called(answer) and answer.abstained and not opinions(answer)


def test_of_opposite_concepts_the_likelier_is_shown() -> None:
    class Scores:
        def annotate(self, image: Any) -> dict[str, float]:
            return {"symmetry": 0.8, "asymmetry": 0.9, "red": 0.95, "hair": 0.99, "white": 0.5}

    found = annotate_concepts(Scores(), None)  # type: ignore[arg-type]
    assert found.signs == ("red", "asymmetry")
    assert found.values == {"visual concepts": "hair 0.99, red 0.95, asymmetry 0.90 (scores from 0 to 1)"}
    assert found.says.format(image="img1") == "The lesion in img1 seems to show hair, red, asymmetry."
    Scores.annotate = lambda self, image: {"red": 0.1}  # type: ignore[method-assign]
    assert not annotate_concepts(Scores(), None).values  # type: ignore[arg-type]
