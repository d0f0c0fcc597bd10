"""Dialogues that teach when to call what, and to say rows in sentences (after VILA-M3, arXiv 2411.12915).

A dialogue is a list of messages as the state machine sends them; the policy below decides the right calls
from what
is known, the made-up `World` answers them, and the sentences follow `phrasing.toml`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from ...graph_schema.multihop import TREATMENT_PAIRS
from ...graph_schema.protocol import FactRow
from ...tools.render import render_error, render_no_rows, render_rows, render_unknown_disease
from .findings import Finding, finding_of, say_finding
from .phrasing import PHRASING, refused, say_rows
from .wording import Wording, joined
from .world import Split, World

Kind = Literal["lesion", "skin_other", "not_skin"]
INTENTS = ("describe", "signs", "treatment", "causes", "tests", "prognosis", "differential", "urgency")

KINDS = {"train": (0.62, 0.22, 0.16), "test": (0.78, 0.07, 0.15)}
"""Shares of lesions, other skin and what is no skin; other skin, which is rare, is learnt from more often."""
PAIR_QUERIES = ("differential", *TREATMENT_PAIRS)


class Pictures(Protocol):
    """Gives pictures to dialogues."""

    def draw(self, rng: random.Random, kind: Kind, split: Split) -> tuple[int, Mapping[str, float] | None]:
        """Returns a picture's index and, where the specialist judged it, its probabilities by name."""


@dataclass
class Call:
    """A tool call and what it returned."""

    name: str
    args: dict[str, Any]
    result: str = ""
    rows: list[FactRow] = field(default_factory=list)
    outcome: Literal["rows", "none", "unknown", "error", "finding", "out_of_scope"] = "rows"


