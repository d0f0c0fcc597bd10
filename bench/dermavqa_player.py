"""One real question, played: the model alone decides what to call; how the calls are scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from ..graph_schema.multihop import TREATMENT_PAIRS
from ..tools.classify import NAME as CLASSIFY
from ..tools.classify import classify_tool
from ..tools.experts import Memo
from ..tools.knowledge import NAME as QUERY
from ..tools.knowledge import knowledge_tool
from ..tools.render import render_error, render_no_rows, render_rows
from ..training.generalist.dialogues import Call, Message
from ..training.generalist.findings import Finding
from ..training.generalist.world import World
from .generalist_player import CALL, Key, parse_calls

IMAGE = "img1"
ROUNDS = 6
"""So often a model may call before it must have spoken."""
MAX_ROWS = 5
ANSWERS = {"identify": ("describe", "differential")}
"""Named queries that answer an intent, where it is not the query of its own name: what a thing is, is told by
describing it, or by what tells it from the disease that the patient named."""

LOOKED = "classify_lesion called on the picture"
INTENT = "intents asked for that were queried"
DISEASE = "right disease in a query"
BOTH = "intents asked for, queried on the right disease"
PRECISE = "queries that name the right disease"
EXTRA = "queries that nothing asked for"
SILENT = "no classify_lesion where there is no picture"

End = Literal["", "prose", "malformed", "rounds", "context"]
Same = Callable[[str, Sequence[str]], bool]
"""Whether a name in a call means one of the others."""


@dataclass(frozen=True)
class Question:
    """A patient's question with its labels.

    Attributes:
        encounter: Its id in DermaVQA.
        split: `valid` or `train`.
        asks: Intents: "identify" or names of queries.
        named: Diseases that the text names as what it is or may be, by plain names.
        urgent: The level that the words alone warrant; empty where they tell nothing to judge by.
        text: Title and content.
    """

    encounter: str
    split: str
    asks: tuple[str, ...]
    named: tuple[str, ...]
    urgent: str
    text: str


def _absent(*_: Any) -> Any:
    raise AssertionError("a tool of which only the arguments are read was run")


@cache
def _arguments(pictures: tuple[str, ...]) -> dict[str, TypeAdapter[Any]]:
    """What the two tools take, as the product declares it."""
    look = classify_tool(
        specialist=_absent, open_image=_absent, pictures=pictures, threshold=1.0, sha256={}, memo=Memo()
    )
    fetch = knowledge_tool(knowledge=_absent, max_rows=MAX_ROWS)
    return {tool.name: TypeAdapter(tool.args_schema) for tool in (look, fetch)}


def read_calls(text: str, pictures: tuple[str, ...]) -> list[Key] | None:
    """Reads a message's calls, none for prose; None when one is no call of a tool with fitting arguments."""
    calls = parse_calls(text)
    if calls is None or text.count("<tool_call>") != len(CALL.findall(text)):
        return None
    takes = _arguments(pictures)
    try:
        for name, args in calls:
            takes[name].validate_json(args)
    except (KeyError, ValidationError):
        return None
    return calls


