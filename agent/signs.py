"""From told signs to conditions: the call that the graph owes them, and what its result makes of the turn."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage

from ..tools.conditions import NAME, QUERY
from .state import State, Work, decision, of_turn

ASIDE = "aside_"
"""How the ids of calls begin that a generalist which was taught two tools is not shown."""


def graph_call(name: str, args: Mapping[str, Any], head: str = "graph_") -> AIMessage:
    """A call that the graph makes and not the generalist."""
    call = {"name": name, "args": dict(args), "id": f"{head}{uuid.uuid4().hex[:12]}", "type": "tool_call"}
    return AIMessage(content="", tool_calls=[call])


def owed_search(state: State) -> AIMessage | None:
    """The search for conditions that told signs owe, once a turn: read by rule, made by rule."""
    done = {call["name"] for call in of_turn(state.get("tool_calls", []), state["work"]["turn"])}
    told = state["work"].get("told")
    return graph_call(NAME, told) if told and NAME not in done else None


def settle(state: State, update: dict[str, Any]) -> None:
    """Makes the turn about the conditions that were found, or ends it with a refusal that asks for more.

    Args:
        state: The thread.
        update: What running the turn's calls gave; its `work` and `decisions` are completed.
    """
    work: Work = update["work"]
    search = next((entry for entry in update["retrievals"] if entry["query"] == QUERY), None)
    if search is None:
        return
    call = next(call for call in update["tool_calls"] if call["name"] == NAME)
    words = ", ".join([*call["args"].get("signs", []), *call["args"].get("sites", [])])
    found, taken, reason = search["diseases"], "consult", ""
    if found:
        facts = {row["fact_id"]: row for row in [*state.get("evidence", []), *update["evidence"]]}
        curies = (facts[fact].get("subject_curie", "") for fact in search["fact_ids"])
        work |= {"subjects": list(dict.fromkeys(curies)), "topics": found}
        reason = f"{words}: fits {', then '.join(found)}"
    elif not work.get("subjects"):
        work["stop"] = {"key": f"{search['outcome']}_fit", "detail": words}
        taken = "compose"
    update["decisions"].append(decision(work, "signs", taken, value=float(len(found)), reason=reason))
