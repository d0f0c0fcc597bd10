"""Every conditional edge: pure functions of state and context."""

from __future__ import annotations

from typing import Literal

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime

from .context import Context, context_of
from .state import State, latest_findings

Weighed = Literal["consult", "reclassify", "widen", "compose"]


def after_intake(state: State) -> Literal["consult", "compose"]:
    """A turn that cannot be answered goes straight to its refusal."""
    return "compose" if state["work"].get("stop") else "consult"


def after_consult(state: State) -> Literal["use_tools", "consult", "compose"]:
    """Tool calls are run; a call that is owed is asked for again, by name; else the answer is composed."""
    work = state["work"]
    if work.get("stop"):
        return "compose"
    if work.get("force"):
        return "consult"
    last = state["messages"][-1]
    return "use_tools" if isinstance(last, AIMessage) and last.tool_calls else "compose"


def after_tools(state: State) -> Literal["weigh", "consult"]:
    """Only a new image finding is weighed."""
    return "weigh" if state["work"].get("pending") else "consult"


def unsure(state: State) -> list[str]:
    """Pictures of this turn whose finding is not confident."""
    return [image for image, verdict in state["work"].get("verdicts", {}).items() if verdict == "unsure"]


def second_looks(state: State, context: Context) -> list[str]:
    """Unsure pictures with budget for another look."""
    counts = state["work"].get("counts", {})
    return [image for image in unsure(state) if counts.get(f"reclassify:{image}", 0) < context.max_reclassify]


def shortlist(state: State) -> list[str]:
    """Labels that the unsure pictures leave open, likeliest first; empty when there is only one."""
    findings = latest_findings(state)
    labels = dict.fromkeys(label for image in unsure(state) for label in findings[image]["prediction_set"])
    return list(labels) if len(labels) > 1 else []


def next_after_weigh(state: State, context: Context) -> Weighed:
    """Where a weighed finding leads: design section 3."""
    work = state["work"]
    if second_looks(state, context):
        return "reclassify"
    if shortlist(state) and work.get("counts", {}).get("widen", 0) < context.max_widen:
        return "widen"
    verdicts = work.get("verdicts", {})
    nothing_to_judge = verdicts and set(verdicts.values()) == {"out_of_scope"}
    if nothing_to_judge and set(work.get("attached", [])) <= set(verdicts) and not work.get("mentions"):
        return "compose"
    return "consult"


def after_weigh(state: State, runtime: Runtime[Context]) -> Weighed:
    """The edge out of `weigh`."""
    return next_after_weigh(state, context_of(runtime))


def after_reclassify(state: State) -> Literal["weigh", "consult"]:
    """A second look that failed leaves the first finding as it is."""
    return "weigh" if state["work"].get("pending") else "consult"


def after_verify(state: State) -> Literal["compose", "__end__"]:
    """Refused statements are rewritten while the budget lasts."""
    return "compose" if state["work"].get("feedback") else "__end__"
