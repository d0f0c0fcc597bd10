"""`reclassify`: the graph asks for a second opinion on what the specialist was unsure about."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.messages import AIMessage

from ...tools.classify import NAME, is_sure
from ...tools.concepts.tools import ANNOTATE
from ..deps import Env
from ..routing import second_looks
from ..second_opinion import comparison, opinion
from ..state import State, decision, latest_findings, spent
from .use_tools import execute, execute_also


def reclassify(state: State, env: Env) -> dict[str, Any]:
    """Runs the second looks that are due, compares what they leave open, and says whether they agree."""
    images = second_looks(state, env.context)
    before = latest_findings(state)
    calls = [
        {
            "name": NAME,
            "args": {"image": image, "second_look": True},
            "id": f"graph_{uuid.uuid4().hex[:12]}",
            "type": "tool_call",
        }
        for image in images
    ]
    message = AIMessage(content="", tool_calls=calls)
    update = execute(state, env, message)
    update["messages"] = [message, *update["messages"]]
    for finding in update["findings"]:
        agrees = finding["label"] == before[finding["image"]]["label"]
        taken = "agrees" if agrees else "differs"
        reason = f"second look {taken} ({100 * finding['confidence']:.0f} %)"
        update["decisions"].append(
            decision(state["work"], "second_look", taken, value=finding["image"], reason=reason)
        )
    found = {image: before[image] for image in images} | {f["image"]: f for f in update["findings"]}
    for finding in list(found.values()):
        if finding["in_scope"] and not is_sure(finding, env.context.confidence_threshold):
            _compare(state, env, update, finding)
    update["work"]["counts"] = spent(state["work"], *(f"reclassify:{image}" for image in images))
    return update


def _compare(state: State, env: Env, update: dict[str, Any], finding: dict[str, Any]) -> None:
    """Adds what the dual encoder says of a shortlist: beside the probabilities, which it does not improve.

    `bench.second_opinion` found no weight at which joining them helps, but that agreement says something.
    """
    if ANNOTATE not in env.deps.experts.table:
        return
    names = env.deps.specialist().names
    if message := comparison(finding, names):
        compared = execute_also(state, env, update, message)
        update["decisions"] += opinion(state["work"], compared, names[finding["label"]])
