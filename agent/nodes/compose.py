"""`compose`: sees to it that there is a draft: what `consult` got, or a first or rewritten one."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from ..deps import Env
from ..prompts import prompt
from ..state import State, Work, decision
from .consult import ask, no_model


def compose(state: State, env: Env) -> dict[str, Any]:
    """Asks the generalist for statements when there are none yet, or when some were refused."""
    work: Work = {**state["work"]}
    feedback = work.pop("feedback", [])
    if work.get("stop") or (work.get("draft") and not feedback):
        return {"work": work}
    env.emit("rewriting" if feedback else "writing")
    extra: list[Any] = []
    if feedback:
        extra.append(AIMessage(content=work.get("draft", "")))
        extra.append(HumanMessage(content=prompt("revise").replace("{reasons}", "\n".join(feedback))))
    try:
        said = ask({**state, "messages": [*state["messages"], *extra]}, env, "none")
    except Exception as error:  # as in `consult`; what was reviewed before still stands
        stop = {} if work.get("best") else {"stop": no_model(error)}
        return {
            "work": {**work, "draft": "", **stop},
            "decisions": [decision(work, "model_failed", "go on", reason=str(error))],
        }
    return {"work": {**work, "draft": str(said.text).strip()}}
