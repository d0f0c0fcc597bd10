"""What the tests of the chat model say to it, and the tools they offer."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, Field

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32


class Look(BaseModel):
    """Look at a picture."""

    image: Literal["img1", "img2"]
    second_look: bool = False


class Ask(BaseModel):
    """Ask the graph."""

    query: Literal["describe", "signs", "treatment"]
    diseases: list[str] = Field(min_length=1, max_length=2)


def human(text: str, *shas: str) -> HumanMessage:
    blocks: list[Any] = [{"type": "image", "file_id": sha} for sha in shas]
    return HumanMessage([*blocks, {"type": "text", "text": text}])


def dialogue() -> list[BaseMessage]:
    return [SystemMessage("Answer from rows."), human("what is it?", A)]


def same(a: AIMessage, b: AIMessage) -> bool:
    calls = [[(c["name"], c["args"]) for c in m.tool_calls] for m in (a, b)]
    return a.content == b.content and calls[0] == calls[1]
