"""The dual encoder where the specialist is unsure: a comparison, concepts, and the graph searched by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from clarify.agent.answer import ClarifyAnswer
from clarify.agent.runtime import Session
from clarify.errors import WeightsMissing
from clarify.tests.graph.scripted import (
    EXPERTS,
    OUTSIDE,
    SURE,
    UNSURE,
    Encoder,
    Expert,
    Facts,
    annotated,
    call,
    good,
    seen,
    this_turn,
)
from clarify.tools.concepts.tools import ANNOTATE, ZERO_SHOT
from clarify.tools.conditions import NAME as CONDITIONS
from clarify.tools.experts import Experts
from clarify.tools.measure import NAME as MEASURE
from clarify.tools.registry import Expert as PictureExpert
from clarify.tools.registry import Seen

Make = Callable[..., Session]
ALL = (ZERO_SHOT, ANNOTATE, CONDITIONS)


def unsure(session: Make, pic: bytes, **parts: Any) -> ClarifyAnswer:
    expert = parts.pop("expert", None) or Expert(UNSURE, UNSURE)
    return session(good("describe"), expert=expert, **parts).ask("What is this?", images=[pic])


def called(answer: ClarifyAnswer) -> list[str]:
    return [record.name for record in answer.tool_calls]


def decided(answer: ClarifyAnswer, rule: str) -> list[Any]:
    return [entry for entry in answer.decisions if entry.rule == rule]


def test_an_unsure_picture_is_compared_by_names_and_signs(session: Make, pic: bytes) -> None:
    encoder = Encoder()
    experts = Experts({**EXPERTS, ANNOTATE: PictureExpert(lambda: encoder, annotated)})
    answer = unsure(session, pic, experts=experts)
    (record,) = [record for record in answer.tool_calls if record.name == ZERO_SHOT]
    assert record.args == {"image": "img1", "diseases": ["melanoma", "melanocytic nevus"]}
    assert [names for names, _ in encoder.asked] == [["melanoma", "melanocytic nevus"]]
    (entry,) = decided(answer, "zero_shot")
    assert entry.taken == "differs" and "melanocytic nevus" in entry.reason
    said = [s for s in answer.statements if any(c.startswith(ZERO_SHOT) for c in s.citations)]
    assert [s.text for s in said] == [
        "Compared by names and signs alone, the lesion in img1 is 67 % like melanocytic nevus.",
        "Compared by names and signs alone, the lesion in img1 is 33 % like melanoma.",
    ]
    assert {s.kind for s in said} == {"finding"} and entry.reason in answer.answer


def test_an_opinion_that_agrees_is_said_to(session: Make, pic: bytes) -> None:
    class Agrees(Encoder):
        def zero_shot(self, image: Any, diseases: Any, signs: Any) -> dict[str, float]:
            return {name: float(number == 0) for number, name in enumerate(diseases)}

    experts = Experts({**EXPERTS, ANNOTATE: PictureExpert(Agrees, annotated)})
    assert [entry.taken for entry in decided(unsure(session, pic, experts=experts), "zero_shot")] == [
        "agrees"
    ]


def test_concepts_search_the_graph(session: Make, pic: bytes) -> None:
    facts = Facts()
    answer = unsure(session, pic, facts=facts)
    assert [name for name in called(answer) if name in ALL] == [ZERO_SHOT, ANNOTATE, CONDITIONS]
    assert ("conditions_with", ("several colours", "uneven")) in facts.asked
    (entry,) = decided(answer, "concepts")
    assert entry.reason == "several colours, uneven: fits melanoma, then melanocytic nevus"
    line = "The lesion in img1 seems to show several colours (score 0.91 of 1)."
    assert [s.citations for s in answer.statements if s.text == line] == [
        [f"{ANNOTATE}:img1:several-colours"]
    ]
    assert any(e.query == "conditions_with" or e.subject == "melanoma" for e in answer.evidence)


def test_no_concept_no_search(session: Make, pic: bytes) -> None:
    experts = Experts({**EXPERTS, ANNOTATE: PictureExpert(Encoder, lambda model, image: Seen({}))})
    answer = unsure(session, pic, experts=experts)
    assert ANNOTATE in called(answer) and CONDITIONS not in called(answer) and not decided(answer, "concepts")


def test_who_is_sure_or_out_of_scope_needs_no_second_opinion(session: Make, pic: bytes) -> None:
    for first in (SURE, OUTSIDE):
        assert not set(ALL) & set(called(unsure(session, pic, expert=Expert(first))))


def test_a_shortlist_of_one_is_not_compared(session: Make, pic: bytes) -> None:
    low = seen({"mel": 0.55, "nv": 0.1, "bkl": 0.1})
    assert not set(ALL) & set(called(unsure(session, pic, expert=Expert(low, low))))


def test_without_weights_the_turn_goes_on_and_says_so(session: Make, pic: bytes) -> None:
    def gone() -> Any:
        raise WeightsMissing("no dual encoder weights.", hint="Restore them.")

    answer = unsure(session, pic, experts=Experts({**EXPERTS, ANNOTATE: PictureExpert(gone, annotated)}))
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
    assert decided(answer, "second_look") and decided(answer, "tool_failed") and answer.answer


def test_nano_sees_neither_tool_nor_result(session: Make, pic: bytes) -> None:
    shown: list[Any] = []

    def watched(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        shown.append((messages, tools))
        return good("describe")(messages, choice, tools)

    answer = session(watched, expert=Expert(UNSURE, UNSURE)).ask("What is this?", images=[pic])
    assert {ZERO_SHOT, ANNOTATE} <= set(called(answer))
    for messages, tools in shown:
        assert not [m for m in messages if getattr(m, "name", "") in (ZERO_SHOT, ANNOTATE)]
        assert ZERO_SHOT not in str(tools) and ANNOTATE not in str(tools)


def test_another_generalist_may_compare_any_diseases(session: Make, pic: bytes) -> None:
    told: list[str] = []

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        results = [m for m in this_turn(messages) if isinstance(m, ToolMessage)]
        compared = [str(m.content) for m in results if m.name == ZERO_SHOT]
        told.extend(compared[-1:])
        if choice != "none" and results and not compared:
            return call(ZERO_SHOT, image="img1", diseases=["psoriasis", "melanoma"])
        if choice != "none" and len(results) == 3 and len(compared) == 1:
            return call(ZERO_SHOT, image="img1", diseases=["psoriasis"])
        return good("describe")([m for m in messages if getattr(m, "name", "") != ZERO_SHOT], choice, tools)

    answer = session(policy, profile="hub:some").ask("What is this?", images=[pic])
    assert [(r.name, r.status) for r in answer.tool_calls] == [
        ("classify_lesion", "ok"), (ZERO_SHOT, "ok"), ("query_knowledge", "ok"), (ZERO_SHOT, "error"),
    ]  # fmt: skip
    assert told[0].startswith(f"[{ZERO_SHOT}:img1:") and "do not fit" in told[-1]
    compared = [s for s in answer.statements if any(c.startswith(ZERO_SHOT) for c in s.citations)]
    assert "67 % like melanoma" in compared[0].text and "33 % like psoriasis" in compared[1].text


def test_two_comparisons_of_one_picture_do_not_share_rows(session: Make, pic: bytes) -> None:
    pairs = [["psoriasis", "melanoma"], ["melanoma", "melanocytic nevus"]]

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        done = [m.name for m in this_turn(messages) if isinstance(m, ToolMessage)]
        if choice != "none" and "query_knowledge" in done and done.count(ZERO_SHOT) < 2:
            return call(ZERO_SHOT, image="img1", diseases=pairs[done.count(ZERO_SHOT)])
        return good("describe")([m for m in messages if getattr(m, "name", "") != ZERO_SHOT], choice, tools)

    answer = session(policy, profile="hub:some").ask("What is this?", images=[pic])
    compared = [s.text for s in answer.statements if any(c.startswith(ZERO_SHOT) for c in s.citations)]
    assert sum("like melanoma" in text for text in compared) == 2
