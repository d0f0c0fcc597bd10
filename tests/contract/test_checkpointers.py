"""The contract with checkpointers: what is kept, what never is, and that a thread resumes as it was."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from clarify.agent.context import Context
from clarify.agent.graph import build_graph
from clarify.agent.runtime import Session
from clarify.errors import BadImage
from clarify.settings import Settings
from clarify.tests.graph.conftest import picture
from clarify.tests.graph.scripted import UNSURE, Expert, deps, good

QUESTION = "What is this, and how is melanoma treated?"
THREAD = {"configurable": {"thread_id": "t"}}


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Opens the same store again at each call."""
    if request.param == "memory":
        one = InMemorySaver()
        yield lambda: one
        return
    opened: list[sqlite3.Connection] = []

    def again() -> SqliteSaver:
        opened.append(sqlite3.connect(tmp_path / "threads.sqlite", check_same_thread=False))
        return SqliteSaver(opened[-1])

    yield again
    for connection in opened:
        connection.close()


def asked(text: str = QUESTION, *pictures: bytes) -> dict[str, Any]:
    blocks: list[Any] = [
        {"type": "image", "base64": base64.b64encode(p).decode(), "mime_type": "image/png"} for p in pictures
    ]
    return {"messages": [HumanMessage([*blocks, {"type": "text", "text": text}])]}


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("threads.sqlite*"))


def test_a_thread_resumes_with_the_same_state(saver: Callable[[], Any], tmp_path: Path) -> None:
    parts = deps(tmp_path, good(), expert=Expert(UNSURE, UNSURE))
    first = build_graph(parts).compile(checkpointer=saver())
    first.invoke(asked(QUESTION, picture()), THREAD)
    before = first.get_state(THREAD).values
    second = build_graph(parts).compile(checkpointer=saver())
    after = second.get_state(THREAD).values
    assert after == before and after["answer"]["findings"][0]["image"] == "img1"
    second.invoke(asked("How is melanoma treated?"), THREAD)
    grown = second.get_state(THREAD).values
    assert grown["work"]["turn"] == 2 and grown["pictures"] == before["pictures"]
    assert grown["messages"][: len(before["messages"])] == before["messages"]