@dataclass
class Message:
    """One message; `target` marks what the model is trained to write, `calls` what it must call."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    images: list[tuple[str, int]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    target: bool = False
    kind: str = ""


class DialogueMaker:
    """Writes one dialogue at a time.

    Args:
        split: Which wordings, names and pictures are used.
        names, phrases, labels: As `World` takes them.
        pictures: Where pictures come from, or None for text-only dialogues.
        brief: Share of dialogues with one short row a question, some of them ending at their last call:
            deciding what to call is learnt from many questions, saying rows from long answers.
        cut: Of the brief ones, the share that ends at the last call.
    """

    def __init__(
        self,
        split: Split,
        names: dict[str, list[str]],
        phrases: list[str],
        labels: list[str],
        pictures: Pictures | None,
        brief: float = 0.0,
        cut: float = 0.5,
    ) -> None:
        self.split = split
        self.wording = Wording(split)
        self.brief, self.cut = brief, cut
        self._world_args = (names, phrases, labels)
        self.pictures = pictures

    def make(self, rng: random.Random, kinds: Sequence[Kind] = ()) -> list[Message]:
        """Makes a dialogue of one to four turns, or of a turn for a picture of each of `kinds`.

        Of these the questions follow from `rng` alone, whatever the last picture is, if `pictures` leaves it
        be; and what is no skin is then never shown to the specialist.
        """
        brief = self.brief > 0 and rng.random() < self.brief
        messages = _Dialogue(self, rng, self.world(rng, brief)).run(kinds)
        last = max((i for i, m in enumerate(messages) if m.target and m.calls), default=0)
        return messages[: last + 1] if brief and last and rng.random() < self.cut else messages

    def world(self, rng: random.Random, brief: bool = False) -> World:
        """The made-up medicine of one dialogue."""
        return World(rng, self.split, *self._world_args, brief=brief)

    def finding(
        self, rng: random.Random, world: World, image: str, kind: Kind, given: Mapping[str, float] | None
    ) -> Finding:
        """What the specialist says of a picture in a dialogue.

        Args:
            rng: Source of all choices.
            world: Where other labels than the specialist's come from.
            image: The picture's id in the dialogue.
            kind: What the picture shows; all but a lesion is out of scope.
            given: What the specialist really said of it, from `Pictures.draw`.
        """
        return _Dialogue(self, rng, world)._finding(image, kind, given)


class _Dialogue:
    def __init__(self, maker: DialogueMaker, rng: random.Random, world: World) -> None:
        self.maker, self.rng, self.world = maker, rng, world
        self.messages: list[Message] = []
        self.known: dict[tuple[str, tuple[str, ...]], Call] = {}
        self.images = 0
        self.subject: str | None = None

    # -- questions

    def _pick(self, group: str, intent: str, **slots: str) -> str:
        return self.maker.wording.pick(self.rng, group, intent, **slots)

    def _dress(self, text: str) -> str:
        rng = self.rng
        if rng.random() < 0.2:
            text = f"{self._pick('prefix', 'any')} {text}"
        if rng.random() < 0.15:
            text = f"{text} {self._pick('suffix', 'any')}"
        roll = rng.random()
        if roll < 0.06:
            text = text.lower()
        elif roll < 0.09:
            text = text.rstrip("?.! ")
        if rng.random() < 0.06 and len(text) > 12:
            i = rng.randrange(1, len(text) - 2)
            if text[i].isalpha() and text[i + 1].isalpha() and self.subject is None:
                text = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
        return text

    def _intents(self) -> list[str]:
        intents = [self.rng.choice(INTENTS)]
        if self.rng.random() < 0.22:
            second = self.rng.choice(INTENTS)
            if second not in intents:
                intents.append(second)
        return intents

    def _join(self, text: str, intents: Sequence[str]) -> str:
        for intent in intents:
            text = joined(text, self._pick("clause", intent))
        return text

    def run(self, kinds: Sequence[Kind]) -> list[Message]:
        for kind in kinds:
            self._picture(kind)
        turns = 0 if kinds else self.rng.choices((1, 2, 3, 4), (0.42, 0.27, 0.19, 0.12))[0]
        for _ in range(turns):
            self._turn()
        return self.messages

    def _turn(self) -> None:
        rng = self.rng
        first = not self.messages
        # Thanks after a long answer, and what is out of field while a disease is spoken of.
        chat = 3.0 if self.maker.split == "train" and self.subject else 1.0
        options: list[tuple[Any, float]] = [(self._named, 3.0), (self._pair, 1.2), (self._chat, chat)]
        if self.maker.pictures is not None and self.images < 3:
            options.append((self._picture, 4.5 if first else 1.2))
        if self.subject is not None:
            options.append((self._follow, 6.0))
        if first:
            options.append((self._vague, 0.4))
        rng.choices([f for f, _ in options], [w for _, w in options])[0]()

    def _chat(self) -> None:
        group = self.rng.choices(("greeting", "thanks", "small_talk", "out_of_field"), (1, 1, 1, 3))[0]
        text = self._pick(group, "none")
        if group == "out_of_field":
            text = self._dress(text)
        self._user(text, group)
        self._say([PHRASING["other"][group]])

    def _vague(self) -> None:
        self._user(self._dress(self._pick("vague", "none")), "vague")
        self._say([PHRASING["other"]["vague"]])

    def _named(self) -> None:
        name = self.world.disease().name if self.rng.random() > 0.12 else self.world.label()
        name = self.world.disease(name).name
        intents = self._intents()
        text = self._join(self._pick("named", intents[0], d=name), intents[1:])
        self.subject = name
        self._user(self._dress(text), "named")
        self._answer([(intent, (name,)) for intent in intents])

    def _pair(self) -> None:
        a, b = self.world.label(), self.world.label()
        if a == b:
            return self._named()
        self.subject = a
        query = self.rng.choices(PAIR_QUERIES, (6, 1, 1))[0]
        self._user(self._dress(self._pick("pair", query, d1=a, d2=b)), "pair")
        self._answer([(query, (a, b))])

    def _follow(self) -> None:
        assert self.subject is not None
        intents = self._intents()
        text = self._join(self._pick("follow", intents[0]), intents[1:])
        self._user(text if self.rng.random() < 0.8 else self._dress(text), "follow")
        self._answer([(intent, (self.subject,)) for intent in intents])

    # -- pictures

    def _picture(self, given: Kind | None = None) -> None:
        rng = self.rng
        assert self.maker.pictures is not None
        kind = given or rng.choices(get_args(Kind), KINDS[self.maker.split])[0]
        index, shares = self.maker.pictures.draw(rng, kind, self.maker.split)
        self.images += 1
        image = f"img{self.images}"
        guess: str | None = None
        intents: list[str]
        roll = rng.random()
        if self.images > 1 and roll < 0.6:
            text, intents = self._pick("second_picture", "identify"), ["describe"]
        elif roll < 0.45:
            text, intents = self._pick("picture", "identify"), ["describe"]
            if rng.random() < 0.4:
                intents = self._intents()
                text = self._join(text, intents)
        elif roll < 0.62:
            guess = self.world.label()
            text, intents = self._pick("named_with_picture", "identify", d=guess), ["describe"]
        else:
            intents = [rng.choice(INTENTS)]
            text = self._pick("picture", intents[0])
        self._user(self._dress(text), f"picture_{kind}", [(image, index)])
        if kind == "not_skin" and (given or rng.random() < 0.6):
            if guess is None:
                return self._say([PHRASING["other"]["not_skin"]])
            self.subject = guess
            return self._answer([(i, (guess,)) for i in intents], [PHRASING["other"]["not_skin"]])
        finding = self._finding(image, kind, shares)
        call = Call("classify_lesion", {"image": image}, finding.render(), outcome="finding")
        self._call([call], target=kind != "not_skin")
        cite = f" [specialist:{image}]"
        if not finding.in_scope:
            sentence = PHRASING["finding"]["out_of_scope"] + cite
            if guess is None:
                return self._say([sentence])
            self.subject = guess
            return self._answer([(i, (guess,)) for i in intents], [sentence])
        top = finding.shares[0][0]
        self.subject = top
        wanted: list[tuple[str, tuple[str, ...]]] = []
        if not finding.sure:
            finding, wanted = self._doubt(finding)
            top = finding.shares[0][0]
            self.subject = top
        elif guess is not None and guess != top:
            wanted = [("differential", (top, guess))]
            intents = []
        for intent in intents:
            if not (intent == "differential" and wanted):
                wanted.append((intent, (top,)))
        self._answer(wanted, say_finding(finding, cite))

    def _finding(self, image: str, kind: Kind, given: Mapping[str, float] | None) -> Finding:
        rng = self.rng
        if kind != "lesion" or rng.random() < 0.02:
            return Finding(image, [], False, [], in_scope=False)
        if given is not None and rng.random() < 0.6:
            items = sorted(given.items(), key=lambda item: -item[1])
        else:
            names: list[str] = []
            while len(names) < 4:
                name = self.world.label()
                if name not in names:
                    names.append(name)
            sharp = rng.choice((1.0, 2.0, 5.0))
            weights = sorted((rng.random() ** (sharp * 2) + 1e-3 for _ in names), reverse=True)
            items = [(n, w / sum(weights)) for n, w in zip(names, weights, strict=True)]
        return finding_of(rng, image, items)

    def _doubt(self, finding: Finding) -> tuple[Finding, list[tuple[str, tuple[str, ...]]]]:
        """An unsure finding: half the time the graph has already looked twice, and perhaps widened."""
        rng = self.rng
        if rng.random() < 0.5:
            return finding, self._widening(finding)
        names = [name for name, _ in finding.shares]
        if rng.random() < 0.25:
            rng.shuffle(names)
        weights = sorted((rng.random() ** 2 + 1e-3 for _ in names), reverse=True)
        items = [(n, w / sum(weights)) for n, w in zip(names, weights, strict=True)]
        second = finding_of(rng, finding.image, items)
        call = Call("classify_lesion", {"image": finding.image, "second_look": True}, second.render(True))
        call.outcome = "finding"
        self._call([call], target=False)
        if second.sure:
            return second, []
        wanted = self._widening(second)
        if wanted and rng.random() < 0.7:
            self._call([self._ask(*wanted[0])], target=False)
        return second, wanted

    @staticmethod
    def _widening(finding: Finding) -> list[tuple[str, tuple[str, ...]]]:
        return [("differential", tuple(finding.shortlist))] if len(finding.shortlist) > 1 else []

    # -- knowledge

    def _ask(self, query: str, diseases: tuple[str, ...]) -> Call:
        rng = self.rng
        args = {"query": query, "diseases": list(diseases)}
        call = Call("query_knowledge", args)
        roll = rng.random()
        if roll < 0.03:
            message = rng.choice(
                ("the knowledge graph is not available", "timed out", f"{self.world.word('word')} failed")
            )
            call.result, call.outcome = render_error(message), "error"
        elif roll < 0.06:
            call.result, call.outcome = render_unknown_disease(diseases[0]), "unknown"
        else:
            limit = 1 if self.world.brief else rng.choice((2, 3, 4, 5, 6))
            call.rows = self.world.rows(query, list(diseases), limit) if roll > 0.1 else []
            call.outcome = "rows" if call.rows else "none"
            call.result = render_rows(call.rows) if call.rows else render_no_rows(query, diseases)
        if call.outcome != "error":
            self.known[(query, diseases)] = call
        return call

    def _answer(self, wanted: Sequence[tuple[str, tuple[str, ...]]], lines: Sequence[str] = ()) -> None:
        missing = [key for key in wanted if key not in self.known]
        calls = {key: self._ask(*key) for key in missing}
        if calls:
            self._call(list(calls.values()), target=True)
        said = list(lines)
        done: set[str] = set()
        for key in wanted:
            call = calls.get(key) or self.known[key]
            if call.outcome == "rows":
                rows = [row for row in call.rows if row.fact_id not in done]
                done.update(row.fact_id for row in rows)
                said += say_rows(rows)
            elif call.outcome == "error":
                if PHRASING["other"]["error"] not in said:
                    said.append(PHRASING["other"]["error"])
            elif call.outcome == "unknown":
                said.append(PHRASING["other"]["unknown"].format(d=key[1][0]))
            else:
                said.append(PHRASING["other"]["no_rows"].format(q=key[0], d=", ".join(key[1])))
        self._say(said)

    # -- messages

    def _user(self, text: str, kind: str, images: Sequence[tuple[str, int]] = ()) -> None:
        self.messages.append(Message("user", text, images=list(images), kind=kind))

    def _call(self, calls: list[Call], *, target: bool) -> None:
        self.messages.append(Message("assistant", calls=calls, target=target))
        self.messages += [Message("tool", call.result) for call in calls]

    def _say(self, lines: Sequence[str]) -> None:
        if self.maker.split == "train" and self.rng.random() < 0.08 and any(x.endswith("]") for x in lines):
            draft, request = refused(self.rng, lines)
            self.messages.append(Message("assistant", draft))
            self._user(request, "revise")
        self.messages.append(Message("assistant", "\n".join(lines), target=True))


def call_text(call: Call) -> str:
    """Serialises a call as the grammar and the chat template do; list items start with a space."""
    args = {k: [f" {x}" for x in v] if isinstance(v, list) else v for k, v in call.args.items()}
    body = json.dumps({"name": call.name, "arguments": args}, separators=(",", ":"), ensure_ascii=False)
    return f"<tool_call>{body}</tool_call>"
