# ruff: noqa: E501
"""`LocalVLM` on three random-weight families: what langchain promises of a chat model, pictures, tools, cache, threads."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from PIL import Image
from pydantic import BaseModel, Field

from clarify.agent.generalist import LocalVLM, ModelStore, load_generalist
from clarify.errors import BadImage, BadInput, Unavailable, WeightsMissing

A, B = "aa" * 32, "bb" * 32
QUERIES = ["describe", "signs", "treatment"]


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


def test_seed_repeats_a_sampled_answer(nano: LocalVLM) -> None:
    hot = nano.bind(temperature=1.5)
    assert hot.invoke(dialogue(), seed=1).content == hot.invoke(dialogue(), seed=1).content
    assert len({str(hot.invoke(dialogue(), seed=s).content) for s in range(4)}) > 1


def test_batch_and_async_say_what_invoke_says(nano: LocalVLM) -> None:
    whole = nano.invoke(dialogue())

    async def talk() -> tuple[AIMessage, str]:
        one = await nano.ainvoke(dialogue())
        return one, "".join([str(c.content) async for c in nano.astream(dialogue())])

    one, streamed = asyncio.run(talk())
    assert one.content == streamed == whole.content
    assert [m.content for m in nano.batch([dialogue()] * 3)] == [whole.content] * 3


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


# Cancellation


def running() -> bool:
    return any(t.name == "clarify-generation" for t in threading.enumerate())


def settle() -> None:
    end = time.monotonic() + 5
    while running() and time.monotonic() < end:
        time.sleep(0.005)


def test_closing_a_stream_ends_the_generation(nano: LocalVLM) -> None:
    settle()
    stream = nano.stream(dialogue(), max_new_tokens=2000)
    next(stream)
    started = time.monotonic()
    stream.close()
    settle()
    assert not running() and time.monotonic() - started < 3
    assert nano.loaded.lock.acquire(timeout=1)
    nano.loaded.lock.release()


def test_a_slow_reader_does_not_hold_the_model(nano: LocalVLM) -> None:
    stream = nano.stream(dialogue())
    next(stream)
    assert nano.invoke(dialogue()).content  # the same thread, in the middle of its own stream
    stream.close()


def test_a_cancelled_task_ends_the_generation(nano: LocalVLM) -> None:
    async def talk() -> None:
        task = asyncio.create_task(nano.ainvoke(dialogue(), max_new_tokens=3000))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(talk())
    assert nano.loaded.lock.acquire(timeout=2)
    nano.loaded.lock.release()


def test_an_error_in_a_stream_reaches_the_reader(nano: LocalVLM) -> None:
    with pytest.raises(BadInput):
        list(nano.stream([HumanMessage([{"type": "audio", "data": "x"}])]))


# Tools


@pytest.mark.parametrize("seed", range(7))
def test_required_calls_are_always_well_formed(vlm: LocalVLM, seed: int) -> None:
    """21 calls of random models at temperature 2, each in the schema and within the bound."""
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
    guide = lm.guides.guide([_openai(Look)], "auto", 1)
    assert not guide.constrained
    opening = f"I see {lm.guides.syntax.begin}"
    ids = lm.tokenizer(opening, add_special_tokens=False).input_ids
    text = ""
    for i, token in enumerate(ids):
        assert not guide.constrained
        text = lm.tokenizer.decode(ids[: i + 1])
        guide.accept(token, text)
    assert guide.constrained


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


def _openai(model: type[BaseModel]) -> dict[str, Any]:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    return convert_to_openai_tool(model)


# Prefix cache


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


def test_another_picture_is_not_mistaken_for_the_cached_one(vlm: LocalVLM) -> None:
    alone = vlm.invoke([human("what is it?", B)]).content
    vlm.loaded.cache.clear()
    vlm.invoke([human("what is it?", A)])
    assert vlm.invoke([human("what is it?", B)]).content == alone


def test_threads_sharing_a_system_prompt_do_not_spoil_each_other(nano: LocalVLM) -> None:
    first, second = [*dialogue()], [SystemMessage("Answer from rows."), HumanMessage("hello")]
    expected = nano.invoke(first).content, nano.invoke(second).content
    assert (nano.invoke(first).content, nano.invoke(second).content) == expected
    assert len(nano.loaded.cache) <= nano.loaded.cache.capacity


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


# Loading and profiles


def test_nf4_loads_answers_and_saves(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoConfig

    store = ModelStore()
    vlm = load_generalist(
        f"path:{folders['nano']}", store=store, device="cpu", image_loader=_grey, max_new_tokens=8
    )
    assert isinstance(vlm, LocalVLM) and vlm.loaded.quantized
    asked = vlm.bind_tools([Look], tool_choice="required", max_calls=1)
    first = asked.invoke(dialogue(), max_new_tokens=80)
    Look.model_validate(first.tool_calls[0]["args"])
    vlm.loaded.model.save_pretrained(tmp_path)
    vlm.loaded.processor.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).quantization_config["bnb_4bit_quant_type"] == "nf4"
    again = LocalVLM.from_folder(tmp_path, quantize=False, device="cpu", image_loader=_grey)
    assert again.loaded.quantized and again.loaded.weight_bytes() == vlm.loaded.weight_bytes()
    assert same(again.bind_tools([Look], tool_choice="required", max_calls=1).invoke(dialogue()), first)


def _grey(_: str) -> Image.Image:
    return Image.new("RGB", (64, 64), (128, 128, 128))


def test_another_nano_is_a_folder_too(folders: dict[str, Path], store: ModelStore) -> None:
    vlm = load_generalist(f"nano:{folders['nano']}", store=store, device="cpu")
    assert isinstance(vlm, LocalVLM) and vlm.loaded.name == str(folders["nano"])


def test_one_model_in_memory_for_each_folder(folders: dict[str, Path], store: ModelStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: store.get(folders["nano"], quantize=False), range(4)))
    assert len({id(m) for m in loaded}) == 1


def test_missing_and_changed_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        LocalVLM.from_folder(tmp_path / "none")
    assert caught.value.hint and caught.value.exit_code == 3
    for file in folders["nano"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.json").write_text(
        json.dumps({"files": {"model.safetensors": {"sha256": "0" * 64}}})
    )
    with pytest.raises(WeightsMissing, match="changed"):
        LocalVLM.from_folder(tmp_path)


def test_unknown_profile_lists_the_profiles() -> None:
    for profile in ("tiny", "nano:", "hub:", "server:http://localhost#", ""):
        with pytest.raises(BadInput) as caught:
            load_generalist(profile)
        assert "server:URL#MODEL" in caught.value.line()


def test_hub_model_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable) as caught:
        load_generalist("hub:nobody/no-such-model@main")
    assert "network" in caught.value.hint


def test_unknown_options_are_refused(nano: LocalVLM) -> None:
    with pytest.raises(BadInput, match="top_k"):
        nano.invoke(dialogue(), top_k=3)
    with pytest.raises(BadInput):
        nano.invoke(dialogue(), max_new_tokens=0)
