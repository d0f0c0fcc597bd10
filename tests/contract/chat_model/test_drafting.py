"""Drafted tokens change no answer: every family, prose, calls, stop texts, limits, streams, later turns."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, Field

from clarify.agent.generalist import LocalVLM

A = "aa" * 32


class Ask(BaseModel):
    """Ask the graph."""

    query: Literal["describe", "signs", "treatment"]
    diseases: list[str] = Field(min_length=1, max_length=2)


def thread() -> list[BaseMessage]:
    blocks: list[Any] = [{"type": "image", "file_id": A}, {"type": "text", "text": "what is it? what is it?"}]
    return [SystemMessage("Say it again, say it again, say it."), HumanMessage(blocks)]


def both(vlm: LocalVLM, messages: list[BaseMessage], **options: Any) -> tuple[AIMessage, AIMessage]:
    """The same call with drafts and without, each with an empty cache."""
    answers = []
    for most in (8, 0):
        vlm.loaded.cache.clear()
        model = vlm.model_copy(update={"draft_tokens": most, "max_new_tokens": 120})
        answers.append(model.invoke(messages, **options))
    return answers[0], answers[1]


def passes(message: AIMessage) -> int:
    return int(message.response_metadata["passes"])


def same(a: AIMessage, b: AIMessage) -> bool:
    facts = [
        (m.content, [(c["name"], c["args"]) for c in m.tool_calls], m.response_metadata["finish_reason"])
        for m in (a, b)
    ]
    return facts[0] == facts[1] and a.usage_metadata == b.usage_metadata


class Recorder:
    """Drafts nothing and remembers what was taken."""

    taken: list[int] = []

    def __init__(self, ids: list[int], most: int, never: set[int]) -> None:
        Recorder.taken = []

    def add(self, token: int) -> None:
        Recorder.taken.append(token)

    def draft(self) -> list[int]:
        return []


class Oracle:
    """Drafts what was taken the last time; every other draft is wrong at its fourth token."""

    def __init__(self, ids: list[int], most: int, never: set[int]) -> None:
        self.wanted, self.at, self.count = list(Recorder.taken), 0, 0

    def add(self, token: int) -> None:
        assert token == self.wanted[self.at]
        self.at += 1

    def draft(self) -> list[int]:
        draft, self.count = self.wanted[self.at : self.at + 8], self.count + 1
        return [*draft[:3], draft[3] + 1, *draft[4:]] if self.count % 2 and len(draft) > 3 else draft


def test_right_drafts_save_passes_and_wrong_ones_change_nothing(
    vlm: LocalVLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = vlm.model_copy(update={"max_new_tokens": 90})
    answers = []
    for kind in (Recorder, Oracle):
        vlm.loaded.cache.clear()
        monkeypatch.setattr("clarify.agent.generalist.decoding.Lookup", kind)
        answers.append(model.invoke(thread()))
    plain, drafted = answers
    assert same(plain, drafted) and plain.usage_metadata
    assert passes(plain) == plain.usage_metadata["output_tokens"] - 1
    assert passes(drafted) <= passes(plain) / 3


def test_what_was_read_is_drafted_and_the_answer_stays(vlm: LocalVLM) -> None:
    assert same(*both(vlm, thread()))


def test_limits_and_stop_texts_cut_where_they_would(vlm: LocalVLM) -> None:
    for limit in (1, 2, 7, 33):
        assert same(*both(vlm, thread(), max_new_tokens=limit))
    free = str(both(vlm, thread())[1].content)
    word = next(free[i : i + 2] for i in range(8, len(free)) if free[i : i + 2].strip() == free[i : i + 2])
    assert same(*both(vlm, thread(), stop=[word]))


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_calls_are_the_same(vlm: LocalVLM, choice: str) -> None:
    for most in (8, 0):
        vlm.loaded.cache.clear()
        model = vlm.model_copy(update={"draft_tokens": most, "max_new_tokens": 500})
        answer = model.bind_tools([Ask], tool_choice=choice).invoke(thread())
        if most:
            drafted = answer
    assert same(drafted, answer)
    assert choice == "auto" or answer.tool_calls


def test_a_later_turn_reads_a_cache_without_what_was_drafted(vlm: LocalVLM) -> None:
    answers = []
    for most in (8, 0):
        vlm.loaded.cache.clear()
        model = vlm.model_copy(update={"draft_tokens": most, "max_new_tokens": 60})
        first = model.invoke(thread())
        answers.append(model.invoke([*thread(), first, HumanMessage("and now? what is it?")]))
    assert same(*answers)


def test_sampling_drafts_nothing(nano: LocalVLM) -> None:
    answer = nano.bind(temperature=1.0, seed=3).invoke(thread())
    assert passes(answer) == answer.usage_metadata["output_tokens"] - 1


def test_a_stream_says_the_same(vlm: LocalVLM) -> None:
    drafted, _ = both(vlm, thread())
    vlm.loaded.cache.clear()
    model = vlm.model_copy(update={"max_new_tokens": 120})
    assert "".join(str(chunk.content) for chunk in model.stream(thread())) == drafted.content
