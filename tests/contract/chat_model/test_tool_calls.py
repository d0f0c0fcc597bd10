# ruff: noqa: E501
"""Tool calls of `LocalVLM` on five random-weight families: always well-formed, in each family's own syntax."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from clarify.agent.generalist import LocalVLM
from clarify.agent.generalist.decoding import Generation
from clarify.agent.generalist.grammar import Guide
from clarify.agent.generalist.tool_syntax import parse
from clarify.errors import BadInput
from clarify.tests.contract.chat_model.talk import A, Ask, B, Look, dialogue, same


@pytest.mark.parametrize("seed", range(7))
def test_required_calls_are_always_well_formed(vlm: LocalVLM, seed: int) -> None:
    """35 calls of random models at temperature 2, each in the schema and within the bound."""
    asked = vlm.bind_tools([Look, Ask], tool_choice="required", max_calls=1)
    answer = asked.invoke(dialogue(), temperature=2.0, seed=seed, max_new_tokens=600)
    assert not answer.invalid_tool_calls and len(answer.tool_calls) == 1 and answer.content == ""
    call = answer.tool_calls[0]
    {"Look": Look, "Ask": Ask}[call["name"]].model_validate(call["args"])
    json.dumps(call["args"]).encode()
    assert answer.response_metadata["finish_reason"] == "tool_calls"


def test_several_calls_end_at_the_bound(vlm: LocalVLM) -> None:
    asked = vlm.bind_tools([Look], tool_choice="any", max_calls=3)
    counts = {
        len(asked.invoke(dialogue(), temperature=3.0, seed=s, max_new_tokens=300).tool_calls)
        for s in range(6)
    }
    assert counts <= {1, 2, 3} and max(counts) > 1
    one = asked.invoke(dialogue(), temperature=3.0, seed=1, max_new_tokens=300, parallel_tool_calls=False)
    assert len(one.tool_calls) == 1


def test_choice_by_name_none_and_auto(vlm: LocalVLM) -> None:
    for spelled in ("Ask", {"type": "function", "function": {"name": "Ask"}}):
        answer = vlm.bind_tools([Look, Ask], tool_choice=spelled).invoke(dialogue(), max_new_tokens=900)
        assert {c["name"] for c in answer.tool_calls} == {"Ask"}
    free = vlm.bind_tools([Look, Ask]).invoke(dialogue())
    never = vlm.bind_tools([Look, Ask], tool_choice="none").invoke(dialogue())
    assert free.content == never.content and not free.tool_calls and not never.tool_calls
    with pytest.raises(BadInput, match="not among"):
        vlm.bind_tools([Look], tool_choice="Ask")
    with pytest.raises(BadInput):
        vlm.bind_tools([], tool_choice="required")


def test_stream_ends_with_the_calls_of_invoke(vlm: LocalVLM) -> None:
    asked = vlm.bind_tools([Look, Ask], tool_choice="required")
    whole = asked.invoke(dialogue(), max_new_tokens=900)
    chunks = list(asked.stream(dialogue(), max_new_tokens=900))
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert whole.tool_calls and same(total, whole)  # type: ignore[arg-type]


def test_a_call_that_the_model_opens_is_constrained(vlm: LocalVLM) -> None:
    """The marker is made the likeliest token after a few; from there on the grammar holds, before it nothing does."""
    lm = vlm.loaded
    guide = lm.guides.guide([convert_to_openai_tool(Look)], "auto", 1)
    assert not guide.constrained
    opening = f"I see {lm.guides.syntax.begin}"
    ids = lm.tokenizer(opening, add_special_tokens=False).input_ids
    text = ""
    for i, token in enumerate(ids):
        assert not guide.constrained
        text = lm.tokenizer.decode(ids[: i + 1])
        guide.accept(token, text)
    assert guide.constrained


def test_prose_is_free_and_the_call_after_it_is_not(vlm: LocalVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hot model is made to say a sentence full of brackets and to open a call; the rest it chooses."""
    said = "I look: a < b, {x} [y] and `z`.\n"
    script = vlm.loaded.tokenizer(said + vlm.loaded.guides.syntax.begin, add_special_tokens=False).input_ids
    forward, mask, untouched = Generation._forward, Guide.mask, []

    def nudged(self: Generation, inputs: dict[str, Any], keep: int = 1) -> torch.Tensor:
        logits = forward(self, inputs, keep)
        assert keep == 1  # who chooses by chance drafts nothing
        if self.new_tokens < len(script):
            logits[0, script[self.new_tokens]] += 1e4
        return logits

    def watched(self: Guide, logits: torch.Tensor) -> None:
        before = logits.clone()
        mask(self, logits)
        untouched.append(torch.equal(before, logits))

    monkeypatch.setattr(Generation, "_forward", nudged)
    monkeypatch.setattr(Guide, "mask", watched)
    answer = vlm.bind_tools([Look, Ask], max_calls=1).invoke(
        dialogue(), temperature=2.0, seed=4, max_new_tokens=600
    )
    assert answer.content == said.strip() and not answer.invalid_tool_calls
    (call,) = answer.tool_calls
    {"Look": Look, "Ask": Ask}[call["name"]].model_validate(call["args"])
    assert answer.response_metadata["finish_reason"] == "tool_calls"
    assert all(untouched[: len(script)]) and not any(untouched[len(script) :])


