"""One held-back dialogue in which the model decides what is called; the answers are the script's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..agent.must_calls import MEDICAL, Turn, must_calls
from ..agent.turn_kind import intents, turn_kind
from ..graph_schema.folding import normalise
from ..tools.classify import NAME as CLASSIFY
from ..tools.knowledge import NAME as QUERY
from ..tools.render import OUT_OF_SCOPE, render_error, render_no_rows, render_unknown_disease
from ..training.generalist.dialogues import Call, Message
from .generalist_player import REMEMBERED, Key, Player, key, parse_calls

MOST_STEPS = 6
"""After so many messages of calls in a turn the model is taken to go on for ever."""
AGAIN = f"{QUERY} again"
Steps = list[list[Key]]
_NEVER: Key = ("", "")
"""Stands for a call that cannot be read, or for one too many; no tool has that name."""


@dataclass
class Played:
    """One turn of a dialogue.

    Attributes:
        kind: What the script calls the turn.
        expected: The script's calls, step by step; those of one step run in parallel.
        made: The model's, as they reach the tools, without those that the conversation answers.
        written: The model's to the word, all of them.
        forced: The tools that the graph would have had to ask for by name; `AGAIN` where the model had asked
            for facts and was content that there are none, which the graph is not.
    """

    kind: str
    expected: Steps
    made: Steps = field(default_factory=list)
    written: Steps = field(default_factory=list)
    forced: set[str] = field(default_factory=set)

    def verdict(self) -> dict[str, bool]:
        """What is right of it, each alone: order is that of the tools, whatever they are asked."""

        def counted(steps: Steps, part: int) -> Counter[str]:
            return Counter(call[part] for step in steps for call in step)

        def names(steps: Steps) -> list[list[str]]:
            return [sorted(name for name, _ in step) for step in steps]

        return {
            "all three": _sorted(self.made) == self.expected,
            "tool": counted(self.made, 0) == counted(self.expected, 0),
            "arguments": counted(self.made, 1) == counted(self.expected, 1),
            "order": names(self.made) == names(self.expected),
            "first calls": _sorted(self.made[:1]) == self.expected[:1],
            "to the word": _sorted(self.written) == self.expected,
        }


def _sorted(steps: Steps) -> Steps:
    return [sorted(step) for step in steps]


def own_steps(script: Sequence[Message], at: int) -> Steps:
    """The calls that the model owes in the turn whose question stands at `at`, step by step."""
    found: Steps = []
    for message in script[at + 1 :]:
        if message.role == "user":
            break
        if message.target and message.calls:
            found.append(sorted(map(key, message.calls)))
    return found


class CallPlayer(Player):
    """Plays a dialogue with the model's calls and the script's answers.

    A right call is answered by the script, and the graph's own steps follow it. A wrong one is answered as
    the tools would: with the script's result where the script has that call, else that nothing was found.
    With the first word of prose the turn ends, and the script's answer takes that word's place.

    Attributes:
        turns: What became of every turn begun so far.
    """

    def __post_init__(self) -> None:
        """Prepares the reading of names."""
        super().__post_init__()
        self.turns: list[Played] = []
        self._scripted = {key(call): call for message in self.script for call in message.calls}
        self._subjects: list[str] = []

    def _begin(self, message: Message) -> None:
        super()._begin(message)
        self.turns.append(Played(message.kind, own_steps(self.script, self.at)))
        self._attached = [image for image, _ in message.images]
        self._medical = MEDICAL == turn_kind(
            message.text,
            has_image=bool(message.images),
            thread_has_subject=bool(self._subjects),
            mentions=self._mentions,
        )
        asked = intents(message.text, len(set(self._mentions)))
        self._intents = tuple(dict.fromkeys("describe" if name == "identify" else name for name in asked))
        self._subjects = self._mentions or ([] if self._attached else self._subjects)
        self._seen: set[str] = set()
        self._fetches: list[Call] = []
        self._widened = False

    def _owed(self) -> tuple[str, ...]:
        """What the graph holds to be owed now; a name stands for its node, told signs are left out."""
        unseen = tuple(image for image in self._attached if image not in self._seen)
        if self._attached and not unseen and not self._subjects:
            return ()  # out of scope: the graph ends the turn itself
        pairs = {
            (str(call.args["query"]), normalise(name))
            for call in self._known.values()
            if call.name == QUERY and call.outcome == "rows"
            for name in call.args["diseases"]
        }
        return must_calls(
            Turn(
                medical=self._medical,
                unseen=unseen,
                intents=self._intents,
                subjects=tuple(map(normalise, self._subjects)),
                known=frozenset(pairs),
                fetched=any(call.outcome == "rows" for call in self._fetches)
                or (self._widened and set(self._intents) <= {"describe", "differential"}),
                tries=len(self._fetches),
            )
        )

    def _learn(self, calls: Sequence[Call]) -> None:
        super()._learn(calls)
        for call in calls:
            if call.name == CLASSIFY:
                self._seen.add(str(call.args.get("image")))
                self._subjects = [*self._mentions, *_left_open(call.result)]
            elif not self.script[self.at].target:
                self._widened |= call.outcome == "rows"
            else:
                self._fetches.append(call)

    def take(self, text: str) -> None:
        """Takes what the model wrote: a message of calls, or no more than how its prose begins."""
        turn, message = self.turns[-1], self.script[self.at]
        written = parse_calls(text)
        calls = [] if written is None else self._as_read(written)
        owed = self._owed()
        if owed and not {name for name, _ in calls} & set(owed):
            turn.forced.add(AGAIN if owed[0] == QUERY and self._fetches else owed[0])
        if written is None:
            turn.made.append([_NEVER])
            turn.written.append([_NEVER])
        if not calls:
            return self._end()
        turn.written.append(list(written or ()))
        new = [call for call in calls if not self._held(call)]
        if new:
            turn.made.append(new)
        if len(turn.made) > MOST_STEPS or len(turn.written) - len(turn.made) > REMEMBERED:
            turn.made.append([_NEVER])
            return self._end()
        asked = {key(call): call for call in message.calls}
        self._answer([asked[call] if call in asked else self._result(call) for call in calls])
        if new and set(new) == set(asked):
            self.at += 1

    def _result(self, call: Key) -> Call:
        """What a call that the script does not want here returns."""
        if self._held(call):
            return self._known[call]
        if call in self._scripted:
            return self._scripted[call]
        name, args = call[0], json.loads(call[1])
        if name == CLASSIFY:
            shown = {image for message in self.said for image, _ in message.images}
            image = str(args.get("image"))
            text = f"{image}: {OUT_OF_SCOPE}" if image in shown else render_error(f"no picture {image}")
            return Call(name, args, text, outcome="out_of_scope" if image in shown else "error")
        asked = args.get("diseases")
        if name != QUERY or not isinstance(asked, list) or "query" not in args:
            return Call(name, args, render_error("no such call"), outcome="error")
        strange = [disease for disease in asked if not self._knows(disease)]
        if strange or not asked:
            return Call(name, args, render_unknown_disease("".join(strange[:1])), outcome="unknown")
        return Call(name, args, render_no_rows(str(args["query"]), asked), outcome="none")

    def _end(self) -> None:
        """The turn ends with the answer that the script has for it."""
        self._skip()
        last = self.script[self.at - 1]
        if last.role == "assistant" and not last.calls:
            self.said.append(last)


def _left_open(finding: str) -> list[str]:
    """The names that a finding leaves open: the first of a sure one, else its shortlist."""
    _, shown, shortlist = finding.partition("; shortlist ")
    names = shortlist.split(", ") if shown else []
    return names[:1] if "; sure" in finding else names
