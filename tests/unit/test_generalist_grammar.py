"""Bounded schemas, and guides walked by random choices: every finished call is valid and short."""

# ruff: noqa: E501 (templates and tables)

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from clarify.agent.generalist.grammar import Guide, GuideFactory, bounded, call_schema
from clarify.agent.generalist.tool_syntax import FAMILIES, parse


def make_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<end>", "<image>", "<tool_call>", "</tool_call>"]
    vocab = {token: i for i, token in enumerate(special + alphabet)}
    merges = [("a", "r"), ("n", "a"), ("\u0120", "a")]
    vocab |= {a + b: len(vocab) + i for i, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", additional_special_tokens=special[1:]
    )


TOKENIZER = make_tokenizer()
ROWS = len(TOKENIZER) + 3
FACTORIES = {name: GuideFactory(TOKENIZER, ROWS, [0], syntax) for name, syntax in FAMILIES.items()}


def tool(name: str, required: list[str], **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}


LOOK = tool("look", ["image"], image={"enum": ["img1", "img2"], "type": "string"}, again={"type": "boolean"})
MANY = tool(
    "many", ["s", "n", "l"],
    s={"type": "string"}, n={"type": "number"}, i={"type": "integer"}, any={}, date={"type": "string", "format": "date"},
    l={"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 2},
    o={"type": "object", "properties": {"x": {"type": ["string", "null"]}}}, u={"anyOf": [{"type": "integer"}, {"type": "null"}]},
)  # fmt: skip


def walk(guide: Guide, seed: int, limit: int = 900, prefix: str = "") -> tuple[str, bool]:
    """Chooses at random among what the guide permits; returns the text and whether it ended by itself."""
    rng, ids, text = random.Random(seed), [], ""
    for token in TOKENIZER(prefix).input_ids if prefix else []:
        ids.append(token)
        text = TOKENIZER.decode(ids)
        guide.accept(token, text)
    while len(ids) < limit:
        logits = torch.zeros(ROWS)
        guide.mask(logits)
        token = rng.choice((logits > float("-inf")).nonzero().flatten().tolist())
        if token == 0:
            return text, True
        fresh = [token]
        while fresh:
            ids.append(fresh.pop(0))
            text = TOKENIZER.decode(ids)
            guide.accept(ids[-1], text)
            fresh = fresh or (guide.forced() if seed % 2 else [])
        if prefix and not guide.constrained:
            return text, True
    return text, False


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("seed", range(4))
def test_forced_calls_are_valid_whatever_is_chosen(family: str, seed: int) -> None:
    text, ended = walk(FACTORIES[family].guide([LOOK, MANY], "required", 2), seed, limit=1600)
    parsed = parse(text, FAMILIES[family])
    assert ended and not parsed.broken and 1 <= len(parsed.calls) <= 2 and parsed.content == "", text
    for call in parsed.calls:
        check(call.name, call.args)


def check(name: str, args: dict[str, Any]) -> None:
    if name == "look":
        assert args["image"] in ("img1", "img2") and list(args) == [
            "image",
            *(["again"] if "again" in args else []),
        ]
        return
    assert name == "many" and [k for k in ("s", "n", "i", "any", "date", "l", "o", "u") if k in args] == list(
        args
    )
    # xgrammar lets overlong UTF-8 through, which decodes to three replacement characters
    assert (
        len(args["s"].replace("\ufffd" * 3, "?")) <= 200
        and isinstance(args["n"], int | float)
        and 1 <= len(args["l"]) <= 2
    )
    assert all(len(item) <= 5 for item in args["l"]) and not set(args["s"]) & set('"\\\n\t')
    json.dumps(args, ensure_ascii=False).encode()  # no lone surrogates


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_call_that_was_opened_is_constrained_and_then_let_go(family: str) -> None:
    syntax = FAMILIES[family]
    guide = FACTORIES[family].guide([LOOK], "auto", 1)
    free = torch.zeros(ROWS)
    guide.mask(free)
    assert (free == 0).all()  # prose is never constrained
    text, ended = walk(guide, 3, prefix=f"na {syntax.begin}")
    parsed = parse(text, syntax)
    assert ended and [c.name for c in parsed.calls] == ["look"] and parsed.content == "na"
    last = torch.zeros(ROWS)
    guide.mask(last)
    assert (last > float("-inf")).nonzero().flatten().tolist() == [
        0
    ]  # the calls are used up: only the end remains


def test_no_special_token_inside_a_string() -> None:
    guide = FACTORIES["compact"].guide([tool("t", ["s"], s={"type": "string"})], "required", 1)
    ids = [2, *TOKENIZER('{"name":"t","arguments":{"s":"a').input_ids]
    for i, token in enumerate(ids):
        guide.accept(token, TOKENIZER.decode(ids[: i + 1]))
    logits = torch.zeros(ROWS)
    guide.mask(logits)
    assert torch.isinf(logits[:4]).all() and torch.isinf(logits[len(TOKENIZER) :]).all()
    assert logits[TOKENIZER.convert_tokens_to_ids("ar")] == 0


def test_named_tool_and_none() -> None:
    text, _ = walk(FACTORIES["compact"].guide([LOOK, MANY], "look", 1), 0)
    assert text.startswith('<tool_call>{"name":"look"')
    logits = torch.zeros(ROWS)
    FACTORIES["compact"].guide([LOOK], "none").mask(logits)
    assert torch.isinf(logits).nonzero().flatten().tolist() == [2]  # only the opening marker


def test_forced_tokens_are_the_tokenizers_own_and_stay_in_the_grammar() -> None:
    """Everything but the enum is forced; the result is the same as choosing token by token."""
    guide = FACTORIES["compact"].guide(
        [tool("look", ["image"], image={"enum": ["img1", "zap"]})], "required", 1
    )
    guide.accept(2, "<tool_call>")
    forced = guide.forced()
    text = TOKENIZER.decode(forced)
    assert len(forced) > 30 and '{"name":"look","arguments":{"image":"'.startswith(text)
    assert TOKENIZER(text).input_ids == forced
    for i, token in enumerate(forced):
        logits = torch.zeros(ROWS)
        guide.mask(logits)
        assert logits[token] == 0
        guide.accept(token, f"<tool_call>{TOKENIZER.decode(forced[: i + 1])}")
    assert guide.forced() == []


def test_serialisation_has_no_free_whitespace() -> None:
    text, _ = walk(FACTORIES["compact"].guide([LOOK], "required", 1), 1)
    call = parse(text, FAMILIES["compact"]).calls[0]
    body = json.dumps({"name": call.name, "arguments": call.args}, separators=(",", ":"))
    assert text == f"<tool_call>{body}</tool_call>"


SCHEMAS = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"enum": ["a"]},
                     {"type": ["string", "null"]}, {"const": 1}, True]),
    lambda inner: st.builds(lambda s: {"type": "array", "items": s}, inner)
    | st.builds(lambda s: {"anyOf": [s, {"type": "null"}]}, inner)
    | st.builds(lambda s: {"type": "object", "properties": {"x": s}}, inner),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(SCHEMAS, st.integers(0, 99))
def test_any_schema_gives_a_bounded_call(schema: Any, seed: int) -> None:
    text, ended = walk(
        FACTORIES["hermes"].guide([tool("t", ["v"], v=schema)], "required", 1), seed, limit=4000
    )
    assert ended and not parse(text, FAMILIES["hermes"]).broken and bounded(schema) is not None


def test_call_schema_puts_name_first() -> None:
    assert list(call_schema([LOOK])["anyOf"][0]["properties"]) == ["name", "arguments"]