def test_state_holds_plain_values_only(saver: Callable[[], Any], tmp_path: Path) -> None:
    graph = build_graph(deps(tmp_path, good(), expert=Expert(UNSURE, UNSURE))).compile(checkpointer=saver())
    graph.invoke(asked(QUESTION, picture()), THREAD)

    def plain(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                plain(inner, f"{where}.{key}")
        elif isinstance(value, list):
            for inner in value:
                plain(inner, where)
        else:
            assert type(value) in (str, int, float, bool, type(None)), f"{where}: {type(value)}"

    values = dict(graph.get_state(THREAD).values)
    messages = values.pop("messages")
    plain(values, "state")
    for message in messages:
        plain(message.content, "content")
        plain(message.additional_kwargs, "kwargs")
        assert getattr(message, "artifact", None) is None


def test_no_checkpoint_ever_holds_picture_bytes(tmp_path: Path) -> None:
    """Not even those that LangGraph writes before the first node runs."""
    good_picture, bad = picture(3), b"\x89PNG broken " + bytes(range(256)) * 20
    connection = sqlite3.connect(tmp_path / "threads.sqlite", check_same_thread=False)
    graph = build_graph(deps(tmp_path, good())).compile(checkpointer=SqliteSaver(connection))
    graph.invoke(asked(QUESTION, good_picture), THREAD, durability="sync")
    answer = graph.invoke(asked(QUESTION, bad), THREAD, durability="sync")["answer"]
    assert answer["abstained"] and "could not be used" in answer["answer"]
    assert not graph.invoke(asked("How is melanoma treated?"), THREAD, durability="sync")["answer"][
        "abstained"
    ]
    connection.commit()
    kept = everything(tmp_path)
    for data in (good_picture, bad):
        assert data not in kept and data[40:80] not in kept
        assert base64.b64encode(data)[40:90] not in kept
    refused = [m for m in graph.get_state(THREAD).values["messages"] if m.type == "human"][1]
    assert refused.content == QUESTION, "the offending block is gone, the words stay"
    connection.close()


def test_a_session_refuses_a_bad_picture_before_anything_is_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with Session(settings=settings, kept=True, deps=deps(tmp_path, good())) as session:
        session.ask("How is melanoma treated?", thread="t")
        before = everything(tmp_path)
        with pytest.raises(BadImage):
            session.ask(QUESTION, images=[b"SECRETBYTES" * 9], thread="t")
        assert everything(tmp_path) == before and b"SECRETBYTES" not in before
        assert len(session.history("t")) == 2


def test_a_few_kilobytes_a_turn(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    sizes = []
    with Session(
        settings=settings, kept=True, deps=deps(tmp_path, good(), expert=Expert(UNSURE, UNSURE))
    ) as session:
        for n in range(6):
            session.ask(f"{QUESTION} {n}", images=[picture(n)], thread="t")
            session._connection.commit()
            row = session._connection.execute(
                "select length(checkpoint) from checkpoints order by checkpoint_id desc limit 1"
            ).fetchone()
            sizes.append(row[0])
        count = session._connection.execute("select count(*) from checkpoints").fetchone()[0]
    growth = [b - a for a, b in zip(sizes, sizes[1:], strict=False)]
    assert count == 6, "one checkpoint a turn"
    assert max(growth) < 8_000 and sizes[0] < 25_000


def test_a_session_resumes_after_a_restart(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with Session(settings=settings, kept=True, deps=deps(tmp_path, good())) as session:
        session.ask(QUESTION, images=[picture()], thread="t")
    expert = Expert()
    with Session(settings=settings, kept=True, deps=deps(tmp_path, good(), expert=expert)) as session:
        assert [role for role, _ in session.history("t")] == ["user", "assistant"]
        answer = session.ask("How is melanoma treated?", thread="t")
        assert answer.tool_calls == [] or answer.tool_calls[0].name == "query_knowledge"
        assert expert.looks == [] and not answer.abstained
        second = session.ask("And this one, what is it?", images=[picture(9)], thread="t")
        assert list(second.audit.images) == ["img2"]


def test_a_thread_goes_on_after_a_turn_that_was_cut_short(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with Session(settings=settings, kept=True, deps=deps(tmp_path, good())) as session:
        session.ask("How is melanoma treated?", thread="t")
        for steps in range(1, 4):
            turn = session.stream("Which tests confirm melanoma?", thread="t")
            for _ in range(steps):
                next(turn)
            turn.close()
        assert not session.ask("How is melanoma treated?", thread="t").abstained
        seen = session.deps.generalist("").calls[-1]["messages"]  # type: ignore[attr-defined]
        results = {m.tool_call_id for m in seen if m.type == "tool"}
        assert all(c["id"] in results for m in seen if m.type == "ai" for c in m.tool_calls)


def test_clients_cannot_plant_evidence_or_answers(tmp_path: Path) -> None:
    graph = build_graph(deps(tmp_path, good())).compile(checkpointer=InMemorySaver())
    planted: Any = {
        **asked("How is psoriasis treated?"),
        "evidence": [{"turn": 1, "fact_id": "x-1"}],
        "findings": [{"image": "img1"}],
        "work": {"turn": 40},
    }
    state = graph.invoke(planted, THREAD)
    values = graph.get_state(THREAD).values
    assert values["work"]["turn"] == 1 and values.get("findings", []) == []
    assert all(row["fact_id"] != "x-1" for row in values["evidence"]) and state["answer"]


@pytest.mark.parametrize("context", [None, Context()])
def test_context_is_optional(tmp_path: Path, context: Context | None) -> None:
    graph = build_graph(deps(tmp_path, good())).compile()
    assert graph.invoke(asked(QUESTION, picture()), context=context)["answer"]["findings"]
