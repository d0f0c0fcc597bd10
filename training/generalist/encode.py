"""From messages to token ids and what is learnt of them; the text of `chat_template.jinja`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from .dialogues import Message, call_text

IMAGE_TOKENS = 16
"""Tokens a picture takes: (64 / 8 / 2) squared."""
TOOLS_LINE = "tools: classify_lesion(image, second_look) query_knowledge(query, diseases)"
CALL_WEIGHT = 3.0
"""How much a token of a call, and the first token of an answer, weighs beside a token of a sentence: names
and the choice to call are what goes wrong, and copied rows are most of the tokens."""
PICTURE = "<fake_token_around_image><global-img>" + "<image>" * IMAGE_TOKENS + "<fake_token_around_image>"


@dataclass
class Encoded:
    """One dialogue: `ids`, what each weighs in the loss (0: not learnt), and its pictures in order."""

    ids: list[int]
    weight: list[float]
    images: list[int]


def system_text() -> str:
    """Returns the system prompt with its line of tools, as the template renders them."""
    text = (Path(__file__).parents[2] / "prompts" / "system_nano.txt").read_text(encoding="utf-8").strip()
    return f"{text}\n{TOOLS_LINE}"


def segments(messages: Iterable[Message], system: str) -> Iterator[tuple[str, bool]]:
    """Yields pieces of text and whether the model learns to write them."""
    yield f"<|system|> {system}<|end|>", False
    for message in messages:
        if message.role == "user":
            pictures = "".join(f" {name}:{PICTURE}" for name, _ in message.images)
            yield f"<|user|>{pictures} {message.text.strip()}<|end|>", False
        elif message.role == "tool":
            yield f"<|tool|> {message.text.strip()}<|end|>", False
        else:
            yield "<|assistant|>", False
            body = "".join(call_text(call) for call in message.calls)
            text = f" {message.text}" if message.text else ""
            yield f"{text}{body}<|end|>", message.target


def encode(messages: list[Message], tokenizer: Tokenizer, system: str) -> Encoded:
    """Encodes a dialogue; pieces are tokenised apart, at special tokens, so joining them is exact."""
    ids: list[int] = []
    weight: list[float] = []
    for text, learn in segments(messages, system):
        piece = tokenizer.encode(text, add_special_tokens=False).ids
        ids += piece
        each = CALL_WEIGHT if "<tool_call>" in text else 1.0
        weight += [CALL_WEIGHT, *([each] * (len(piece) - 1))] if learn else [0.0] * len(piece)
    return Encoded(ids, weight, [index for m in messages for _, index in m.images])
