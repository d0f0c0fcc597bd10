"""`reclassify`: the graph asks the specialist for a second look at what it was unsure about."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.messages import AIMessage

from ...tools.classify import NAME
from ..deps import Env
from ..routing import second_looks
from ..state import State, decision, latest_findings, spent
from .use_tools import execute


def reclassify(state: State, env: Env) -> dict[str, Any]:
    """Runs the second looks that are due and says whether they agree with the first."""
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
    for finding in update["findings"]:
        agrees = finding["label"] == before[finding["image"]]["label"]
        taken = "agrees" if agrees else "differs"
        reason = f"second look {taken} ({100 * finding['confidence']:.0f} %)"
        update["decisions"].append(
            decision(state["work"], "second_look", taken, value=finding["image"], reason=reason)
        )
    update["messages"] = [message, *update["messages"]]
    update["work"]["counts"] = spent(state["work"], *(f"reclassify:{image}" for image in images))
    return update
