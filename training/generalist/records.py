"""A record of LLaVA's JSON and the LangChain messages that it means; `conversations` tells the format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import ToolCall, tool_call
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...errors import BadInput

PLACEHOLDER = "<image>"


class Turn(BaseModel):
    """One turn of a record; `weight` 0: not learnt."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    speaker: Literal["human", "gpt", "function_call", "observation"] = Field(alias="from")
    value: str
    weight: Literal[0, 1] = 1


class Record(BaseModel):
    """One conversation as it stands in the file; further fields are not read."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str
    image: str | list[str] = Field(default_factory=list)
    system: str = ""
    tools: str = ""
    conversations: list[Turn] = Field(min_length=1)

    @property
    def pictures(self) -> list[str]:
        """Paths of the pictures, in order."""
        return [self.image] if isinstance(self.image, str) else self.image


class _Call(BaseModel):
    name: str = Field(min_length=1)
    arguments: dict[str, Any]


_CALLS = TypeAdapter(list[_Call])


@dataclass(frozen=True)
class Conversation:
    """A conversation as `agent.generalist.messages.ChatTemplate` renders it.

    Attributes:
        id: Of the record.
        messages: LangChain messages; `file_id` of an image block is the picture's path in its folder.
        tools: What may be called, in OpenAI's format.
        unlearnt: Places of the assistant's messages that are only read.
    """

    id: str
    messages: list[BaseMessage]
    tools: list[dict[str, Any]]
    unlearnt: frozenset[int] = frozenset()

    @property
    def learnt(self) -> list[int]:
        """Places of the messages that the assistant learns to write."""
        said = (i for i, message in enumerate(self.messages) if isinstance(message, AIMessage))
        return [i for i in said if i not in self.unlearnt]


def call_id(message: int, number: int) -> str:
    """The id of a call, by the place of its message and its place there; the format has none."""
    return f"call_{message}_{number}"


def from_record(record: Record) -> Conversation:
    """Makes messages of a record.

    Raises:
        BadInput: It does not hold together; the message names it and says why.
    """
    if record.conversations[0].speaker != "human":
        refuse(record.id, f"{record.conversations[0].speaker} speaks first", "Begin with a human turn.")
    places = sum(turn.value.count(PLACEHOLDER) for turn in record.conversations)
    if places != len(record.pictures):
        refuse(
            record.id,
            f"{places} {PLACEHOLDER} for {len(record.pictures)} pictures",
            f"Write {PLACEHOLDER} once for each picture.",
        )
    return _Reader(record).read()


def to_record(conversation: Conversation) -> Record:
    """Makes a record of a conversation.

    Raises:
        BadInput: The format cannot hold it: it would be read as something else.
    """
    system, *rest = conversation.messages
    at = 1
    if not isinstance(system, SystemMessage):
        rest, at, system = conversation.messages, 0, SystemMessage("")
    turns = [turn for i, m in enumerate(rest, at) for turn in _turns(m, i not in conversation.unlearnt)]
    pictures = [str(b.get("file_id", "")) for m in rest for b in _blocks(m) if b.get("type") == "image"]
    functions = [tool["function"] for tool in conversation.tools]
    record = Record(
        id=conversation.id,
        image=pictures[0] if len(pictures) == 1 else pictures,
        system=str(system.content),
        tools=json.dumps(functions, ensure_ascii=False) if functions else "",
        conversations=turns,
    )
    if from_record(record) != conversation:
        refuse(record.id, "this format cannot hold it", "Join texts that stand side by side; see `call_id`.")
    return record


class _Reader:
    """Reads the turns of one record in order."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.messages: list[BaseMessage] = [SystemMessage(record.system)] if record.system else []
        self.unlearnt: set[int] = set()
        self.waiting: list[ToolCall] = []
        self.pictures = iter(record.pictures)

    def read(self) -> Conversation:
        hear = {
            "human": self._human,
            "gpt": self._gpt,
            "function_call": self._call,
            "observation": self._seen,
        }
        for turn in self.record.conversations:
            hear[turn.speaker](turn)
        read = Conversation(self.record.id, self.messages, self._tools(), frozenset(self.unlearnt))
        if not read.learnt:
            refuse(self.record.id, "the assistant says nothing that is learnt", "Leave it out.")
        return read

    def _human(self, turn: Turn) -> None:
        self.waiting = []
        self.messages.append(HumanMessage(self._content(turn.value)))

    def _seen(self, turn: Turn) -> None:
        if not self.waiting:
            refuse(self.record.id, "an observation without a call", "One follows each function_call.")
        call = self.waiting.pop(0)
        content = self._content(turn.value)
        self.messages.append(ToolMessage(content, name=call["name"], tool_call_id=call["id"] or ""))

    def _gpt(self, turn: Turn) -> None:
        self.waiting = []
        self._say(turn, turn.value, [])

    def _call(self, turn: Turn) -> None:
        last, said = self.messages[-1], ""
        if isinstance(last, AIMessage) and not last.tool_calls:
            said = str(self.messages.pop().content)
        try:
            value = json.loads(turn.value)
            calls = _CALLS.validate_python(value if isinstance(value, list) else [value])
        except ValueError as error:  # of json and of pydantic
            refuse(self.record.id, f"a function_call cannot be read: {reason(error)}", _CALL_HINT, error)
        if not calls:
            refuse(self.record.id, "a function_call calls nothing", _CALL_HINT)
        at = len(self.messages)
        self.waiting = [
            tool_call(name=c.name, args=c.arguments, id=call_id(at, i)) for i, c in enumerate(calls)
        ]
        self._say(turn, said, list(self.waiting))

    def _say(self, turn: Turn, text: str, calls: list[ToolCall]) -> None:
        if PLACEHOLDER in turn.value:
            refuse(self.record.id, f"{PLACEHOLDER} in a turn of {turn.speaker}", "Only others show pictures.")
        if not turn.weight:
            self.unlearnt.add(len(self.messages))
        self.messages.append(AIMessage(text, tool_calls=calls))

    def _content(self, value: str) -> str | list[Any]:
        """Text, or blocks where there are pictures."""
        first, *others = value.split(PLACEHOLDER)
        blocks = [{"type": "text", "text": first}] if first else []
        for text in others:
            blocks.append({"type": "image", "file_id": next(self.pictures)})
            blocks += [{"type": "text", "text": rest} for rest in [text.removeprefix("\n")] if rest]
        return blocks if others else value

    def _tools(self) -> list[dict[str, Any]]:
        try:
            tools = json.loads(self.record.tools) if self.record.tools else []
            return [
                convert_to_openai_tool(tool)
                for tool in TypeAdapter(list[dict[str, Any]]).validate_python(tools)
            ]
        except ValueError as error:
            refuse(self.record.id, f"its tools cannot be read: {reason(error)}", "Write a JSON list.", error)


