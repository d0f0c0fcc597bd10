# ruff: noqa: E501
"""The prefix cache of `LocalVLM` on five random-weight families: nothing is computed twice, nothing changes."""

from __future__ import annotations

from typing import Any

import torch
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from clarify.agent.generalist import LocalVLM
from clarify.agent.generalist.decoding import Generation, Sampling
from clarify.tests.contract.chat_model.talk import A, Ask, B, C, Look, dialogue, human, same


def turns(vlm: LocalVLM, clear: bool) -> tuple[list[AIMessage], list[int]]:
    """A conversation of four answers: a picture, a call with a result, a follow-up, a second picture."""
    thread: list[BaseMessage] = [
        SystemMessage("Answer from rows, line by line, and cite each."),
        human("what is it?", A),
    ]
    out: list[AIMessage] = []
    reused: list[int] = []

    def answer(**options: Any) -> AIMessage:
        if clear:
            vlm.loaded.cache.clear()
        message = vlm.bind_tools([Look, Ask]).invoke(thread, **options)
        assert message.usage_metadata
        reused.append(message.usage_metadata["input_token_details"]["cache_read"])
        out.append(message)
        thread.append(message)
        return message

    call = answer(tool_choice="required", max_calls=1, max_new_tokens=500)
    thread.append(ToolMessage("melanoma 71 %; unsure", tool_call_id=call.tool_calls[0]["id"]))
    answer()
    thread.append(HumanMessage("and how is it treated?"))
    answer()
    thread.append(human("and this one?", B))
    answer()
    return out, reused


def test_cached_answers_equal_uncached_ones(vlm: LocalVLM) -> None:
    cached, reused = turns(vlm, clear=False)
    fresh, none = turns(vlm, clear=True)
    assert all(same(a, b) for a, b in zip(cached, fresh, strict=True))
    assert none == [0, 0, 0, 0]
    prompts = [m.usage_metadata["input_tokens"] for m in cached if m.usage_metadata]
    assert reused[0] == 0 and all(r >= p for r, p in zip(reused[1:], prompts, strict=False)), (
        reused,
        prompts,
    )


def test_a_second_picture_is_all_that_is_computed(vlm: LocalVLM) -> None:
    """What the model wrote itself comes from the cache too, when the template spells it with the same tokens."""
    first = dialogue()
    vlm.invoke(first)
    answer = vlm.invoke([*first, AIMessage("the"), human("and this?", B)])
    assert answer.usage_metadata
    cached, whole = (
        answer.usage_metadata["input_token_details"]["cache_read"],
        answer.usage_metadata["input_tokens"],
    )
    picture = sum(last - start + 1 for start, last in _spans(vlm, [human("", B)]))
    assert 0 < whole - cached < picture + 45
    vlm.loaded.cache.clear()
    assert vlm.invoke([*first, AIMessage("the"), human("and this?", B)]).content == answer.content


def _spans(vlm: LocalVLM, messages: list[BaseMessage]) -> list[tuple[int, int]]:
    from clarify.agent.generalist.encoding import encode

    return encode(vlm.loaded, *vlm.loaded.template.render(messages, [], vlm.image_loader)).spans


def prefill(vlm: LocalVLM, messages: list[BaseMessage]) -> tuple[torch.Tensor, int, int]:
    """The logits after a prompt, how many of its tokens came from the cache, and how many it has."""
    lm, seen = vlm.loaded, []
    text, pictures = lm.template.render(messages, [], vlm.image_loader)
    run = Generation(lm, text, pictures, Sampling(max_new_tokens=1), lm.guides.guide([], "none"))
    forward = run._forward

    def watched(inputs: dict[str, Any]) -> torch.Tensor:
        seen.append(forward(inputs))
        return seen[-1].clone()

    run._forward = watched  # type: ignore[method-assign]
    with lm.lock:
        list(run)
    return seen[0], run.cached_tokens, run.prompt_tokens


def test_a_cached_prefix_changes_no_logit(vlm: LocalVLM) -> None:
    """Two pictures, one more in a later turn, one in a tool's result, then a branch that goes far back."""
    rules: BaseMessage = SystemMessage("Answer from rows, line by line, and cite each.")
    call = AIMessage("", tool_calls=[{"name": "Look", "args": {"image": "img1"}, "id": "1"}])
    overlay = [{"type": "text", "text": "overlay"}, {"type": "image", "file_id": A}]
    turns_: list[list[BaseMessage]] = [
        [rules, human("which of these is worse?", A, B)],
        [AIMessage("the second"), human("and this one?", C)],
        [call, ToolMessage(overlay, tool_call_id="1")],
        [AIMessage("it is"), HumanMessage("thanks, and how is it treated?")],
    ]
    prompts = [[m for turn in turns_[: n + 1] for m in turn] for n in range(len(turns_))]
    prompts += [
        [rules, human("which of these is worse?", A, C)],
        [rules, human("which of these is worse?", B, A)],
    ]
    cached = [prefill(vlm, prompt) for prompt in prompts]
    for number, prompt in enumerate(prompts):
        vlm.loaded.cache.clear()
        logits, none, length = prefill(vlm, prompt)
        assert none == 0 and length == cached[number][2]
        torch.testing.assert_close(cached[number][0], logits, rtol=1e-3, atol=1e-3)
    reused, lengths = [c[1] for c in cached], [c[2] for c in cached]
    assert reused[0] == 0 and all(r >= n - 8 for r, n in zip(reused[1:4], lengths, strict=False))
    first, second = (span[0] for span in _spans(vlm, prompts[0]))
    assert reused[4] == second and reused[5] == first


def test_another_picture_is_not_mistaken_for_the_cached_one(vlm: LocalVLM) -> None:
    alone = vlm.invoke([human("what is it?", B)]).content
    vlm.loaded.cache.clear()
    vlm.invoke([human("what is it?", A)])
    assert vlm.invoke([human("what is it?", B)]).content == alone


def test_threads_sharing_a_system_prompt_do_not_spoil_each_other(vlm: LocalVLM) -> None:
    first, second = [*dialogue()], [SystemMessage("Answer from rows."), HumanMessage("hello")]
    expected = vlm.invoke(first).content, vlm.invoke(second).content
    assert (vlm.invoke(first).content, vlm.invoke(second).content) == expected
    assert len(vlm.loaded.cache) <= vlm.loaded.cache.capacity
