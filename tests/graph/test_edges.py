"""Every edge of the state machine, taken by a scripted model over scripted parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from clarify.agent.answer import ClarifyAnswer
from clarify.agent.context import Context
from clarify.agent.runtime import Session
from clarify.tests.graph.conftest import picture
from clarify.tests.graph.scripted import (
    OUTSIDE,
    SURE,
    UNSURE,
    Expert,
    Facts,
    always,
    call,
    good,
    seen,
    this_turn,
)
from clarify.tools.skin_tone import OUTSIDE as OUTSIDE_TONE

Make = Callable[..., Session]


def taken(answer: ClarifyAnswer, rule: str) -> list[str]:
    return [d.taken for d in answer.decisions if d.rule == rule]


def names(answer: ClarifyAnswer) -> list[str]:
    return [c.name for c in answer.tool_calls]


def test_sure_picture_goes_straight_to_facts(session: Make, pic: bytes) -> None:
    answer = session(good(), expert=Expert(SURE)).ask(
        "What is this, and how is melanoma treated?", images=[pic]
    )
    assert names(answer) == ["classify_lesion", "query_knowledge"]
    assert taken(answer, "confidence") == ["consult"]
    assert [s.kind for s in answer.statements] == ["finding", "fact"]
    assert not answer.abstained and not answer.removed_statements
    assert answer.differential[0].name == "melanoma" and answer.differential[0].curie == "DOID:1909"
    assert answer.evidence[0].cypher and answer.evidence[0].source.organisation == "WHO"
    assert "Most likely   melanoma 93 %" in answer.answer and "Sources" in answer.answer
    assert "not a medical device" in answer.answer


def test_unsure_picture_gets_a_second_look_then_the_differential(session: Make, pic: bytes) -> None:
    expert, facts = Expert(UNSURE, UNSURE), Facts()
    answer = session(good("describe"), expert=expert, facts=facts).ask("What is this?", images=[pic])
    assert expert.looks == ["first", "second"]
    assert taken(answer, "confidence") == ["reclassify", "widen"]
    assert taken(answer, "second_look") == ["agrees"]
    own = [asked for asked in facts.asked if asked[0] != "signs"]  # those are of the comparison
    assert own[0] == ("differential", ("melanoma", "melanocytic nevus"))
    assert {e.predicate for e in answer.evidence} >= {
        "differs from melanocytic nevus",
        "differs from melanoma",
    }
    assert [c.name for c in answer.differential][:2] == ["melanoma", "melanocytic nevus"]


def test_a_sure_label_on_skin_of_an_unlearnt_tone_is_looked_at_again_and_told_apart(
    session: Make, pic: bytes
) -> None:
    seen_so = seen({"mel": 0.93, "nv": 0.05, "bkl": 0.02}, quality=[OUTSIDE_TONE])
    expert = Expert(seen_so, seen_so)
    answer = session(good("describe"), expert=expert).ask("What is this?", images=[pic])
    assert expert.looks == ["first", "second"] and answer.findings[0].quality == [OUTSIDE_TONE]
    assert [d.reason for d in answer.decisions if d.rule == "confidence"][0].endswith(f"but {OUTSIDE_TONE}")
    assert "this is not sure" in answer.answer and OUTSIDE_TONE in answer.answer


def test_second_look_that_makes_it_sure_is_averaged(session: Make, pic: bytes) -> None:
    expert = Expert(seen({"mel": 0.70, "nv": 0.30}), seen({"mel": 0.96, "nv": 0.04}))
    answer = session(good(), expert=expert).ask("What is this?", images=[pic])
    assert taken(answer, "confidence") == ["reclassify", "consult"]
    assert answer.findings[0].second_look
    assert abs(answer.findings[0].confidence - 0.83) < 1e-9
    assert answer.findings[0].prediction_set == ["mel", "nv"]
    assert "widen" not in [d.rule for d in answer.decisions]


def test_second_look_that_differs_is_said(session: Make, pic: bytes) -> None:
    expert = Expert(seen({"mel": 0.5, "nv": 0.45, "bkl": 0.05}), seen({"mel": 0.3, "nv": 0.65, "bkl": 0.05}))
    answer = session(good("describe", "melanocytic nevus"), expert=expert).ask("What is this?", images=[pic])
    assert taken(answer, "second_look") == ["differs"]
    assert answer.findings[0].label == "nv"


def test_out_of_scope_abstains(session: Make, pic: bytes) -> None:
    answer = session(good(), expert=Expert(OUTSIDE)).ask("What is this?", images=[pic])
    assert taken(answer, "scope") == ["compose"]
    assert answer.abstained and "not dermoscopy" in answer.abstention_reason
    assert answer.differential == [] and names(answer) == ["classify_lesion"]


def test_out_of_scope_picture_beside_a_good_one(session: Make) -> None:
    expert = Expert([OUTSIDE, SURE])
    answer = session(good("describe"), expert=expert).ask("What are these?", images=[picture(1), picture(2)])
    assert [f.in_scope for f in answer.findings] == [False, True] and not answer.abstained
    assert "img1) is not dermoscopy" in answer.answer


def test_out_of_scope_picture_with_a_named_disease_goes_on_with_knowledge(session: Make, pic: bytes) -> None:
    model = good("treatment", "psoriasis")
    answer = session(model, expert=Expert(OUTSIDE)).ask(
        "This is my psoriasis. How is psoriasis treated?", images=[pic]
    )
    assert taken(answer, "scope") == ["consult"]
    assert not answer.abstained and "was not judged" in answer.answer
    assert "corticosteroid" in answer.answer
    assert answer.findings[0].label is None


def test_stricter_scope_threshold_of_the_context(session: Make, pic: bytes) -> None:
    answer = session(good(), context=Context(scope_threshold=0.95)).ask("What is this?", images=[pic])
    assert not answer.findings[0].in_scope and answer.abstained


def test_prose_without_the_owed_calls_is_answered_by_force(session: Make, pic: bytes) -> None:
    inner = good()

    def lazy(messages: Any, choice: Any, tools: Any) -> AIMessage:
        if choice == "auto" and not any(isinstance(m, ToolMessage) for m in this_turn(messages)):
            return AIMessage("It is a melanoma.")
        return inner(messages, choice, tools)

    answer = session(lazy).ask("What is this?", images=[pic])
    assert taken(answer, "forced") == ["asked for by name"]
    assert names(answer) == ["classify_lesion", "query_knowledge"] and not answer.abstained


def test_forced_call_offers_only_what_is_owed(session: Make) -> None:
    one = session(always(AIMessage("It is nothing.")), expert=Expert(SURE))
    one.ask("What is this?", images=[picture(1), picture(2)])
    forced = [c for c in one.deps.generalist("").calls if c["tool_choice"] == "classify_lesion"]  # type: ignore[attr-defined]
    schema = forced[0]["tools"][0].args_schema.model_json_schema()
    assert schema["properties"]["image"]["enum"] == ["img1", "img2"]
    assert list(schema["properties"]) == ["image", "second_look"]


def test_forced_fetch_names_what_the_turn_is_about(session: Make, pic: bytes) -> None:
    def never_fetches(messages: Any, choice: Any, tools: Any) -> AIMessage:
        return call("classify_lesion", image="img1") if choice == "classify_lesion" else AIMessage("No.")

    one = session(never_fetches, expert=Expert(SURE))
    one.ask("What is this, and how is it treated?", images=[pic], thread="t")
    one.ask("Which tests confirm it?", thread="t")
    forced = [c for c in one.deps.generalist("").calls if c["tool_choice"] == "query_knowledge"]  # type: ignore[attr-defined]
    for calls, query in ((forced[0], "treatment"), (forced[-1], "tests")):
        fields = calls["tools"][1].args_schema.model_json_schema()["properties"]
        assert query in fields["query"].get("enum", [fields["query"].get("const")])
        assert fields["diseases"]["items"]["pattern"] == "^ ?(melanoma)$"


def test_forced_fetch_of_two_diseases_asks_for_their_treatments_together(session: Make) -> None:
    one = session(always(AIMessage("No.")))
    one.ask("Which treatments do melanoma and melanocytic nevus share?")
    forced = [c for c in one.deps.generalist("").calls if c["tool_choice"] == "query_knowledge"]  # type: ignore[attr-defined]
    fields = forced[0]["tools"][-1].args_schema.model_json_schema()["properties"]
    assert fields["query"]["const"] == "treatments_shared"


def test_free_running_is_never_forced(session: Make, pic: bytes) -> None:
    one = session(always(AIMessage("It is a melanoma.")), context=Context(must_call=False))
    answer = one.ask("What is this?", images=[pic])
    assert taken(answer, "forced") == [] and names(answer) == []
    assert answer.abstained and answer.removed_statements


def test_unsupported_statement_is_revised(session: Make) -> None:
    inner, drafts = good(), iter(["Melanoma is first treated with chemotherapy. [mel-first-3]"])

    def first_wrong(messages: Any, choice: Any, tools: Any) -> AIMessage:
        said = inner(messages, choice, tools)
        return (
            said
            if said.tool_calls
            else AIMessage(next(drafts, "Melanoma is first treated with wide local excision. [mel-first-3]"))
        )

    one = session(first_wrong)
    answer = one.ask("How is melanoma treated?")
    assert taken(answer, "verify") == ["revise", "supported"]
    assert [s.text for s in answer.statements] == ["Melanoma is first treated with wide local excision."]
    assert answer.removed_statements == []
    feedback = one.deps.generalist("").calls[-1]  # type: ignore[attr-defined]
    assert feedback["tool_choice"] == "none" and "chemotherapy" in feedback["messages"][-1].content


def test_what_stays_unsupported_is_removed_and_said_so(session: Make) -> None:
    inner = good()

    def stubborn(messages: Any, choice: Any, tools: Any) -> AIMessage:
        said = inner(messages, choice, tools)
        if said.tool_calls or choice == "none":
            return said if said.tool_calls else AIMessage("Melanoma is harmless.")
        return AIMessage(f"{said.text}\nMelanoma is cured by ointment. [mel-first-3]")

    answer = session(stubborn).ask("How is melanoma treated?")
    assert [s.citations for s in answer.statements] == [["mel-first-3"]]
    assert answer.removed_statements == ["Melanoma is cured by ointment."]
    assert "no retrieved fact supports it: 1 statement" in answer.answer
    assert "ointment" not in answer.answer


@pytest.mark.parametrize("text", ["Hello", "Thank you very much", "Who won the football match?"])
def test_talk_calls_nothing_even_if_the_model_tries(session: Make, text: str) -> None:
    eager = always(call("query_knowledge", query="treatment", diseases=["melanoma"]))
    answer = session(eager, facts=(facts := Facts())).ask(text)
    assert answer.tool_calls == [] and facts.asked == [] and answer.answer


def test_greeting_and_out_of_field_call_nothing(session: Make) -> None:
    for text, said in (
        ("Hello", "Hello. Send a picture."),
        ("Who won the football match?", "I can only help with questions about skin."),
    ):
        expert, facts = Expert(), Facts()
        answer = session(always(AIMessage(said)), expert=expert, facts=facts).ask(text)
        assert answer.tool_calls == [] and expert.looks == [] and facts.asked == []
        assert answer.answer.split() == said.split() and not answer.abstained


def test_follow_up_uses_what_the_thread_knows(session: Make, pic: bytes) -> None:
    one = session(good(), expert=(expert := Expert(SURE)), facts=(facts := Facts()))
    one.ask("What is this, and how is melanoma treated?", images=[pic], thread="t")
    again = "Melanoma is first treated with wide local excision. [mel-first-3]"
    one.deps.generalist("").policy = always(AIMessage(again))  # type: ignore[attr-defined]
    answer = one.ask("How is melanoma treated, again?", thread="t")
    assert len(facts.asked) == 1 and len(expert.looks) == 1
    assert answer.tool_calls == [] and not answer.abstained
    assert answer.evidence[0].fact_id == "mel-first-3" and answer.evidence[0].cypher


def test_follow_up_on_something_new_owes_the_graph(session: Make, pic: bytes) -> None:
    one = session(good(), facts=(facts := Facts()))
    one.ask("What is this, and how is melanoma treated?", images=[pic], thread="t")
    one.deps.generalist("").policy = good("tests")  # type: ignore[attr-defined]
    answer = one.ask("Which tests confirm melanoma?", thread="t")
    assert facts.asked[-1] == ("tests", ("melanoma",)) and not answer.abstained


def test_repeated_call_is_answered_from_the_thread(session: Make, pic: bytes) -> None:
    one = session(good(), expert=(expert := Expert(SURE)), facts=(facts := Facts()))
    one.ask("What is this, and how is melanoma treated?", images=[pic], thread="t")
    both = call("query_knowledge", query="treatment", diseases=["Melanoma "])
    both.tool_calls += call("classify_lesion", image="img1").tool_calls
    replies = iter([both])
    inner = always(AIMessage("Melanoma is first treated with wide local excision. [mel-first-3]"))
    one.deps.generalist("").policy = lambda *a: next(replies, None) or inner(*a)  # type: ignore[attr-defined]
    answer = one.ask("Which tests confirm melanoma?", thread="t", images=[])
    assert len(expert.looks) == 1 and len(facts.asked) == 1
    assert taken(answer, "known") == ["not fetched again"] * 2 and not answer.abstained


def test_same_picture_again_keeps_its_id(session: Make, pic: bytes) -> None:
    one = session(good(), expert=(expert := Expert(SURE)))
    one.ask("What is this?", images=[pic], thread="t")
    answer = one.ask("And how is melanoma treated?", images=[pic], thread="t")
    assert list(answer.audit.images) == ["img1"] and len(expert.looks) == 1


def test_each_doubtful_picture_of_a_thread_has_its_own_budget(session: Make) -> None:
    expert = Expert([UNSURE, SURE, UNSURE], [UNSURE])
    one = session(good("describe"), expert=expert)
    one.ask("What is this?", images=[picture(1)], thread="t")
    one.ask("And this one, what is it?", images=[picture(2)], thread="t")
    answer = one.ask("And this, what is it?", images=[picture(3)], thread="t")
    assert expert.looks == ["first", "second", "first", "first", "second"]
    assert taken(answer, "second_look") == ["agrees"] and answer.findings[-1].image == "img3"


def test_two_doubtful_pictures_in_one_turn(session: Make) -> None:
    expert = Expert(UNSURE, UNSURE)
    answer = session(good("describe"), expert=expert).ask("What are these?", images=[picture(1), picture(2)])
    assert expert.looks == ["first", "second"] * 2
    assert [f.image for f in answer.findings] == ["img1", "img2"]


def test_low_quality_is_said(session: Make, pic: bytes) -> None:
    blurred = seen({"mel": 0.9, "nv": 0.1}, quality=["blurred"])
    answer = session(good(), expert=Expert(blurred)).ask("What is this?", images=[pic])
    assert answer.findings[0].quality == ["blurred"] and "blurred" in answer.answer
    assert taken(answer, "quality") == ["say so"]


def test_model_sees_the_last_turns_as_drafts(session: Make, pic: bytes) -> None:
    one = session(good())
    for n in range(6):
        one.ask(f"How is melanoma treated? ({n})", thread="t")
    seen_messages = one.deps.generalist("").calls[-1]["messages"]  # type: ignore[attr-defined]
    assert [m.content[-2] for m in seen_messages if isinstance(m, HumanMessage)] == list("2345")
    drafts = [m.content for m in seen_messages if isinstance(m, AIMessage) and not m.tool_calls]
    assert drafts and all("Sources" not in d and "[mel-first-3]" in d for d in drafts)
    assert seen_messages[0].type == "system"


def test_urgency_comes_from_the_words_whatever_the_model_says(session: Make) -> None:
    answer = session(always(AIMessage("There is no hurry at all."))).ask(
        "My face and throat are swelling and I cannot breathe since I took the new pill for my skin"
    )
    assert answer.urgency.level == "emergency" and answer.urgency.rules
    assert answer.answer.splitlines()[0].startswith("Urgency")


def test_audit_names_what_ran(session: Make, pic: bytes) -> None:
    import hashlib

    answer = session(good()).ask("What is this?", images=[pic], thread="t7")
    assert answer.audit.images == {"img1": hashlib.sha256(pic).hexdigest()}
    assert answer.audit.weights["specialist"] == "a" * 64 and answer.audit.graph_version == "test"
    assert {"intake", "consult", "use_tools", "weigh", "verify"} <= set(answer.audit.ms)
    assert answer.audit.thresholds["confidence"] == 0.8 and answer.thread == "t7"


def test_free_cypher_is_offered_only_when_asked_for(session: Make) -> None:
    def offered(one: Session) -> list[str]:
        one.ask("How is melanoma treated?")
        return [tool.name for tool in one.deps.generalist("").calls[0]["tools"]]  # type: ignore[attr-defined]

    assert offered(session(good())) == ["classify_lesion", "query_knowledge"]
    assert offered(session(good(), context=Context(free_cypher=True)))[2:] == ["query_cypher"]


def test_free_cypher_is_guarded_and_bounded(session: Make) -> None:
    inner = good()
    tries = iter(
        [call("query_cypher", statement="MATCH (n) DELETE n"), call("query_cypher", statement="CREATE (n)")]
    )

    def curious(messages: Any, choice: Any, tools: Any) -> AIMessage:
        return (next(tries, None) if choice == "auto" else None) or inner(messages, choice, tools)

    one = session(curious, context=Context(free_cypher=True, must_call=False))
    answer = one.ask("How is melanoma treated?")
    assert [c.status for c in answer.tool_calls] == ["ok", "error", "ok"] and not answer.abstained
    results = [m for m in one.deps.generalist("").calls[1]["messages"] if m.type == "tool"]  # type: ignore[attr-defined]
    assert results[0].content.count('"n"') == 6


def told(answer: ClarifyAnswer) -> list[str]:
    return [c.name for c in answer.tool_calls if c.name == "find_conditions"]


def test_told_signs_find_their_conditions_before_the_model_speaks(session: Make) -> None:
    facts = Facts()
    one = session(good("describe", ""), facts=facts)
    answer = one.ask("I have an uneven spot of several colours on my skin. What could it be?")
    assert facts.asked == [("conditions_with", ("uneven", "several colours"))]
    assert taken(answer, "signs") == ["consult"] and told(answer) == ["find_conditions"]
    assert answer.tool_calls[0].args["signs"] == ["uneven", "several colours"]
    assert [s.citations for s in answer.statements][0] == ["mel-defin-1"] and not answer.abstained
    assert "uneven, several colours: fits melanoma, then melanocytic nevus" in answer.answer
    assert [e.query for e in answer.evidence] == ["conditions_with", "conditions_with"]


def test_what_was_found_is_what_the_next_turn_is_about(session: Make) -> None:
    facts = Facts()
    one = session(good("treatment", "melanoma"), facts=facts)
    one.ask("Which skin condition is uneven, with several colours?", thread="t")
    answer = one.ask("And how is it treated?", thread="t")
    assert ("treatment", ("melanoma",)) in facts.asked and not told(answer) and not answer.abstained
    assert "wide local excision" in answer.answer
    again = one.ask("Does it keep its several colours on the skin?", thread="t")
    assert not told(again)  # about what is there already: no new search
    other = one.ask("Which skin condition is uneven and has several colours?", thread="t")
    assert told(other) == ["find_conditions"]


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("My skin is itching and dry. What is it?", "too many conditions"),
        ("My skin is uneven. What is it?", "too many conditions"),
        ("My skin looks alien and uneven and is itching. What is it?", "fits most of what you told"),
    ],
)
def test_signs_that_say_too_little_end_in_a_refusal_that_asks_for_more(
    session: Make, question: str, key: str
) -> None:
    one = session(always(AIMessage("It is a melanoma.")))
    answer = one.ask(question)
    assert answer.abstained and key in answer.abstention_reason and not answer.statements
    assert taken(answer, "signs") == ["compose"] and told(answer) == ["find_conditions"]
    assert one.deps.generalist("").calls == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "question",
    [
        "How are several colours of an uneven skin treated?",  # asks for a treatment, not what it is
        "Has melanoma several colours, and is it uneven?",  # names it
        "Hello, are you uneven?",
    ],
)
def test_signs_are_not_searched_for_when_something_else_is_asked(session: Make, question: str) -> None:
    assert not told(session(good()).ask(question))


def test_a_picture_goes_to_the_specialist_and_not_to_the_told_signs(session: Make, pic: bytes) -> None:
    answer = session(good()).ask("It is uneven, with several colours. What is it?", images=[pic])
    assert names(answer) == ["classify_lesion", "query_knowledge"]


def test_what_is_told_of_the_patient_reaches_the_specialist_and_is_said(session: Make, pic: bytes) -> None:
    answer = session(good("describe")).ask("I am 67 years old. What is this on my back?", images=[pic])
    assert answer.findings[0].refined_by == {"age": 67.0}
    assert taken(answer, "patient") == ["refined"] and "with age" in answer.answer
    plain = session(good("describe")).ask("What is this?", images=[pic])
    assert plain.findings[0].refined_by == {} and taken(plain, "patient") == []


def test_a_finding_is_looked_at_anew_when_the_patient_becomes_known(session: Make, pic: bytes) -> None:
    expert = Expert(SURE)
    talk = session(good("describe"), expert=expert)
    talk.ask("What is this?", images=[pic], thread="t")
    talk.ask("What is this?", images=[pic], thread="t")
    assert expert.looks == ["first"]
    answer = talk.ask("She is a woman of 30. What is this?", images=[pic], thread="t")
    assert expert.looks == ["first", "first"] and "sex" in answer.findings[0].refined_by


def test_the_audit_says_whose_skin_was_learnt_from(session: Make, pic: bytes) -> None:
    answer = session(good("describe")).ask("What is this?", images=[pic])
    assert "nearly all skin it learnt from is light" in answer.audit.limits["classify_lesion"]
    assert session(good("describe")).ask("What is melanoma?").audit.limits == {}


@pytest.mark.parametrize("said", ["nevus", "melanocytic", "melanocitic nevis", "x melanocytic nevus"])
def test_a_name_that_a_call_garbles_is_read_as_the_one_that_was_asked_about(session: Make, said: str) -> None:
    facts = Facts()
    answer = session(good("describe", said), facts=facts).ask("What is a melanocytic nevus?")
    assert facts.asked[0] == ("describe", ("melanocytic nevus",))
    assert not answer.abstained and answer.evidence[0].subject == "melanocytic nevus"


def test_a_name_that_nobody_knows_or_wrote_is_read_as_the_only_one_in_the_words(session: Make) -> None:
    facts = Facts()
    session(good("describe", "Napoleon"), facts=facts).ask("What is psoriasis?")
    assert facts.asked[0] == ("describe", ("psoriasis",))


def test_a_name_that_the_user_wrote_is_left_for_the_graph_to_refuse(session: Make) -> None:
    facts = Facts()
    session(good("describe", "Napoleon"), facts=facts).ask("Did Napoleon have psoriasis?")
    assert ("describe", ("Napoleon",)) in facts.asked
