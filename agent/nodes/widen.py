"""`widen`: the graph fetches what tells the diseases on the shortlist apart."""

from __future__ import annotations

from typing import Any

from ...tools.knowledge import MAX_DISEASES, NAME
from ..deps import Env
from ..routing import shortlist
from ..signs import graph_call
from ..state import State, decision, spent
from .use_tools import execute


def widen(state: State, env: Env) -> dict[str, Any]:
    """Queries the differential of the shortlisted diseases."""
    names = env.deps.specialist().names
    diseases = [names[label] for label in shortlist(state)[:MAX_DISEASES]]
    message = graph_call(NAME, {"query": "differential", "diseases": diseases})
    update = execute(state, env, message)
    for entry in update["retrievals"]:
        entry["widening"] = True
    found = len(update["retrievals"][0]["fact_ids"]) if update["retrievals"] else 0
    reason = "fetched what tells them apart" if found else "nothing was found that tells them apart"
    update["decisions"].append(decision(state["work"], "widen", "consult", value=float(found), reason=reason))
    update["messages"] = [message, *update["messages"]]
    update["work"]["counts"] = spent(state["work"], "widen")
    return update
