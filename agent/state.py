"""What a thread remembers: plain values only, a few kilobytes a turn."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from pydantic import Field
from typing_extensions import TypedDict


class ImageRef(TypedDict):
    """A picture of the thread; its bytes are in the `ImageStore`."""

    id: str
    sha256: str
    source_sha256: str
    width: int
    height: int
    turn: int


class Work(TypedDict, total=False):
    """The turn in progress; `intake` starts a new one.

    Attributes:
        turn: Number of the turn, from 1.
        text: The user's words.
        kind: From `turn_kind`, for example medical or greeting.
        intents: Named queries that the words ask for.
        subjects: CURIEs the turn is about, from the words, the findings or the thread.
        topics: Names of `subjects`, for a call that the graph forces.
        mentions: Names of diseases in the user's own words.
        told: Signs and sites to find conditions for: the words ask for one and name none.
        counts: Budget spent, by name (`tool_rounds`, `force:NAME`, `reclassify:IMAGE`, `widen`, `revisions`).
        pending: Pictures whose new findings `weigh` has not seen.
        verdicts: `sure`, `unsure` or `out_of_scope` by picture.
        force: Tool that the next model call must use.
        draft: The generalist's statements.
        feedback: Why statements of the draft were refused, for a revision.
        best: The best reviewed draft so far.
        stop: Why the turn cannot be answered, as a key of the refusal texts with its detail.
        urgency: Level and rules so far.
        ms: Milliseconds by node.
        attached: Pictures that came with this turn.
    """

    turn: int
    text: str
    kind: str
    intents: list[str]
    subjects: list[str]
    topics: list[str]
    mentions: list[str]
    told: dict[str, list[str]]
    counts: dict[str, int]
    pending: list[str]
    verdicts: dict[str, str]
    force: str
    draft: str
    feedback: list[str]
    best: dict[str, Any]
    stop: dict[str, str]
    urgency: dict[str, Any]
    ms: dict[str, float]
    attached: list[str]


class InputState(TypedDict, total=False):
    """What a caller sends for one turn."""

    messages: Annotated[
        list[AnyMessage],
        add_messages,
        Field(description="The user's message; pictures as image blocks with base64 data."),
    ]
    images: Annotated[list[Any], Field(description="More pictures: base64 text or data URLs.", max_length=8)]
    patient: Annotated[
        dict[str, Any],
        operator.or_,
        Field(
            description="Known about the patient: age, sex, site, duration, changed, bleeds, itches, hurts."
        ),
    ]


class OutputState(TypedDict, total=False):
    """What a caller gets: the conversation and the last turn's `ClarifyAnswer` as plain JSON values."""

    messages: Annotated[list[AnyMessage], add_messages]
    answer: dict[str, Any]


class State(TypedDict, total=False):
    """The whole thread. Lists grow by turn; every entry names its turn."""

    messages: Annotated[list[AnyMessage], add_messages]
    images: list[Any]
    patient: Annotated[dict[str, Any], operator.or_]
    pictures: Annotated[list[ImageRef], operator.add]
    findings: Annotated[list[dict[str, Any]], operator.add]
    evidence: Annotated[list[dict[str, Any]], operator.add]
    retrievals: Annotated[list[dict[str, Any]], operator.add]
    decisions: Annotated[list[dict[str, Any]], operator.add]
    tool_calls: Annotated[list[dict[str, Any]], operator.add]
    work: Work
    answer: dict[str, Any]


def of_turn(entries: list[dict[str, Any]] | None, turn: int) -> list[dict[str, Any]]:
    """The entries of one turn."""
    return [entry for entry in entries or [] if entry["turn"] == turn]


def latest_findings(state: State) -> dict[str, dict[str, Any]]:
    """The finding that counts for each picture of the thread: the last one."""
    return {finding["image"]: finding for finding in state.get("findings", [])}


def decision(
    work: Work,
    rule: str,
    taken: str,
    *,
    value: float | str | None = None,
    threshold: float | None = None,
    reason: str = "",
) -> dict[str, Any]:
    """Makes an entry of `State.decisions`: a `Decision` with its turn."""
    rest = {"value": value, "threshold": threshold, "reason": reason or None}
    kept = {key: entry for key, entry in rest.items() if entry is not None}
    return {"turn": work["turn"], "rule": rule, "taken": taken, **kept}


def spent(work: Work, *names: str) -> dict[str, int]:
    """The turn's counts with one more of each name."""
    counts = dict(work.get("counts", {}))
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
