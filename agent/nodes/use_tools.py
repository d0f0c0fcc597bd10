"""`use_tools`: runs the calls of the last message and moves what they found into state."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest, ToolInvocationError
from langgraph.types import Command

from ...errors import BadImage, ClarifyError
from ...graph_schema.protocol import FactRow
from ...tools import classify, conditions, cypher, knowledge, measure  # noqa: F401  importing registers
from ...tools.concepts import tools as concepts
from ...tools.registry import REGISTRY
from ...tools.render import render_error, render_rows
from ..deps import Deps, Env
from ..prompts import is_nano
from ..signs import settle
from ..state import State, Work, decision, latest_findings, spent

_log = logging.getLogger(__name__)
Execute = Callable[[ToolCallRequest], ToolMessage | Command[Any]]


def use_tools(state: State, env: Env) -> dict[str, Any]:
    """Runs the generalist's calls; a failure becomes a message and a decision."""
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    update = execute(state, env, last)
    settle(state, update)
    update["work"]["counts"] = spent(update["work"], "tool_rounds")
    return update


def toolbox(
    state: State, env: Env, force: str = "", without: Sequence[str] = (), *, own: bool = False
) -> list[BaseTool]:
    """The tools of this turn, but for the experts `without`.

    A forced call can only name what is owed: new pictures, facts asked for. The graph's `own` calls may need
    what the generalist is not offered, and search among what the turn is about.
    """
    from ..must_calls import turn_of

    deps, context, turn = env.deps, env.context, turn_of(state)
    pictures = {ref["id"]: ref["sha256"] for ref in state.get("pictures", [])}
    names = turn.unseen if force == classify.NAME else tuple(pictures)

    def open_image(name: str) -> Any:
        if name not in pictures:
            raise BadImage(f"There is no picture {name} in this conversation.")
        return deps.images.open(pictures[name])

    needs: dict[str, dict[str, Any]] = {
        classify.NAME: {
            "specialist": deps.specialist, "open_image": open_image, "pictures": names,
            "threshold": context.confidence_threshold, "scope": context.scope_threshold,
            "patient": state.get("patient"), "sha256": pictures, "memo": deps.looks,
        },
        knowledge.NAME: {
            "knowledge": deps.knowledge, "max_rows": context.max_rows,
            **(_owed_facts(state["work"], turn.intents) if force == knowledge.NAME else {}),
        },
    }  # fmt: skip
    if own or (state["work"].get("told") and not force):
        among = state["work"].get("subjects", ()) if own else ()
        needs[conditions.NAME] = {
            "knowledge": deps.knowledge, "max_rows": context.max_rows, "among": among,
        }  # fmt: skip
    if context.free_cypher and not force:
        needs[cypher.NAME] = {"knowledge": deps.knowledge, "max_rows": context.max_rows}
    if pictures and not force:
        shared = {"experts": deps.experts, "open_image": open_image, "sha256": pictures}
        shared |= {"keep": _keeper(deps), "show": sees_results(env)}
        needs |= {name: shared for name in deps.experts.table if name not in without}
    if needs.get(concepts.ANNOTATE) and concepts.ZERO_SHOT not in without:
        needs[concepts.ZERO_SHOT] = {
            "experts": deps.experts, "knowledge": deps.knowledge, "specialist": deps.specialist,
            "open_image": open_image, "pictures": pictures,
        }  # fmt: skip
    return [REGISTRY.make(name, **need) for name, need in needs.items()]


def sees_results(env: Env) -> bool:
    """Whether the generalist knows experts beyond the two it must call, and pictures in their results."""
    return not is_nano(env.context.profile or env.deps.profile)


def strange_tools(env: Env) -> tuple[str, ...]:
    """Tools that the generalist does not know: not offered, and what the graph gets of them not shown."""
    return () if sees_results(env) else (*env.deps.experts.table, concepts.ZERO_SHOT)


def _keeper(deps: Deps) -> Callable[[Any], str]:
    """Stores a picture that an expert drew."""

    def keep(picture: Any) -> str:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return deps.images.put(buffer.getvalue()).sha256

    return keep


