"""The command line without any part behind it: help, usage, exit codes, streams."""

from __future__ import annotations

import io
import json
import math
import resource
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.apps import cli, console, doctor
from clarify.errors import BadInput, ClarifyError, KGQueryError, KGUnavailable

COMMANDS = ["ask", "chat", "triage", "classify", "segment", "doctor", "kg"]
KG_COMMANDS = ["build", "load", "stats", "show", "list", "link", "query", "cypher"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clarify.apps.cli", *words], capture_output=True, text=True, timeout=60
    )


def test_help_is_light_and_lists_every_command() -> None:
    script = (
        "import sys\nfrom clarify.apps import cli\n"
        "code = cli.run(['--help'])\n"
        "heavy = set('torch transformers langgraph timm numpy PIL ladybug neo4j pydantic'.split())\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert "HEAVY []" in done.stdout


def test_help_needs_less_than_half_a_second() -> None:
    assert min(_seconds("--help") for _ in range(3)) < 0.5


def _seconds(*words: str) -> float:
    """Processor time of one run: the wall clock of an idle machine, and steady on a busy one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*words).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_kg_help_lists_every_command() -> None:
    done = run("kg", "--help")
    assert done.returncode == 0 and all(f" {name} " in done.stdout for name in KG_COMMANDS)


def test_version() -> None:
    from clarify import __version__

    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    "words",
    ["nonsense", "ask", "ask a --no-such-option", "kg nonsense", "kg link x -k 0", "classify"],
)
def test_wrong_usage_is_one_line_and_exit_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("clarify: ") and err.count("\n") == 1


@pytest.mark.parametrize("words", [["ask", ""], ["ask", "  \n"], ["triage", ""], ["kg", "link", " "],
                                   ["kg", "cypher", ""]])  # fmt: skip
def test_empty_text_is_refused_before_anything_loads(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and "is empty" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (BadInput("no such thing.", hint="Try another."), 2, "no such thing. Try another."),
        (KGUnavailable("graph gone"), 3, "graph gone"),
        (KGQueryError("bad\nquery"), 1, "bad query"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero."),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)  # fmt: skip
def test_exit_codes_and_one_line(
    raised: BaseException, code: int, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def broken(**_: Any) -> None:
        raise raised

    monkeypatch.setattr(cli, "app", broken)
    assert cli.run(["doctor"]) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1 and "Traceback" not in err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise BadInput("x")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(BadInput):
        cli.run(["doctor"], debug=True)


@pytest.mark.parametrize(
    ("words", "kept", "debug"),
    [
        (["--debug", "ask", "q"], ["ask", "q"], True),
        (["ask", "q", "--debug"], ["ask", "q"], True),
        (["ask", "--", "--debug"], ["ask", "--", "--debug"], False),
        (["ask", "--debug", "--", "--debug"], ["ask", "--", "--debug"], True),
        ([], [], False),
    ],
)
def test_debug_is_taken_wherever_it_stands(words: list[str], kept: list[str], debug: bool) -> None:
    assert cli.split_debug(words) == (kept, debug)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    command = f"{sys.executable} -m clarify.apps.cli --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


@given(st.text())
def test_a_json_string_line_is_its_text(text: str) -> None:
    assert console.decoded(json.dumps(text) + "\n") == text


@given(st.text(alphabet=st.characters(exclude_characters='\r\n"'), min_size=1))
def test_any_other_line_is_itself(line: str) -> None:
    assert console.decoded(line + "\n") == line.strip()


@given(st.text())
def test_nothing_printable_steers_a_terminal(text: str) -> None:
    shown = console.printable(text)
    assert len(shown) == len(text) and all(c.isprintable() or c in "\n\t" for c in shown)


def test_numbers_that_json_does_not_have_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit({"rows": [{"a": math.nan, "b": [math.inf, 1.5]}]})
    assert json.loads(capsys.readouterr().out) == {"rows": [{"a": None, "b": [None, 1.5]}]}


def test_stdin_gives_one_json_line_per_text_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('one\n"two\\nlines"\n\nbad\nfive'))

    def one(text: str) -> dict[str, str]:
        if text == "bad":
            raise KGQueryError("no", hint="Try again.")
        return {"text": text}

    console.answer_texts("-", "text", one, print, as_json=False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"text": "one"} and lines[1] == {"text": "two\nlines"} and lines[4] == {"text": "five"}
    assert "empty" in lines[2]["error"] and lines[3] == {"error": "no. Try again."}


def test_a_missing_part_ends_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))

    def one(text: str) -> None:
        raise KGUnavailable("gone")

    with pytest.raises(KGUnavailable):
        console.answer_texts("-", "text", one, print, as_json=True)


def test_progress_is_plain_lines_off_a_terminal() -> None:
    stream = io.StringIO()
    with console.Progress(stream=stream, patience=0.02) as progress:
        for step in ("loading", "loading", "too quick", "writing"):
            progress(step)
            if step != "too quick":
                time.sleep(0.2)
    assert stream.getvalue() == "... loading\n... writing\n"


def _raise(error: Exception) -> doctor.Part:
    raise error


@pytest.mark.parametrize(
    ("error", "todo"),
    [
        (BadInput("bad", hint="Do this."), "Do this."),
        (ClarifyError("bad"), "--debug"),
        (OSError("bad"), "install"),
    ],
)
def test_doctor_turns_every_failure_into_a_finding(error: Exception, todo: str) -> None:
    part = doctor.examine("thing", lambda: _raise(error))
    assert (part.name, part.ok) == ("thing", False) and "bad" in part.found and todo in part.todo


def test_doctor_prints_every_part_and_exits_3_when_one_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = ("fine", lambda: doctor.Part("fine", True, "1"))
    checks = (fine, ("gone", lambda: _raise(BadInput("no", hint="Do."))))
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert cli.run(["doctor", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == [
        {"name": "fine", "ok": True, "found": "1", "todo": ""},
        {"name": "gone", "ok": False, "found": "no", "todo": "Do."},
    ]
    monkeypatch.setattr(doctor, "CHECKS", checks[:1])
    assert cli.run(["doctor"]) == 0
    assert capsys.readouterr().out.startswith("ok")
