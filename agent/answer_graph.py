"""`clarify_answer`: one question in, one JSON document out, for agents that come over MCP or the API."""

from __future__ import annotations

from typing import Annotated, Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START
from langgraph.runtime import Runtime
from pydantic import Field
from typing_extensions import TypedDict

from .context import Context
from .deps import Deps, default_deps
from .gate import GatedGraph, gated
from .graph import build_graph
from .prompts import phrase


class Asked(TypedDict, total=False):
    """One question."""

    question: Annotated[str, Field(description="The question, in English.")]
    image: Annotated[str, Field(description="Optional picture: base64 text or a data URL.")]
    patient: Annotated[
        dict[str, Any],
        Field(description="Optional: age, sex, site, duration, changed, bleeds, itches, hurts."),
    ]


class Answered(TypedDict):
    """The answer."""

    answer: Annotated[str, Field(description="`ClarifyAnswer` as one JSON document.")]


class _State(Asked, total=False):
    answer: str


def build_answer_graph(deps: Deps) -> GatedGraph:
    """Wraps the state machine for a single question without a thread."""
    inner = build_graph(deps).compile()
    builder = gated(deps.images.pending, _State, Asked, Answered)

    def answer(state: Any, config: RunnableConfig, runtime: Runtime[Context]) -> dict[str, Any]:
        from .answer import ClarifyAnswer

        image: Any = state.get("image")
        asked = {
            "messages": [
                HumanMessage(state.get("question") or (phrase("default_question") if image else ""))
            ],
            "images": [image] if image else [],
            "patient": state.get("patient") or {},
        }
        result = inner.invoke(asked, config={"callbacks": config.get("callbacks")}, context=runtime.context)
        return {"answer": ClarifyAnswer.model_validate(result["answer"]).model_dump_json(), "image": ""}

    node: Any = answer  # the types of add_node do not know a graph whose schemas are given as values
    builder.add_node("answer", node)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder


graph = build_answer_graph(default_deps()).compile(name="clarify_answer")
"""For LangGraph servers; their MCP endpoint offers it as a tool."""