@dataclass
class Conversation:
    """A question being played: a `Talk` of `bench.generalist`, answered with made-up medicine.

    Attributes:
        question: What is asked.
        world: Answers the queries.
        finding: What the specialist says of the picture; None without a picture.
        picture: Its index in the bank.
        fits: Whether a conversation leaves room for the model to go on.
        said: The conversation so far, nothing of it cut.
        calls: All distinct calls, in order.
        written: Messages with calls.
        well: Those of which every call can be run as it is written. Another one ends the turn.
        end: Why the turn ended: prose, a malformed call, `ROUNDS` of calls, or no room in the context.
    """

    question: Question
    world: World
    finding: Finding | None
    picture: int | None
    fits: Callable[[Sequence[Message]], bool]
    said: list[Message] = field(default_factory=list)
    calls: list[Key] = field(default_factory=list)
    written: int = 0
    well: int = 0
    end: End = ""

    def __post_init__(self) -> None:
        images = [] if self.picture is None else [(IMAGE, self.picture)]
        self._pictures = tuple(name for name, _ in images)
        self.said.append(Message("user", self.question.text, images=images))

    def advance(self) -> bool:
        """Whether the model goes on."""
        if not self.end and self.written >= ROUNDS:
            self.end = "rounds"
        elif not self.end and not self.fits(self.said):
            self.end = "context"
        return not self.end

    def take(self, text: str) -> None:
        """Takes what the model wrote: calls are answered, prose ends the turn."""
        if "<tool_call>" not in text:
            self.end = "prose"
            return
        self.written += 1
        calls = read_calls(text, self._pictures)
        if calls is None:
            self.end = "malformed"
            return
        self.well += 1
        self.calls = list(dict.fromkeys([*self.calls, *calls]))
        answered = [
            Call(name, json.loads(args), self._answer(name, json.loads(args))) for name, args in calls
        ]
        self.said.append(Message("assistant", calls=answered))
        self.said += [Message("tool", call.result) for call in answered]

    def _answer(self, name: str, args: dict[str, Any]) -> str:
        if name == CLASSIFY:
            if self.finding is None:
                return render_error(f"There is no picture {args['image']} in this conversation.")
            return self.finding.render(bool(args.get("second_look")))
        query, diseases = args["query"], args["diseases"]
        if query in TREATMENT_PAIRS and len(diseases) != 2:
            return render_error(f"{query} takes two diseases.")
        rows = self.world.rows(query, diseases, MAX_ROWS)
        return render_rows(rows) if rows else render_no_rows(query, diseases)


def right_diseases(question: Question, finding: Finding | None) -> list[str]:
    """What a query may be about: what the patient named, and the finding's first label."""
    top = [finding.shares[0][0]] if finding and finding.in_scope else []
    return [*question.named, *top]


def score(
    question: Question, finding: Finding | None, calls: Sequence[Key], same: Same
) -> dict[str, tuple[int, int]]:
    """Scores the calls of one turn.

    Looking at the picture is always right where the patient asks what it is or names nothing; elsewhere it is
    not scored. Queries are owed where there is a disease to ask for: not where the patient names none and the
    picture is out of the specialist's scope. A differential is never too much once there is a finding: the
    dialogues teach it for an unsure one, and for one that is not what the patient named.

    Args:
        question: With its labels.
        finding: What was answered for the picture; None without a picture.
        calls: What was called, each once.
        same: Compares names.

    Returns:
        Hits and cases by row of the table; rows that do not apply are left out.
    """
    read = [(name, json.loads(args)) for name, args in calls]
    looked = any(name == CLASSIFY and args["image"] == IMAGE for name, args in read)
    queries = [(args["query"], args["diseases"]) for name, args in read if name == QUERY]
    if finding is None:
        return {SILENT: (int(not any(name == CLASSIFY for name, _ in read)), 1)}
    right = right_diseases(question, finding)
    fetched = {query for query, _ in queries}
    on = [query for query, names in queries if any(same(name, right) for name in names)]
    wanted = [set(ANSWERS.get(intent, (intent,))) for intent in question.asks]
    allowed = set[str]().union(*wanted or [{"describe"}])
    allowed |= {"differential"} if finding.in_scope else set()
    counts = {
        PRECISE: (len(on), len(queries)),
        EXTRA: (sum(query not in allowed for query, _ in queries), len(queries)),
    }
    if "identify" in question.asks or not question.named:
        counts[LOOKED] = (int(looked), 1)
    if right and wanted:
        counts[INTENT] = (sum(bool(fetched & names) for names in wanted), len(wanted))
        counts[DISEASE] = (int(bool(on)), 1)
        counts[BOTH] = (sum(bool(set(on) & names) for names in wanted), len(wanted))
    return counts
