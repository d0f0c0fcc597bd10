"""`widen`: the graph fetches what tells the shortlist apart, and what fits the signs on the picture."""

from __future__ import annotations

from typing import Any

from ...tools.concepts.tools import ANNOTATE
from ...tools.knowledge import MAX_DISEASES, NAME
from ..deps import Env
from ..routing import shortlist, unsure
from ..second_opinion import annotation, fit, search
from ..signs import graph_call
from ..state import State, decision, spent
from .use_tools import execute, execute_also


def widen(state: State, env: Env) -> dict[str, Any]:
    """Queries the differential of the shortlisted diseases, and the conditions that visual concepts fit."""
    names = env.deps.specialist().names
    diseases = [names[label] for label in shortlist(state)[:MAX_DISEASES]]
    message = graph_call(NAME, {"query": "differential", "diseases": diseases})
    update = execute(state, env, message)
    found = len(update["retrievals"][0]["fact_ids"]) if update["retrievals"] else 0
    reason = "fetched what tells them apart" if found else "nothing was found that tells them apart"
    update["decisions"].append(decision(state["work"], "widen", "consult", value=float(found), reason=reason))
    update["messages"] = [message, *update["messages"]]
    for entry in update["retrievals"]:
        entry["widening"] = True
    for image in unsure(state) if ANNOTATE in env.deps.experts.table else ():
        _search(state, env, update, image)
    update["work"]["counts"] = spent(state["work"], "widen")
    return update


def _search(state: State, env: Env, update: dict[str, Any], image: str) -> None:
    """Adds the visual concepts of a picture and the facts of the conditions that they fit."""
    if message := search(execute_also(state, env, update, annotation(image))):
        update["decisions"] += fit(state["work"], execute_also(state, env, update, message))
