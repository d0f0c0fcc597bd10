"""`consult`: the generalist's turn. It chooses first; what is owed and not chosen is forced by name."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import ToolCall

from ...errors import ClarifyError
from ...graph_schema.folding import normalise
from ...tools.concepts.tools import OPINIONS, ZERO_SHOT
from ...tools.registry import REGISTRY
from ..deps import Env
from ..measures import owed_measures
from ..must_calls import MAX_TRIES, must_calls, turn_of
from ..named import completed_args, heard_of
from ..prompts import system_prompt
from ..signs import owed_search
from ..state import State, Work, decision, of_turn, spent
from ..view import model_view
from .use_tools import strange_tools, toolbox

TALK = frozenset({"greeting", "thanks", "small_talk", "out_of_field"})
"""Kinds of turns in which nothing is looked up; a turn with a picture is never one of them."""
MAX_CALLS = 4
"""Calls in one message; more are left out."""
_log = logging.getLogger(__name__)


def consult(state: State, env: Env) -> dict[str, Any]:
    """Asks the generalist what to do next; its prose is kept as the draft of the answer."""
    work: Work = {**state["work"]}
    force = work.pop("force", "")
    if work.get("stop"):
        return {"work": work}
    if env.context.must_call and (owed_by_rule := owed_search(state) or owed_measures(state)):
        return {"work": work, "messages": [owed_by_rule]}
    left = env.context.max_tool_rounds - work.get("counts", {}).get("tool_rounds", 0)
    owed = must_calls(turn_of(state)) if env.context.must_call and left > 0 else ()
    quiet = env.context.must_call and work.get("kind") in TALK
    may_call = left > 0 and not quiet
    env.emit("choosing what to look up" if owed else "writing")
    try:
        said = ask(state, env, (force or "auto") if may_call else "none", force)
    except Exception as error:  # a model may fail in any way; the turn then ends with an honest refusal
        return {
            "work": {**work, "stop": no_model(error)},
            "decisions": [decision(work, "model_failed", "refuse", reason=str(error))],
        }
    calls = _calls(said, state, env) if may_call else []
    chosen = {call["name"] for call in calls}
    if owed and not chosen & set(owed) and not (left > len(owed) and _new_experts(state, env, chosen)):
        return _insist(work, owed, force, str(said.text))
    if not calls:
        return {"work": {**work, "draft": str(said.text).strip()}}
    dropped = len(said.tool_calls) - len(calls)
    notes = [decision(work, "calls_cut", "left out", value=float(dropped))] if dropped > 0 else []
    return {"work": work, "messages": [AIMessage(content="", tool_calls=calls)], "decisions": notes}


def ask(state: State, env: Env, choice: str, force: str = "") -> AIMessage:
    """Calls the generalist on its view of the thread.

    Args:
        state: The thread.
        env: Parts and budgets.
        choice: `auto`, `none` or a tool's name.
        force: The tool that is owed, whose arguments are then limited to what is owed.
    """
    model = env.deps.generalist(env.context.profile)
    strange = strange_tools(env)
    tools = toolbox(state, env, force, strange)
    bound = model.bind_tools(tools, tool_choice=choice)
    names = {tool.name for tool in tools}
    system = system_prompt(
        env.context.profile or env.deps.profile, (card for card in REGISTRY if card.name in names)
    )
    said = bound.invoke(model_view(state["messages"], system, without=strange), env.config)
    assert isinstance(said, AIMessage)
    return said


def no_model(error: Exception) -> dict[str, str]:
    """The refusal for a generalist that could not be loaded or run."""
    _log.error("the generalist failed", exc_info=error)
    detail = error.line() if isinstance(error, ClarifyError) else f"({type(error).__name__})"
    return {"key": "no_model", "detail": detail}


def _calls(said: AIMessage, state: State, env: Env) -> list[ToolCall]:
    """The message's calls with ids of their own; names completed, repetitions and excess left out."""
    heard, calls = heard_of(state), list[ToolCall]()

    def known(name: str) -> bool:
        try:
            links = env.deps.knowledge().mentions(name)
        except ClarifyError:
            return True  # the call itself will say that the graph is gone
        return any(normalise(link.matched) == normalise(name) for link in links)

    for call in said.tool_calls:
        args = {k: [str(x).strip() for x in v] if isinstance(v, list) else v for k, v in call["args"].items()}
        args = completed_args(args, heard, known)
        if len(calls) < MAX_CALLS and not any(c["name"] == call["name"] and c["args"] == args for c in calls):
            name = f"call_{uuid.uuid4().hex[:12]}"
            calls.append(ToolCall(name=call["name"], args=args, id=name, type="tool_call"))
    return calls


def _new_experts(state: State, env: Env, chosen: set[str]) -> bool:
    """Whether the calls are all for further experts that this turn has not asked: what is owed can wait."""
    done = {call["name"] for call in of_turn(state.get("tool_calls", []), state["work"]["turn"])} - OPINIONS
    return bool(chosen) and chosen <= {*env.deps.experts.table, ZERO_SHOT} - done


def _insist(work: Work, owed: tuple[str, ...], force: str, text: str) -> dict[str, Any]:
    """Forces the first owed call; one that even force did not bring, twice, is given up for the next."""
    name = owed[0]
    counts = spent(work, f"force:{name}")
    given_up = counts[f"force:{name}"] > MAX_TRIES
    taken = "given up" if given_up else "asked for by name"
    note = decision(work, "forced", taken, value=name, reason=f"{name} was owed and not called")
    following = (*owed[1:], "")[0] if given_up else name
    draft = work.get("draft", "") if force else text.strip()
    return {"work": {**work, "counts": counts, "force": following, "draft": draft}, "decisions": [note]}
