"""The state machine, wired: design section 3."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START
from langgraph.runtime import Runtime

from . import routing
from .context import Context, context_of
from .deps import Deps, Env, default_deps
from .gate import GatedGraph, gated
from .nodes.compose import compose
from .nodes.consult import consult
from .nodes.intake import intake
from .nodes.reclassify import reclassify
from .nodes.use_tools import use_tools
from .nodes.verify import verify
from .nodes.weigh import weigh
from .nodes.widen import widen
from .state import State

Node = Callable[[State, Env], dict[str, Any]]
NODES: tuple[Node, ...] = (intake, consult, use_tools, weigh, reclassify, widen, compose, verify)


def build_graph(deps: Deps) -> GatedGraph:
    """Wires the state machine over its parts; compile it with the checkpointer you want, or none."""
    builder = gated(deps.images.pending)
    for node in NODES:
        builder.add_node(node.__name__, _with(deps, node))
    builder.add_edge(START, "intake")
    builder.add_conditional_edges("intake", routing.after_intake)
    builder.add_conditional_edges("consult", routing.after_consult)
    builder.add_conditional_edges("use_tools", routing.after_tools)
    builder.add_conditional_edges("weigh", routing.after_weigh)
    builder.add_conditional_edges("reclassify", routing.after_reclassify)
    builder.add_edge("widen", "consult")
    builder.add_edge("compose", "verify")
    builder.add_conditional_edges("verify", routing.after_verify, {"compose": "compose", "__end__": END})
    return builder


def _with(deps: Deps, node: Node) -> Callable[..., dict[str, Any]]:
    """Gives a node its parts and keeps its time."""
    name = node.__name__

    def run(state: State, config: RunnableConfig, runtime: Runtime[Context]) -> dict[str, Any]:
        start = time.perf_counter()
        update = node(state, Env(deps, context_of(runtime), config, runtime.stream_writer))
        ms = dict(update["work"].get("ms", {}))
        ms[name] = ms.get(name, 0.0) + (time.perf_counter() - start) * 1000
        update["work"] = {**update["work"], "ms": ms}
        if update.get("answer"):
            update["answer"]["audit"]["ms"] = ms
        return update

    return run


graph = build_graph(default_deps()).compile(name="clarify")
"""For LangGraph servers and Studio, which bring their own checkpointer. Nothing is loaded before a run."""
