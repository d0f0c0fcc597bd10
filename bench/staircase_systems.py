"""What `bench.staircase` sets side by side: a model alone, the state machine, the classifier."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from ..agent.context import DEFAULT as CONTEXT
from ..agent.generalist import LocalVLM
from ..agent.grounding import parse_statements
from ..agent.lexicon import Lexicon
from ..agent.prompts import prompt
from ..agent.runtime import Session
from ..tools.classify import NAME as CLASSIFY
from ..tools.classify import as_finding, show
from ..tools.specialist import Specialist
from ..training.generalist.dialogues import Call, Message
from ..training.generalist.phrasing import PHRASING
from ..training.generalist.pictures import PictureBank, small
from .generalist import Speaker

LONGEST = 600
"""The most tokens of an answer."""
TOGETHER = 32
"""Answers that are written at once."""
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": dict.fromkeys(names, {})}}}
    for name, names in (
        (CLASSIFY, ("image", "second_look")),
        ("query_knowledge", ("query", "diseases")),
    )
]
"""What the line of tools in nano's prompt is made from; who answers alone may call none."""


@dataclass(frozen=True)
class Case:
    """A picture, its question, and the query that would answer the rest of it."""

    image: Image.Image
    label: str
    question: str
    query: str


@dataclass
class Turn:
    """A conversation that goes on."""

    said: list[Message]


@dataclass(frozen=True)
class Said:
    """What one system said of one case.

    Attributes:
        label: The diagnosis it named, or None.
        sentences: Its sentences about facts.
        ms: Of the whole answer, or None where many were written at once.
    """

    label: str | None
    sentences: list[str]
    ms: float | None


class System(Protocol):
    """What answers."""

    def __call__(self, case: Case) -> Said:
        """Answers one case, timed."""

    def many(self, shown: Sequence[Case]) -> list[Said]:
        """Answers cases, one after the other unless there is a quicker way."""
        return [self(case) for case in shown]


class Alone(System):
    """A model that answers without a call, perhaps told what the specialist says.

    Args:
        model: The vision-language model.
        speaker: The same, for many answers at once.
        names: Display name of each of the specialist's labels.
        lexicon: Names.
        specialist: Who tells it, or None.
    """

    def __init__(
        self,
        model: LocalVLM,
        speaker: Speaker,
        names: Mapping[str, str],
        lexicon: Lexicon,
        specialist: Specialist | None = None,
    ) -> None:
        self._model, self._speaker, self._names = model, speaker, names
        self._lexicon, self._specialist = lexicon, specialist

    def __call__(self, case: Case) -> Said:
        """Answers, timed."""
        start = time.process_time()
        blocks: list[str | dict[str, Any]] = [
            {"type": "text", "text": "img1:"}, inline(case.image), {"type": "text", "text": case.question}
        ]  # fmt: skip
        messages: list[BaseMessage] = [SystemMessage(prompt("system_nano")), HumanMessage(blocks)]
        if told := self._told(case):
            call = {"name": CLASSIFY, "args": {"image": "img1"}, "id": "1", "type": "tool_call"}
            messages += [AIMessage("", tool_calls=[call]), ToolMessage(told, tool_call_id="1")]
        asked = self._model.bind_tools(TOOLS, tool_choice="none", max_new_tokens=LONGEST)
        answer = asked.invoke(messages)
        return self._read(str(answer.content), 1000 * (time.process_time() - start))

    def many(self, shown: Sequence[Case]) -> list[Said]:
        """Answers in batches of `TOGETHER`, as the speaker of `bench.generalist` does."""
        found = []
        for start in range(0, len(shown), TOGETHER):
            some = shown[start : start + TOGETHER]
            turns = [Turn(self._said(index, case)) for index, case in enumerate(some)]
            found += [self._read(text, None) for text in self._speaker.write(turns, bank_of(some), {})]
        return found

    def _said(self, index: int, case: Case) -> list[Message]:
        said = [Message("user", case.question, images=[("img1", index)])]
        if told := self._told(case):
            said += [
                Message("assistant", calls=[Call(CLASSIFY, {"image": "img1"}, told)]),
                Message("tool", told),
            ]
        return said

    def _told(self, case: Case) -> str:
        """What the specialist says, where there is one."""
        if self._specialist is None:
            return ""
        seen = as_finding("img1", self._specialist.classify(case.image), second_look=False)
        return show(seen, self._names, CONTEXT.confidence_threshold)

    def _read(self, text: str, ms: float | None) -> Said:
        said = [statement.text for statement in parse_statements(text, self._lexicon)]
        label = next((found for one in said if (found := self._named(one))), None)
        return Said(label, [one for one in said if not self._named(one)], ms)

    def _named(self, text: str) -> str | None:
        """The diagnosis that a sentence gives, if it gives one."""
        head = PHRASING["finding"]["alone"].partition("{s}")[0]
        if not text.startswith(head):
            return None
        rest = text.removeprefix(head)
        return next((name for name in self._names.values() if rest.startswith(name)), "something else")


class Agent(System):
    """The state machine.

    Args:
        session: With the parts and the thresholds to be measured.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, case: Case) -> Said:
        """Answers, timed."""
        start = time.process_time()
        answer = self._session.ask(case.question, images=[png(case.image)])
        ms = 1000 * (time.process_time() - start)
        facts = [statement.text for statement in answer.statements if statement.kind == "fact"]
        label = answer.differential[0].name if answer.differential else None
        return Said(label, facts, ms)


class Classifier(System):
    """The specialist: a diagnosis and not a word more.

    Args:
        specialist: Itself.
    """

    def __init__(self, specialist: Specialist) -> None:
        self._specialist = specialist

    def __call__(self, case: Case) -> Said:
        """Answers, timed."""
        start = time.process_time()
        seen = self._specialist.classify(case.image)
        label = self._specialist.names[seen.label] if seen.label else None
        return Said(label, [], 1000 * (time.process_time() - start))


def bank_of(shown: Sequence[Case]) -> PictureBank:
    """The pictures of cases, in their order."""
    n = len(shown)
    blank = np.full((n, 1), np.nan)
    pixels = np.stack([small(case.image) for case in shown])
    return PictureBank(pixels, np.full(n, "lesion"), np.full(n, "test"), blank, [""], blank[:, 0], blank)


def png(image: Image.Image) -> bytes:
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def inline(image: Image.Image) -> dict[str, Any]:
    """A picture as a block of a message."""
    return {"type": "image", "base64": base64.b64encode(png(image)).decode(), "mime_type": "image/png"}
