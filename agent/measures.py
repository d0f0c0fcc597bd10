"""Questions for measures of a lesion: the call that the graph owes them, and the statements it gives."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage

from ..tools.concepts.tools import OPINIONS
from ..tools.experts import SEEN
from ..tools.measure import NAME
from .answer import Overlay, Statement
from .signs import graph_call
from .state import State, latest_findings, of_turn
from .turn_kind import asks_to_measure


def owed_measures(state: State) -> AIMessage | None:
    """The measuring that words ask for, once a turn: of this turn's picture, else the last in scope."""
    work = state["work"]
    if not asks_to_measure(work["text"]):
        return None
    inside = [image for image, finding in latest_findings(state).items() if finding["in_scope"]]
    image = next((i for i in work.get("attached", []) if i in inside), inside[-1] if inside else "")
    done = {call["name"] for call in of_turn(state.get("tool_calls", []), work["turn"])}
    return graph_call(NAME, {"image": image}) if image and NAME not in done else None


def seen_rows(state: State, *, asked: bool = False) -> list[dict[str, object]]:
    """What experts saw in this turn on pictures that can be judged, as rows, each once.

    Args:
        state: The thread.
        asked: Only measures, and not the opinions beside a finding, which answer no question alone.
    """
    inside = {image for image, finding in latest_findings(state).items() if finding["in_scope"]}
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in of_turn(state.get("retrievals", []), state["work"]["turn"]):
        told = entry["query"] not in OPINIONS or (not asked and entry["image"] in inside)
        if entry["outcome"] == SEEN and told:  # the last look at a picture is the one that counts
            entries[entry["query"], entry["image"]] = entry
    ids = dict.fromkeys(fact_id for entry in entries.values() for fact_id in entry["fact_ids"])
    rows = {row["fact_id"]: row for row in state.get("evidence", [])}
    return [rows[fact_id] for fact_id in ids]


def measured(state: State, cited: set[str], *, asked: bool = False) -> list[Statement]:
    """Rows of experts as statements, word for word; those that the generalist has said are left out."""
    return [
        Statement(text=str(row["statement"]), citations=[str(row["fact_id"])], kind="finding")
        for row in seen_rows(state, asked=asked)
        if row["fact_id"] not in cited
    ]


def overlays(state: State) -> list[Overlay]:
    """Pictures that experts drew in this turn."""
    return [
        Overlay(tool=entry["query"], image=entry["image"], sha256=entry["picture"])
        for entry in of_turn(state.get("retrievals", []), state["work"]["turn"])
        if entry["outcome"] == SEEN and entry.get("picture")
    ]
