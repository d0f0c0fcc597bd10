"""`clarify triage`: the rules' own tests are elsewhere; here it is the shape, the exit code and the speed."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from clarify.apps import cli


def test_it_prints_level_and_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["triage", "My throat is swelling and I cannot breathe!", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["level"] == "emergency" and err == ""
    assert result["rules"] and all(set(rule) == {"id", "matched"} for rule in result["rules"])


def test_for_people_the_level_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["triage", "How is psoriasis treated?"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "routine"


def test_texts_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    texts = 'I cannot breathe\n"thanks,\\nbye"\n\nthanks\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(texts))
    assert cli.run(["triage", "-"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("level") for row in rows] == ["emergency", "routine", None, "routine"]
    assert "empty" in rows[2]["error"]


def test_no_model_library_is_loaded() -> None:
    script = (
        "import sys\nfrom clarify.apps import cli\ncode = cli.run(['triage', 'hello'])\n"
        "print(sorted(set('torch transformers langgraph timm ladybug'.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
