"""One held-back dialogue, played: the script asks and answers, the model alone decides what to call."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agent.named import Heard, completed_args
from ..graph_schema.folding import normalise
from ..graph_schema.linking import FLOOR
from ..graph_schema.text import rank_names
from ..training.generalist.dialogues import Call, Message

CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.S)
REMEMBERED = 2
"""So often in a turn may a model call for what the conversation holds, and for nothing else."""
_LONGEST = 8
Key = tuple[str, str]


def canonical(args: Mapping[str, Any]) -> str:
    """Writes arguments in one form; a list of diseases is a set, whose order asks nothing else."""
    plain = {k: sorted({x.strip() for x in v}) if isinstance(v, list) else v for k, v in args.items()}
    return json.dumps(plain, sort_keys=True)


def parse_calls(text: str) -> list[Key] | None:
    """Reads calls as (name, canonical arguments); None when one is malformed or does not end."""
    found: list[Key] = []
    if text.count("<tool_call>") != text.count("</tool_call>"):
        return None
    for body in CALL.findall(text):
        try:
            call = json.loads(body)
            found.append((call["name"], canonical(call["arguments"])))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    return found


def key(call: Call) -> Key:
    """The canonical form of a scripted call."""
    return call.name, canonical(call.args)


def linked(name: str, names: Sequence[str]) -> str:
    """The one of `names` that linking finds by `name`, exactly first, if it finds one."""
    if same := [n for n in names if normalise(n) == normalise(name)]:
        return name if name in same else same[0]
    rows = [{"label": "Disease", "id": n, "name": n, "term": normalise(n)} for n in names]
    best = rank_names(name, rows, 1)
    return str(best[0]["name"]) if best and best[0]["score"] >= FLOOR else name


@dataclass
class Player:
    """One dialogue being played: the script, what has been said, where it stands.

    Attributes:
        script: The dialogue.
        lexicon: Folded names of all diseases that the graph of this dialogue is said to know.
        said: The conversation so far, the model's own words in it.
        answers: (prose, scripted message, calls so far) of every answer after right calls.
        results: (kind of turn, right as it reaches the tools, right to the word, expected, made) a turn.
    """

    script: list[Message]
    lexicon: Collection[str]
    said: list[Message] = field(default_factory=list)
    at: int = 0
    expected: list[list[Key]] = field(default_factory=list)
    made: list[list[Key] | None] = field(default_factory=list)
    answers: list[tuple[str, Message, list[Call]]] = field(default_factory=list)
    results: list[tuple[str, bool, bool, list[Any], list[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._names = sorted({d for m in self.script for c in m.calls for d in c.args.get("diseases", [])})
        self._own = {normalise(name) for name in self._names}
        self._named: list[str] = []
        self._known: dict[Key, Call] = {}

    def advance(self) -> bool:
        """Plays scripted messages up to the next thing the model must write; False at the end."""
        while self.at < len(self.script):
            message = self.script[self.at]
            if message.target:
                return True
            if message.role == "user":
                self._begin(message)
            self._learn(message.calls)
            if message.role != "tool" or self._scripted_tool(self.at):
                self.said.append(message)
            self.at += 1
        return False

    def _begin(self, message: Message) -> None:
        """A turn begins."""
        self._kind, self.expected, self.made = message.kind, [], []
        self._good = self._exact = True
        self._again = 0
        self._text, self._mentions = message.text, self._hear(message.text)

    def _skip(self) -> None:
        """Goes on to the next turn."""
        self.at += 1
        while self.at < len(self.script) and self.script[self.at].role != "user":
            self.at += 1

    def _scripted_tool(self, at: int) -> bool:
        while self.script[at].role == "tool":
            at -= 1
        return not self.script[at].target

    def _knows(self, name: str) -> bool:
        return normalise(name) in self._own or normalise(name) in self.lexicon

    def _hear(self, text: str) -> list[str]:
        """Takes in the names that stand in a text, the longest where names overlap, and returns them."""
        words, taken, heard = normalise(text).split(), set[int](), list[str]()
        spans = [(i, j) for i in range(len(words)) for j in range(i + 1, min(i + _LONGEST, len(words)) + 1)]
        for i, j in sorted(spans, key=lambda s: s[0] - s[1]):
            name = " ".join(words[i:j])
            if taken.isdisjoint(range(i, j)) and self._knows(name):
                taken.update(range(i, j))
                heard.append(name)
        self._named += heard
        return heard

    def _learn(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self._known[key(call)] = call
            self._named += [row.subject for row in call.rows]
            if call.outcome == "finding":
                self._hear(call.result)

    def _read(self, call: Key) -> Key:
        """A call as it reaches the tools: names completed from the conversation, then linked."""
        heard = Heard(self._named, self._mentions, self._text)
        args = completed_args(json.loads(call[1]), heard, self._knows)
        for i, asked in enumerate(args.get("diseases", [])):
            args["diseases"][i] = linked(asked, self._names)
        return call[0], canonical(args)

    def _as_read(self, written: Sequence[Key]) -> list[Key]:
        return list(dict.fromkeys(map(self._read, written)))

    def _held(self, call: Key) -> bool:
        """Whether the state machine answers a call from the conversation, without the graph."""
        known = self._known.get(call)
        return (
            known is not None and known.outcome in ("rows", "finding") and not known.args.get("second_look")
        )

    def take(self, text: str) -> None:
        """Takes what the model wrote at a point where the script has a target."""
        message = self.script[self.at]
        expected = sorted(key(c) for c in message.calls)
        written = parse_calls(text)
        self.expected.append(expected)
        self.made.append(None if written is None else sorted(written))
        self._exact = self._exact and written is not None and sorted(written) == expected
        calls = None if written is None else self._as_read(written)
        held = [call for call in calls or () if self._held(call)]
        right = calls is not None and sorted(set(calls) - set(held)) == expected
        if calls and not expected:
            self._again += 1
            right = right and self._again <= REMEMBERED
        if right and calls:
            asked = {key(c): c for c in message.calls}
            self._answer([self._known[c] if c in held else asked[c] for c in calls])
            self.at += bool(expected)
            return
        self._good = self._good and right
        prose = CALL.sub("", text).strip()
        self.said.append(Message("assistant", prose))
        self.results.append((self._kind, self._good, self._good and self._exact, self.expected, self.made))
        if right:
            self.answers.append((prose, message, list(self._known.values())))
        self._skip()

    def _answer(self, calls: list[Call]) -> None:
        """Puts calls and what they return into the conversation."""
        self.said.append(Message("assistant", calls=calls))
        self.said += [Message("tool", call.result) for call in calls]
        self._learn(calls)
