"""Routers as pure functions of state and context."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from clarify.agent import routing
from clarify.agent.context import Context
from clarify.agent.graph import graph


def weighed(verdicts: dict[str, str], counts: dict[str, int] | None = None, **work: Any) -> Any:
    findings = [{"image": image, "prediction_set": ["mel", "nv"]} for image in verdicts]
    return {"work": {"verdicts": verdicts, "counts": counts or {}, **work}, "findings": findings}


LOOKED = {"reclassify:img1": 1}


@pytest.mark.parametrize(
    ("state", "context", "to"),
    [
        (weighed({"img1": "sure"}), Context(), "consult"),
        (weighed({"img1": "unsure"}), Context(), "reclassify"),
        (weighed({"img1": "unsure"}, LOOKED), Context(), "widen"),
        (weighed({"img1": "unsure"}, LOOKED), Context(max_reclassify=2), "reclassify"),
        (weighed({"img1": "unsure"}, {**LOOKED, "widen": 1}), Context(), "consult"),
        (weighed({"img1": "unsure"}), Context(max_reclassify=0), "widen"),
        (weighed({"img1": "unsure"}), Context(max_reclassify=0, max_widen=0), "consult"),
        (weighed({"img1": "out_of_scope"}), Context(), "compose"),
        (weighed({"img1": "out_of_scope"}, mentions=["psoriasis"]), Context(), "consult"),
        (weighed({"img1": "out_of_scope", "img2": "sure"}), Context(), "consult"),
        (weighed({"img1": "out_of_scope"}, attached=["img1", "img2"]), Context(), "consult"),
        (weighed({"img1": "unsure", "img2": "unsure"}, LOOKED), Context(), "reclassify"),
    ],
)
def test_after_weigh(state: Any, context: Context, to: str) -> None:
    assert routing.next_after_weigh(state, context) == to


def test_a_shortlist_of_one_is_not_widened() -> None:
    state = weighed({"img1": "unsure"}, LOOKED)
    state["findings"][0]["prediction_set"] = ["mel"]
    assert routing.next_after_weigh(state, Context()) == "consult"


def test_after_consult() -> None:
    call = AIMessage("", tool_calls=[{"name": "x", "args": {}, "id": "1"}])
    assert routing.after_consult({"work": {}, "messages": [call]}) == "use_tools"
    assert routing.after_consult({"work": {}, "messages": [HumanMessage("a")]}) == "compose"
    assert routing.after_consult({"work": {"force": "x"}, "messages": [HumanMessage("a")]}) == "consult"
    assert routing.after_consult({"work": {"stop": {"key": "no_model"}}, "messages": [call]}) == "compose"


def test_the_rest() -> None:
    assert routing.after_intake({"work": {"stop": {"key": "bad_image"}}}) == "compose"
    assert routing.after_intake({"work": {}}) == "consult"
    assert routing.after_tools({"work": {"pending": ["img1"]}}) == "weigh"
    assert routing.after_tools({"work": {"pending": []}}) == "consult"
    assert routing.after_reclassify({"work": {"pending": []}}) == "consult"
    assert routing.after_verify({"work": {"feedback": ["- x"]}}) == "compose"
    assert routing.after_verify({"work": {}}) == "__end__"


def test_the_drawn_graph_has_the_edges_of_the_design() -> None:
    drawn = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert drawn == {
        ("__start__", "intake"),
        ("intake", "consult"),
        ("intake", "compose"),
        ("consult", "use_tools"),
        ("consult", "consult"),
        ("consult", "compose"),
        ("use_tools", "weigh"),
        ("use_tools", "consult"),
        ("weigh", "consult"),
        ("weigh", "reclassify"),
        ("weigh", "widen"),
        ("weigh", "compose"),
        ("reclassify", "weigh"),
        ("reclassify", "consult"),
        ("widen", "consult"),
        ("compose", "verify"),
        ("verify", "compose"),
        ("verify", "__end__"),
    }
