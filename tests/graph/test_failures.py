"""A part that fails gives a clear, honest answer and never a dead run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from clarify.agent.runtime import Session
from clarify.errors import BadInput, KGTimeout, KGUnavailable, Unavailable, WeightsMissing
from clarify.tests.graph.scripted import OUTSIDE, Expert, Facts, always, good, no_graph, no_weights

Make = Callable[..., Session]


def test_missing_specialist(session: Make, pic: bytes) -> None:
    answer = session(good(disease=""), expert=no_weights).ask("What is this?", images=[pic])
    assert answer.abstained and "could not be looked at" in answer.abstention_reason
    assert "no specialist weights" in answer.abstention_reason
    assert answer.tool_calls[0].status == "error" and answer.findings == []
    assert "tool_failed" in [d.rule for d in answer.decisions]


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ValueError("x"), OSError("disk")])
def test_failing_specialist(session: Make, pic: bytes, error: Exception) -> None:
    answer = session(good(disease=""), expert=Expert(error)).ask("What is this?", images=[pic])
    assert answer.abstained and answer.tool_calls[0].status == "error"
    assert "CUDA" not in answer.answer, "internals belong into the log"


def test_second_look_that_fails_leaves_the_first(session: Make, pic: bytes) -> None:
    from clarify.tests.graph.scripted import UNSURE

    expert = Expert(UNSURE, RuntimeError("x"))
    answer = session(good("describe"), expert=expert).ask("What is this?", images=[pic])
    assert answer.findings[0].confidence == 0.55 and not answer.abstained


def test_unreachable_graph(session: Make, pic: bytes) -> None:
    answer = session(good(), facts=no_graph).ask("What is this, and how is it treated?", images=[pic])
    assert answer.abstained and "could not be reached" in answer.abstention_reason
    assert "graph_unavailable" in [d.rule for d in answer.decisions]
    assert all(s.kind != "fact" for s in answer.statements) and "excision" not in answer.answer


def test_unreachable_graph_lets_nothing_uncited_through(session: Make, pic: bytes) -> None:
    answer = session(always(AIMessage("Melanoma is harmless.")), facts=no_graph).ask(
        "What is this?", images=[pic]
    )
    assert answer.statements == [] and answer.abstained


def test_graph_that_times_out(session: Make) -> None:
    class Slow(Facts):
        def run(self, *args: Any) -> Any:
            raise KGTimeout("the query took longer than 5 s")

    answer = session(good(), facts=Slow()).ask("How is melanoma treated?")
    assert answer.abstained and "longer than 5 s" in answer.abstention_reason


def test_missing_generalist(session: Make) -> None:
    def gone(profile: str) -> Any:
        raise WeightsMissing("the model folder is empty.", hint="Restore it.")

    answer = session(good(), generalist=gone).ask("How is melanoma treated?")
    assert answer.abstained and "the model folder is empty" in answer.abstention_reason


def test_generalist_that_breaks_while_revising_keeps_what_was_supported(session: Make) -> None:
    inner = good()

    def breaks(messages: Any, choice: Any, tools: Any) -> AIMessage:
        if choice == "none":
            raise RuntimeError("x")
        said = inner(messages, choice, tools)
        return said if said.tool_calls else AIMessage(f"{said.text}\nMelanoma is harmless.")

    answer = session(breaks).ask("How is melanoma treated?")
    assert [s.citations for s in answer.statements] == [["mel-first-3"]] and answer.removed_statements


def test_nothing_found_abstains_and_says_what_would_help(session: Make) -> None:
    answer = session(good("prognosis")).ask("What is the prognosis of melanoma?")
    assert (
        answer.abstained and "No fact" in answer.abstention_reason and "picture" in answer.abstention_reason
    )


def test_out_of_scope_and_no_graph(session: Make, pic: bytes) -> None:
    answer = session(good(), expert=Expert(OUTSIDE), facts=no_graph).ask("What is this?", images=[pic])
    assert answer.abstained and answer.answer


def test_the_thread_goes_on_after_a_failure(session: Make) -> None:
    broken = [True]
    facts = Facts()

    def flaky() -> Facts:
        if broken[0]:
            raise KGUnavailable("down.")
        return facts

    one = session(good(), facts=flaky)
    assert one.ask("How is melanoma treated?", thread="t").abstained
    broken[0] = False
    assert not one.ask("How is melanoma treated?", thread="t").abstained


def test_empty_and_endless_questions_are_refused(session: Make) -> None:
    one = session(good())
    for text in ("", "  \n", "x" * 5000):
        with pytest.raises(BadInput):
            one.ask(text)


def test_check_names_the_missing_part(session: Make) -> None:
    session(good()).check()
    with pytest.raises(Unavailable):
        session(good(), expert=no_weights).check()
    with pytest.raises(KGUnavailable):
        session(good(), facts=no_graph).check()


def test_a_search_for_told_signs_that_fails_is_said_and_nothing_is_claimed(session: Make) -> None:
    class Breaks(Facts):
        def conditions(self, signs: Any, sites: Any) -> Any:
            raise KGUnavailable("the graph went away.", hint="Start it again.")

    one = session(always(AIMessage("It is a melanoma.")), facts=Breaks())
    answer = one.ask("Which skin condition is uneven, with several colours?")
    assert answer.abstained and "went away" in answer.abstention_reason and not answer.statements
    assert [d.value for d in answer.decisions if d.rule == "tool_failed"] == ["find_conditions"]


def test_a_graph_that_goes_away_while_the_words_are_read(session: Make) -> None:
    class Breaks(Facts):
        def told(self, text: str) -> Any:
            raise KGUnavailable("the graph went away.", hint="Start it again.")

    answer = session(good("describe", "")).ask("Which skin condition is uneven?")
    assert not any(d.rule == "graph_unavailable" for d in answer.decisions)
    answer = session(good("describe", ""), facts=Breaks()).ask("Which skin condition is uneven?")
    assert answer.abstained and any(d.rule == "graph_unavailable" for d in answer.decisions)
