"""What the dual encoder adds where the specialist is unsure: an opinion, and signs to search the graph by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage

from ..tools.concepts.tools import ANNOTATE, MOST, ZERO_SHOT
from ..tools.conditions import NAME as CONDITIONS
from .signs import ASIDE, graph_call
from .state import Work, decision

Update = dict[str, Any]


def comparison(finding: Mapping[str, Any], names: Mapping[str, str]) -> AIMessage | None:
    """The comparison of a finding's shortlist by names and signs; None when it leaves one name or none."""
    open_labels = [names[label] for label in finding["prediction_set"][:MOST]]
    if len(open_labels) < 2:
        return None
    return graph_call(ZERO_SHOT, {"image": finding["image"], "diseases": open_labels}, ASIDE)


def opinion(work: Work, update: Update, label: str) -> list[Update]:
    """Whether the comparison finds the specialist's likeliest the likeliest; nothing where it failed."""
    if not update["retrievals"]:
        return []
    entry = update["retrievals"][0]
    taken = "agrees" if entry["diseases"][0] == label else "differs"
    reason = f"{entry['image']} by names and signs: {entry['diseases'][0]}"
    return [decision(work, "zero_shot", taken, value=entry["image"], reason=reason)]


def annotation(image: str) -> AIMessage:
    """The call that finds the visual concepts of a picture."""
    return graph_call(ANNOTATE, {"image": image}, ASIDE)


def search(update: Update) -> AIMessage | None:
    """The search among the shortlist for what fits the concepts of a picture; one sign says too little."""
    signs = [sign for entry in update["retrievals"] for sign in entry.get("signs", ())]
    return graph_call(CONDITIONS, {"signs": signs, "sites": []}, ASIDE) if len(signs) > 1 else None


def fit(work: Work, update: Update) -> list[Update]:
    """Which conditions fit the concepts; nothing where the search failed."""
    if not update["retrievals"]:
        return []
    call, entry = update["tool_calls"][0], update["retrievals"][0]
    found = ", then ".join(entry["diseases"]) or "nothing clearly"
    reason = f"{', '.join(call['args']['signs'])}: fits {found}"
    return [decision(work, "concepts", "consult", value=float(len(entry["diseases"])), reason=reason)]