_CALL_HINT = 'Write {"name": ..., "arguments": {...}} as JSON, or a list of these.'


def _turns(message: BaseMessage, learnt: bool) -> Iterator[Turn]:
    """The turns that a message is written as."""
    weight: Literal[0, 1] = 1 if learnt else 0
    text = _value(message)
    if not isinstance(message, AIMessage):
        yield Turn(speaker="observation" if isinstance(message, ToolMessage) else "human", value=text)
        return
    calls = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
    if text or not calls:
        yield Turn(speaker="gpt", value=text, weight=weight)
    if calls:
        value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        yield Turn(speaker="function_call", value=value, weight=weight)


def _value(message: BaseMessage) -> str:
    text, after_picture = "", False
    for block in _blocks(message):
        if block.get("type") == "image":
            text, after_picture = text + PLACEHOLDER, True
        else:
            text += "\n" * after_picture + str(block.get("text", ""))
            after_picture = False
    return text


def _blocks(message: BaseMessage) -> list[dict[str, Any]]:
    content = [message.content] if isinstance(message.content, str) else message.content
    return [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]


def reason(error: Exception) -> str:
    """Says in a line what is wrong, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")


def refuse(record: str, why: str, hint: str, cause: Exception | None = None) -> NoReturn:
    """Raises `BadInput` that names the record."""
    raise BadInput(f"conversation {record}: {why}", hint=hint) from cause
