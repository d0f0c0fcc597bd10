"""`ask` and `chat` over an engine that only remembers what it was asked; the real one is in tests/graph."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clarify.agent.answer import ClarifyAnswer, Decision, ToolCallRecord, Urgency
from clarify.apps import cli, talk
from clarify.errors import BadInput, WeightsMissing


class Recorder:
    """Stands where `Session` stands; answers with what it got."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str | None]] = []
        self.opened: list[tuple[str | None, bool]] = []

    def ask(
        self, question: str, *, images: Sequence[bytes] = (), thread: str | None = None,
        on_event: Callable[[str], None] | None = None, **_: Any,
    ) -> ClarifyAnswer:  # fmt: skip
        self.asked.append((question, len(images), thread))
        if on_event:
            on_event("writing")
        if question == "fail":
            raise BadInput("refused.", hint="Ask otherwise.")
        return ClarifyAnswer(
            answer=f"Urgency   routine\nYou asked: {question} [mel-def-1]",
            urgency=Urgency(level="routine"),
            decisions=[
                Decision(rule="confidence", value=0.71, threshold=0.8, taken="reclassify", reason="unsure")
            ],
            tool_calls=[ToolCallRecord(name="classify_lesion", args={"image": "img1"}, ms=12)],
            thread=thread or "new",
        )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()

    def open_session(profile: str | None, *, kept: bool) -> Recorder:
        recorder.opened.append((profile, kept))
        return recorder

    monkeypatch.setattr(talk, "open_session", open_session)
    return recorder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "my spot.png"
    Image.new("RGB", (32, 24), (200, 150, 140)).save(path)
    return path


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_ask_prints_for_people_without_colour_off_a_terminal(
    engine: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["ask", "What is a mole?"]) == 0
    out, err = capsys.readouterr()
    assert out == "Urgency   routine\nYou asked: What is a mole? [mel-def-1]\n"
    assert engine.opened == [(None, False)]
    assert all(line.startswith("... ") for line in err.splitlines())


def test_ask_json_is_one_answer_and_nothing_else_on_stdout(
    engine: Recorder, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "ask What? --json --trace --thread t --profile hub:a/b".split()
    assert cli.run([*words, "-i", str(picture), "--image", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert ClarifyAnswer.model_validate_json(out).thread == "t" and out.count("\n") == 1
    assert engine.asked == [("What?", 2, "t")] and engine.opened == [("hub:a/b", True)]
    assert "classify_lesion(image=img1)" in err


def test_ask_trace_prints_decisions_and_calls(engine: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", "What?", "--trace"]) == 0
    out = capsys.readouterr().out
    assert (
        "0.710 / 0.800" in out and "-> reclassify" in out and "classify_lesion(image=img1)   ok, 12 ms" in out
    )


def test_ask_reads_questions_from_stdin_in_order(
    engine: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('first\n"se\\ncond"\nfail\n\nlast\n'))
    assert cli.run(["ask", "-"]) == 0
    got = lines(capsys.readouterr().out)
    assert [row.get("answer", row.get("error", "")).splitlines()[-1] for row in got] == [
        "You asked: first [mel-def-1]", "cond [mel-def-1]", "refused. Ask otherwise.",
        got[3]["error"], "You asked: last [mel-def-1]",
    ]  # fmt: skip
    assert "empty" in got[3]["error"] and len(engine.opened) == 1


def test_a_bad_picture_is_refused_before_the_engine_opens(
    engine: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["ask", "What?", "-i", str(tmp_path / "none.png")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "none.png does not exist" in err and err.count("\n") == 1 and engine.opened == []


def test_missing_weights_exit_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def open_session(*_: Any, **__: Any) -> None:
        raise WeightsMissing("no weights.", hint="Run make install.")

    monkeypatch.setattr(talk, "open_session", open_session)
    assert cli.run(["ask", "What?", "--json"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1] == "clarify: no weights. Run make install."


def test_chat_goes_on_after_bad_lines_and_keeps_the_picture(
    engine: Recorder, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["hello", "", "/image nowhere.png", "/picture x", f"/image '{picture}'", "fail", "what is it?"]
    said += ["and now?", "/quit", "never"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(said)))
    assert cli.run(["chat", "--jsonl", "--thread", "mine"]) == 0
    out, err = capsys.readouterr()
    assert engine.asked == [("hello", 0, "mine"), ("fail", 1, "mine"), ("what is it?", 1, "mine"),
                            ("and now?", 0, "mine")]  # fmt: skip
    got = lines(out)
    assert [("error" in row) for row in got] == [False, True, True, True, False, False]
    assert "nowhere.png" in got[1]["error"] and "/picture" in got[2]["error"]
    assert engine.opened == [(None, True)] and "clarify chat --thread mine" in err


def test_chat_for_people_starts_its_own_thread(
    engine: Recorder, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\nthere\n"))
    assert cli.run(["chat", "-i", str(picture)]) == 0
    assert capsys.readouterr().out.count("You asked") == 2
    threads = {thread for _, _, thread in engine.asked}
    assert len(threads) == 1 and threads != {None} and [n for _, n, _ in engine.asked] == [1, 0]