def test_forced_tokens_are_not_computed_one_by_one(vlm: LocalVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, passes = Generation._forward, []

    def counted(self: Generation, inputs: dict[str, Any], keep: int = 1) -> torch.Tensor:
        passes.append(inputs["input_ids"].shape[1])
        return forward(self, inputs, keep)

    monkeypatch.setattr(Generation, "_forward", counted)
    plain = vlm.model_copy(update={"draft_tokens": 0})
    answer = plain.bind_tools([Look], tool_choice="Look", max_calls=1).invoke(dialogue(), max_new_tokens=200)
    assert len(answer.tool_calls) == 1 and answer.usage_metadata
    assert len(passes) < answer.usage_metadata["output_tokens"] / 2 and max(passes[1:]) > 4


def test_calls_of_one_turn_and_their_results_are_written_and_read_back(vlm: LocalVLM) -> None:
    lm, offered = vlm.loaded, [convert_to_openai_tool(t) for t in (Look, Ask)]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("Look", {"image": "img1", "second_look": True}),
        ("Ask", {"query": "signs", "diseases": ["lichen planus", 'na\u00efve "x" \\ </b>']}),
        ("Look", {"image": "img2"}),
    ]
    asked = [{"name": name, "args": args, "id": str(i)} for i, (name, args) in enumerate(calls)]
    results = [
        ToolMessage("nevus 71 %", tool_call_id="0"),
        ToolMessage("row one", tool_call_id="1"),
        ToolMessage([{"type": "text", "text": "overlay"}, {"type": "image", "file_id": B}], tool_call_id="2"),
    ]
    before, _ = lm.template.render(dialogue(), offered, vlm.image_loader)
    after, pictures = lm.template.render(
        [*dialogue(), AIMessage("I look.", tool_calls=asked), *results], offered, vlm.image_loader
    )
    assert after.startswith(before)
    written = after[len(before) :]
    parsed = parse(written, lm.guides.syntax)
    assert [(c.name, c.args) for c in parsed.calls] == calls and not parsed.broken
    assert parsed.content.startswith("I look.")
    shown = [written.index(text) for text in ("I look.", "nevus 71 %", "row one", "overlay")]
    assert shown == sorted(shown) and [p.sha256 for p in pictures] == [A, B]


def test_with_structured_output(nano: LocalVLM) -> None:
    out = nano.model_copy(update={"max_new_tokens": 200}).with_structured_output(Look).invoke(dialogue())
    assert isinstance(out, Look)


def test_plain_tools_and_schema_without_arguments(nano: LocalVLM) -> None:
    @tool
    def ping() -> str:
        """Nothing."""
        return "pong"

    answer = nano.bind_tools([ping], tool_choice="ping", max_calls=1).invoke(dialogue())
    assert [(c["name"], c["args"]) for c in answer.tool_calls] == [("ping", {})]
