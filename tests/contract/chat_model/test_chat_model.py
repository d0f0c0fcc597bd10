# ruff: noqa: E501
"""`LocalVLM` on five random-weight families: what langchain promises of a chat model, pictures, threads, cancelling."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from clarify.agent.generalist import LocalVLM
from clarify.agent.generalist.decoding import Generation
from clarify.errors import BadImage, BadInput
from clarify.tests.contract.chat_model.talk import A, B, dialogue, human

LONG = 3000


# Plain answers


def test_answer_has_usage_and_timings(vlm: LocalVLM) -> None:
    answer = vlm.invoke(dialogue())
    assert isinstance(answer.content, str) and answer.content
    usage = answer.usage_metadata
    assert usage and usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 1 <= usage["output_tokens"] <= 24
    assert set(answer.response_metadata["ms"]) == {"encode", "prefill", "decode"}
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


def test_stream_says_what_invoke_says(vlm: LocalVLM) -> None:
    whole = vlm.invoke(dialogue())
    chunks = list(vlm.stream(dialogue()))
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert len(chunks) > 3
    assert total.content == whole.content
    assert total.usage_metadata and whole.usage_metadata
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]


def test_different_pictures_give_different_answers(vlm: LocalVLM) -> None:
    assert vlm.invoke([human("what is it?", A)]).content != vlm.invoke([human("what is it?", B)]).content
    assert vlm.invoke([human("which?", A, B)]).content != vlm.invoke([human("which?", B, A)]).content


def test_stop_sequence_cuts_invoke_and_stream(vlm: LocalVLM) -> None:
    free = str(vlm.invoke(dialogue()).content)
    word = next(free[i : i + 2] for i in range(4, len(free)) if free[i : i + 2].strip() == free[i : i + 2])
    answer = vlm.invoke(dialogue(), stop=[word])
    assert word not in answer.content and free.startswith(str(answer.content))
    assert answer.response_metadata["finish_reason"] == "stop"
    assert "".join(str(c.content) for c in vlm.stream(dialogue(), stop=[word])) == answer.content


def test_seed_repeats_a_sampled_answer(vlm: LocalVLM) -> None:
    hot = vlm.bind(temperature=1.5)
    assert hot.invoke(dialogue(), seed=1).content == hot.invoke(dialogue(), seed=1).content
    assert len({str(hot.invoke(dialogue(), seed=s).content) for s in range(4)}) > 1


def test_batch_and_async_say_what_invoke_says(vlm: LocalVLM) -> None:
    whole = vlm.invoke(dialogue())

    async def talk() -> tuple[AIMessage, str]:
        one = await vlm.ainvoke(dialogue())
        return one, "".join([str(c.content) async for c in vlm.astream(dialogue())])

    one, streamed = asyncio.run(talk())
    assert one.content == streamed == whole.content
    assert [m.content for m in vlm.batch([dialogue()] * 3)] == [whole.content] * 3


def test_async_does_not_block_the_loop(nano: LocalVLM) -> None:
    async def talk() -> int:
        ticks, task = 0, asyncio.create_task(nano.ainvoke(dialogue(), max_new_tokens=60))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.002)
        return ticks

    assert asyncio.run(talk()) > 3


def test_eight_threads_get_the_same_answer(vlm: LocalVLM) -> None:
    alone = vlm.invoke(dialogue()).content
    vlm.loaded.cache.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: vlm.invoke(dialogue()).content, range(8)))
    assert answers == [alone] * 8


def test_each_thread_gets_what_it_would_get_alone(vlm: LocalVLM) -> None:
    """Conversations of two turns run through each other, more of them than the prefix cache keeps."""
    short = vlm.bind(max_new_tokens=10)

    def talk(number: int) -> list[Any]:
        thread = [SystemMessage("Answer from rows."), human(f"question {number}?", (A, B)[number % 2])]
        first = short.invoke(thread)
        return [first.content, short.invoke([*thread, first, HumanMessage("and then?")]).content]

    alone = []
    for number in range(6):
        vlm.loaded.cache.clear()
        alone.append(talk(number))
    vlm.loaded.cache.clear()
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(talk, range(6))) == alone
    assert len({first for first, _ in alone}) > 2


# Cancellation


def running() -> bool:
    return any(t.name == "clarify-generation" for t in threading.enumerate())


def settle() -> None:
    end = time.monotonic() + 5
    while running() and time.monotonic() < end:
        time.sleep(0.005)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    """The generations of a test, to see how they ended."""
    made: list[Generation] = []

    class Watched(Generation):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr("clarify.agent.generalist.vlm.Generation", Watched)
    return made


def ended_early(vlm: LocalVLM, run: Generation) -> None:
    """The model is free again, and what the generation left in the prefix cache does no harm."""
    assert vlm.loaded.lock.acquire(timeout=2)
    vlm.loaded.lock.release()
    assert run.finish_reason == "cancelled" and 0 < run.new_tokens < LONG
    after = vlm.invoke(dialogue())
    assert after.usage_metadata and after.usage_metadata["input_token_details"]["cache_read"] > 0
    vlm.loaded.cache.clear()
    assert vlm.invoke(dialogue()).content == after.content


def test_closing_a_stream_ends_the_generation(vlm: LocalVLM, begun: list[Generation]) -> None:
    settle()
    stream = vlm.stream(dialogue(), max_new_tokens=LONG)
    next(stream)
    started = time.monotonic()
    stream.close()
    settle()
    assert not running() and time.monotonic() - started < 3
    ended_early(vlm, begun[0])


async def test_leaving_an_async_stream_ends_the_generation(vlm: LocalVLM, begun: list[Generation]) -> None:
    async with aclosing(vlm.astream(dialogue(), max_new_tokens=LONG)) as stream:
        await anext(stream)
    await asyncio.to_thread(settle)
    assert not running()
    ended_early(vlm, begun[0])


def test_a_slow_reader_does_not_hold_the_model(nano: LocalVLM) -> None:
    stream = nano.stream(dialogue())
    next(stream)
    assert nano.invoke(dialogue()).content  # the same thread, in the middle of its own stream
    stream.close()


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
async def test_a_cancelled_task_ends_the_generation(vlm: LocalVLM, begun: list[Generation], way: str) -> None:
    async def read() -> None:
        if way == "ainvoke":
            await vlm.ainvoke(dialogue(), max_new_tokens=LONG)
        else:
            async for _ in vlm.astream(dialogue(), max_new_tokens=LONG):
                pass

    task = asyncio.create_task(read())
    while not (task.done() or (begun and begun[0].new_tokens > 2)):
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(settle)
    ended_early(vlm, begun[0])


def test_an_error_in_a_stream_reaches_the_reader(nano: LocalVLM) -> None:
    with pytest.raises(BadInput):
        list(nano.stream([HumanMessage([{"type": "audio", "data": "x"}])]))


# Pictures in messages


def inline(fmt: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (120, 60, 30)).save(buffer, fmt)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": inline(), "mime_type": "image/png"},
        {"type": "image", "data": inline(), "mimeType": "image/png"},
        {"type": "image", "source_type": "base64", "data": inline(), "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": inline()}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + inline()}},
        {"type": "image_url", "image_url": "data:image/png;base64," + inline()},
    ],
)
def test_every_inline_shape_is_the_same_picture(nano: LocalVLM, block: dict[str, Any]) -> None:
    assert nano.invoke([HumanMessage([block])]).content == _reference(nano)


def _reference(nano: LocalVLM) -> Any:
    loader = nano.model_copy(update={"image_loader": lambda _: Image.new("RGB", (40, 30), (120, 60, 30))})
    return loader.invoke(
        [human("", A).model_copy(update={"content": [{"type": "image", "file_id": A}]})]
    ).content


def test_bad_pictures_are_refused(nano: LocalVLM) -> None:
    with pytest.raises(BadImage):
        nano.invoke([HumanMessage([{"type": "image", "base64": "aGVsbG8=", "mime_type": "image/png"}])])
    with pytest.raises(BadInput, match="addresses"):
        nano.invoke(
            [HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])]
        )
    with pytest.raises(BadInput, match="loader"):
        nano.model_copy(update={"image_loader": None}).invoke([human("x", A)])


def test_pictures_in_tool_results_are_seen(vlm: LocalVLM) -> None:
    def thread(sha: str) -> list[BaseMessage]:
        call = AIMessage("", tool_calls=[{"name": "Look", "args": {"image": "img1"}, "id": "1"}])
        result = ToolMessage(
            [{"type": "text", "text": "overlay"}, {"type": "image", "file_id": sha}], tool_call_id="1"
        )
        return [*dialogue(), call, result]

    assert vlm.invoke(thread(A)).content != vlm.invoke(thread(B)).content


def test_control_tokens_in_a_question_have_no_power(vlm: LocalVLM) -> None:
    token = vlm.loaded.template.image_token
    answer = vlm.invoke([human(f"{token} {vlm.loaded.tokenizer.eos_token} <tool_call> hello", A)])
    assert answer.usage_metadata
    text, pictures = vlm.loaded.template.render([human(f"{token} hello", A)], [], vlm.image_loader)
    assert text.count(token) == len(pictures) == 1


def test_unknown_options_are_refused(nano: LocalVLM) -> None:
    with pytest.raises(BadInput, match="top_k"):
        nano.invoke(dialogue(), top_k=3)
    with pytest.raises(BadInput):
        nano.invoke(dialogue(), max_new_tokens=0)
