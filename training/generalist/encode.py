"""From messages to token ids and what is learnt of them; the tokenizer; the text of `chat_template.jinja`."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .dialogues import Message, call_text

SPECIAL = (
    "<pad> <|system|> <|user|> <|assistant|> <|tool|> <|end|> <tool_call> </tool_call> <image> "
    "<fake_token_around_image> <global-img> <end_of_utterance> <unk>"
).split()
IMAGE_TOKENS = 16
"""Tokens a picture takes: (64 / 8 / 2) squared."""
TOOLS_LINE = "tools: classify_lesion(image, second_look) query_knowledge(query, diseases)"
CALL_WEIGHT = 3.0
"""How much a token of a call, and the first token of an answer, weighs beside a token of a sentence: names
and the choice to call are what goes wrong, and copied rows are most of the tokens."""
_PICTURE = "<fake_token_around_image><global-img>" + "<image>" * IMAGE_TOKENS + "<fake_token_around_image>"
_SPLIT = r" ?\p{L}+| ?\p{N}|[ ]?[^\s\p{L}\p{N}]+|\n|\s"


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
            pictures = "".join(f" {name}:{_PICTURE}" for name, _ in message.images)
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


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains a byte-level BPE whose digits stand alone and whose words carry their leading space."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Wraps a trained tokenizer for transformers, with the chat template attached."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|end|>",
        unk_token="<unk>",
        additional_special_tokens=[t for t in SPECIAL if t not in ("<pad>", "<|end|>", "<unk>")],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
    return fast


def corpus(make: Iterable[list[Message]], system: str, seed: int = 0) -> Iterator[str]:
    """Yields texts for the tokenizer: dialogues without their special tokens."""
    rng = random.Random(seed)
    for messages in make:
        parts = [text for text, _ in segments(messages, system)][1:]
        rng.shuffle(parts)
        yield "\n".join(parts).replace(_PICTURE, "")
