"""Which tools a turn must have called before it may speak: a pure function of the turn."""

from __future__ import annotations

from dataclasses import dataclass

from ..tools.classify import NAME as CLASSIFY
from ..tools.concepts.tools import OPINIONS
from ..tools.experts import SEEN
from ..tools.knowledge import NAME as QUERY
from .state import State, latest_findings, of_turn

MEDICAL = "medical"
MAX_TRIES = 2
"""After so many fruitless fetches, or so many vain attempts to force it, a call is no longer owed."""


@dataclass(frozen=True)
class Turn:
    """What decides the must-calls.

    Attributes:
        medical: Whether the words or a picture ask for something medical.
        unseen: Pictures of this turn that the specialist was not asked about.
        intents: Named queries that the words ask for.
        subjects: CURIEs the turn is about.
        known: (query, CURIE) pairs that the thread holds facts for.
        fetched: Whether a fetch of this turn gave facts, or an expert measures and no fact was asked for.
        tries: Fetches of this turn, fruitless ones too.
        refused: Tools that the model was forced to call in vain, too often.
    """

    medical: bool
    unseen: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    known: frozenset[tuple[str, str]] = frozenset()
    fetched: bool = False
    tries: int = 0
    refused: frozenset[str] = frozenset()


def must_calls(turn: Turn) -> tuple[str, ...]:
    """Names the tools that are owed, in the order they should run.

    A picture that was not classified owes the specialist. A medical turn that is about something owes the
    knowledge graph, unless this turn fetched facts or the thread holds them already. Else nothing is owed.
    """
    owed = []
    if turn.unseen and CLASSIFY not in turn.refused:
        owed.append(CLASSIFY)
    about = bool(turn.subjects or turn.unseen)
    if turn.medical and about and not turn.fetched and turn.tries < MAX_TRIES and not covered(turn):
        if QUERY not in turn.refused:
            owed.append(QUERY)
    return tuple(owed)


def covered(turn: Turn) -> bool:
    """Whether the thread holds facts for everything the words ask for, about something the turn is about."""
    return bool(turn.subjects) and all(
        any((intent, subject) in turn.known for subject in turn.subjects)
        for intent in turn.intents or ("describe",)
    )


def turn_of(state: State) -> Turn:
    """Reads the turn in progress from the state."""
    work = state["work"]
    number, counts = work["turn"], work.get("counts", {})
    done = of_turn(state.get("tool_calls", []), number)
    asked = {str(call["args"].get("image")) for call in done if call["name"] == CLASSIFY}
    seen = asked | set(latest_findings(state))
    here = of_turn(state.get("retrievals", []), number)
    fetches = [entry for entry in here if not entry["widening"] and entry["outcome"] != SEEN]
    widened = any(e["outcome"] == "rows" for e in here if e["widening"] and e["query"] == "differential")
    intents = tuple(work.get("intents", []))
    failed = sum(call["name"] == QUERY and call["status"] == "error" for call in done)
    return Turn(
        medical=work["kind"] == MEDICAL,
        unseen=tuple(image for image in work.get("attached", []) if image not in seen),
        intents=intents,
        subjects=tuple(work.get("subjects", [])),
        known=known_facts(state),
        fetched=any(entry["outcome"] == "rows" for entry in fetches)
        or (widened and set(intents) <= {"describe", "differential"})
        or (not intents and any(e["outcome"] == SEEN and e["query"] not in OPINIONS for e in here)),
        tries=len(fetches) + failed,
        refused=frozenset(name for name in (CLASSIFY, QUERY) if counts.get(f"force:{name}", 0) > MAX_TRIES),
    )


def known_facts(state: State) -> frozenset[tuple[str, str]]:
    """(query, CURIE) pairs the thread holds facts for; a differential counts for both diseases."""
    pairs = set()
    for row in state.get("evidence", []):
        pairs.add((row["query"], row.get("subject_curie", "")))
        if row["query"] == "differential":
            pairs.add((row["query"], row.get("object_curie", "")))
    return frozenset(pairs)