def _owed_facts(work: Work, intents: Sequence[str]) -> dict[str, Any]:
    """What a forced fetch may be about: what the words ask for, of what the turn is about."""
    owed: dict[str, Any] = {"queries": intents} if intents else {}
    return owed | ({"topics": work["topics"]} if work.get("topics") else {})


def execute(state: State, env: Env, message: AIMessage, *, own: bool = False) -> dict[str, Any]:
    """Runs the calls of `message`.

    Args:
        state: The thread.
        env: Parts and budgets.
        message: The generalist's, or the graph's `own`.
        own: See `toolbox`.

    Returns:
        A state update: tool messages, findings, evidence, retrievals, tool calls, decisions, and `work` with
        the pictures that have a new finding in `pending`.
    """
    took: dict[str, float] = {}

    def timed(request: ToolCallRequest, run: Execute) -> ToolMessage | Command[Any]:
        call, start = request.tool_call, time.perf_counter()
        env.emit(_progress(call["name"], call["args"]))
        try:
            return _remembered(state, env, call) or run(request)
        finally:
            took[str(call["id"])] = (time.perf_counter() - start) * 1000

    node = ToolNode(toolbox(state, env, own=own), handle_tool_errors=explain, wrap_tool_call=timed)
    results = node.invoke({"messages": [message]}, env.config)["messages"]
    return _lift(state, env, message, {m.tool_call_id: m for m in results}, took)


def execute_also(state: State, env: Env, update: dict[str, Any], message: AIMessage) -> dict[str, Any]:
    """Runs a call that the graph adds to what an update has found already, to widen it.

    Returns:
        What the call alone gave; `update` has it, too.
    """
    known: State = {**state, "evidence": [*state.get("evidence", []), *update["evidence"]]}
    more = execute(known, env, message, own=True)
    for entry in more["retrievals"]:
        entry["widening"] = True
    for channel in ("findings", "evidence", "retrievals", "tool_calls", "decisions"):
        update[channel] += more[channel]
    if sees_results(env):  # for others the record is in the channels above; a checkpoint stays small
        update["messages"] += [message, *more["messages"]]
    return more


def explain(error: Exception) -> str:
    """Puts a tool's failure into words for the generalist; the log has the rest."""
    if isinstance(error, ToolInvocationError):
        return render_error("these arguments do not fit the tool")
    if isinstance(error, ClarifyError):
        return render_error(error.line())
    _log.error("a tool failed", exc_info=error)
    return render_error(f"the tool failed ({type(error).__name__})")


def _progress(name: str, args: Mapping[str, Any]) -> str:
    if name == classify.NAME:
        return f"looking at {args.get('image', 'the picture')}"
    return "checking the graph"


def _remembered(state: State, env: Env, call: Mapping[str, Any]) -> ToolMessage | None:
    """Answers a call that the thread has answered before; a second look is never remembered."""
    args = call["args"]
    content, artifact = "", {}
    finding = latest_findings(state).get(str(args.get("image")))
    if call["name"] == classify.NAME and finding and not args.get("second_look"):
        expert = env.deps.specialist()
        if finding.get("refined_by", {}) == expert.known(state.get("patient")) or not finding["in_scope"]:
            content = classify.show(finding, expert.names, env.context.confidence_threshold)
    elif call["name"] == knowledge.NAME and (fetched := _fetched(state, args)):
        rows = [FactRow.model_validate(r) for r in state["evidence"] if r["fact_id"] in fetched["fact_ids"]]
        plain = [row.model_dump(mode="json") for row in rows]
        content = render_rows(rows)
        artifact = {
            "query": fetched["query"],
            "diseases": fetched["diseases"],
            "rows": plain,
            "outcome": "rows",
        }
        artifact |= {key: fetched[key] for key in ("cypher", "parameters") if key in fetched}
    if not content:
        return None
    return ToolMessage(
        content, name=call["name"], tool_call_id=call["id"], artifact={**artifact, "reused": True}
    )


def _key(args: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    diseases = args.get("diseases")
    names = diseases if isinstance(diseases, list) else []
    return str(args.get("query")), tuple(sorted(str(name).strip().lower() for name in names))


def _fetched(state: State, args: Mapping[str, Any]) -> dict[str, Any] | None:
    hits = (
        entry
        for entry in state.get("retrievals", [])
        if entry["outcome"] == "rows" and _key(entry) == _key(args)
    )
    return next(hits, None)


def _lift(
    state: State, env: Env, message: AIMessage, results: Mapping[str, ToolMessage], took: Mapping[str, float]
) -> dict[str, Any]:
    """Sorts results into the channels of the state; messages keep their text only."""
    work, turn = state["work"], state["work"]["turn"]
    update: dict[str, Any] = {
        "messages": [],
        "findings": [],
        "evidence": [],
        "retrievals": [],
        "tool_calls": [],
        "decisions": [],
    }
    have = {row["fact_id"] for row in state.get("evidence", [])}
    latest = latest_findings(state)
    for call in message.tool_calls:
        result = results[str(call["id"])]
        artifact = result.artifact or {}
        content: Any = result.content
        if "finding" in artifact:
            finding, content = _joined(artifact["finding"], latest, content, env)
            latest[finding["image"]] = finding
            update["findings"].append({"turn": turn, **finding})
        elif "rows" in artifact:
            rows = [row for row in artifact["rows"] if row["fact_id"] not in have]
            have |= {row["fact_id"] for row in rows}
            update["evidence"] += [_slim(row, turn, artifact["query"]) for row in rows]
            update["retrievals"].append(_retrieval(artifact, turn))
        status = "error" if result.status == "error" else "ok"
        if status == "error":
            update["decisions"].append(
                decision(work, "tool_failed", "go on", value=call["name"], reason=content)
            )
        elif artifact.get("reused"):
            update["decisions"].append(decision(work, "known", "not fetched again", value=call["name"]))
        update["tool_calls"].append(
            {
                "turn": turn,
                "name": call["name"],
                "args": call["args"],
                "status": status,
                "ms": round(took.get(str(call["id"]), 0.0), 1),
            }
        )
        update["messages"].append(
            ToolMessage(content, name=call["name"], tool_call_id=call["id"], status=result.status)
        )
    pending = list(dict.fromkeys(finding["image"] for finding in update["findings"]))
    update["work"] = {**work, "pending": pending}
    return update


def _joined(
    finding: dict[str, Any], latest: Mapping[str, dict[str, Any]], content: str, env: Env
) -> tuple[dict[str, Any], str]:
    """A second look is joined with what was found before, and shown joined."""
    if not finding["second_look"] or finding["image"] not in latest:
        return finding, content
    expert = env.deps.specialist()
    joined = classify.combine(latest[finding["image"]], finding, expert.curies)
    return joined, classify.show(joined, expert.names, env.context.confidence_threshold)


def _slim(row: Mapping[str, Any], turn: int, query: str) -> dict[str, Any]:
    """A fact without the Cypher, which is kept once per retrieval, and without what is empty."""
    return {
        "turn": turn,
        **{k: v for k, v in row.items() if v and k not in ("cypher", "parameters", "query")},
        "source": {key: value for key, value in row["source"].items() if value},
        "query": query,
    }


def _retrieval(artifact: Mapping[str, Any], turn: int) -> dict[str, Any]:
    rows = artifact["rows"]
    first = rows[0] if rows else {}
    how = {key: artifact.get(key) or first.get(key) for key in ("cypher", "parameters")}
    seen = {key: artifact.get(key) for key in ("image", "picture", "signs")}
    return {
        "turn": turn, **{key: artifact[key] for key in ("query", "diseases", "outcome")},
        **{key: value for key, value in (how | seen).items() if value},
        "fact_ids": [row["fact_id"] for row in rows], "widening": False,
    }  # fmt: skip
