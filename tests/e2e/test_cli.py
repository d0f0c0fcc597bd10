"""The whole product as a person starts it: shipped weights, embedded graph, real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import clarify
from clarify.agent.answer import ClarifyAnswer

EXAMPLES = Path(clarify.__file__).parent / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def clarify_cli(home: Path) -> Any:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLARIFY_")} | {
        "CLARIFY_HOME": str(home)
    }

    def run(*words: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clarify.apps.cli", *words]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=600, env=environment, cwd=home
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def answered(done: subprocess.CompletedProcess[str]) -> list[ClarifyAnswer]:
    return [ClarifyAnswer.model_validate_json(line) for line in done.stdout.splitlines()]


def assert_grounded(answer: ClarifyAnswer) -> None:
    """Every citation is a row of the evidence or a finding on a picture, and a medical statement has one."""
    known = {row.fact_id for row in answer.evidence} | {f"specialist:{f.image}" for f in answer.findings}
    for statement in answer.statements:
        assert set(statement.citations) <= known
        assert statement.citations or statement.kind in {"other", "advice"}


def test_doctor_finds_every_part(clarify_cli: Any) -> None:
    parts = json.loads(clarify_cli("doctor", "--json").stdout)
    wanted = {"specialist", "segmenter", "dual encoder", "generalist nano", "graph", "gpu", "settings"}
    assert wanted <= {part["name"] for part in parts}
    assert all(part["ok"] for part in parts)


def test_classify_walks_the_examples(clarify_cli: Any) -> None:
    rows = [
        json.loads(line) for line in clarify_cli("classify", str(EXAMPLES), "--jsonl").stdout.splitlines()
    ]
    by_name = {Path(row["path"]).name: row for row in rows}
    assert {"sure.png", "unsure.png", "out_of_scope.png"} <= set(by_name)
    sure, unsure, outside = (by_name[f"{name}.png"] for name in ("sure", "unsure", "out_of_scope"))
    assert sure["in_scope"] and sure["confidence"] >= 0.8 > unsure["confidence"] and unsure["in_scope"]
    assert abs(sum(sure["probabilities"].values()) - 1) < 1e-4 and len(sure["probabilities"]) == 7
    assert (outside["in_scope"], outside["label"], outside["probabilities"]) == (False, None, {})


def test_segment_marks_and_measures_the_example_lesions(clarify_cli: Any, home: Path) -> None:
    pictures = [str(EXAMPLES / f"{name}.png") for name in ("sure", "unsure")]
    done = clarify_cli("segment", *pictures, "--out", str(home / "masks"), "--jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == pictures and all(Path(row["mask"]).is_file() for row in rows)
    for row in rows:
        assert 0.02 < row["area_fraction"] < 0.8 and 0 <= row["asymmetry"] < 0.6
        assert 0.9 < row["border_irregularity"] < 6 and row["colours"] and row["diameter_px"] > 10


def test_a_sure_picture_gets_a_cited_answer(clarify_cli: Any) -> None:
    question = "What is this, and how is it treated?"
    [answer] = answered(clarify_cli("ask", question, "-i", str(EXAMPLES / "sure.png"), "--json"))
    assert_grounded(answer)
    assert not answer.abstained and answer.findings[0].in_scope and answer.findings[0].label
    assert any(s.kind == "fact" for s in answer.statements)
    assert {call.name for call in answer.tool_calls} == {"classify_lesion", "query_knowledge"}
    assert len(answer.audit.images["img1"]) == 64 and set(answer.audit.weights) == {
        "specialist",
        "generalist",
    }
    assert all(row.source.title and row.cypher for row in answer.evidence)


def test_an_unsure_picture_is_looked_at_again_and_told_apart(clarify_cli: Any) -> None:
    [answer] = answered(clarify_cli("ask", "What is this?", "-i", str(EXAMPLES / "unsure.png"), "--json"))
    assert_grounded(answer)
    assert "reclassify" in {decision.taken for decision in answer.decisions}
    assert len(answer.differential) > 1


def test_a_picture_out_of_scope_is_not_diagnosed(clarify_cli: Any) -> None:
    done = clarify_cli("ask", "What is this?", "-i", str(EXAMPLES / "out_of_scope.png"), "--json")
    [answer] = answered(done)
    assert answer.abstained and answer.abstention_reason and not answer.differential
    assert [f.label for f in answer.findings] == [None]


def test_told_signs_lead_to_their_condition_or_to_a_request_for_more(clarify_cli: Any) -> None:
    told = "Which condition gives itchy purple flat bumps on the wrists?\nMy skin is itchy. What is it?\n"
    found, refused = answered(clarify_cli("ask", "-", stdin=told))
    assert_grounded(found)
    assert not found.abstained and found.evidence[0].subject == "lichen planus"
    assert {call.name for call in found.tool_calls} >= {"find_conditions"}
    assert any(s.kind == "fact" and s.citations for s in found.statements)
    assert refused.abstained and "too many conditions" in refused.abstention_reason


def test_questions_from_stdin_and_small_talk(clarify_cli: Any) -> None:
    answers = answered(clarify_cli("ask", "-", stdin='How is psoriasis treated?\n"Thank you!"\n'))
    assert [len(a.evidence) > 0 for a in answers] == [True, False]
    assert answers[1].tool_calls == [] and len({a.thread for a in answers}) == 2
    assert_grounded(answers[0])


def test_a_conversation_goes_on_after_a_restart(clarify_cli: Any) -> None:
    sure, words = EXAMPLES / "sure.png", ["chat", "--jsonl", "--thread", "t"]
    first = answered(clarify_cli(*words, "-i", str(sure), stdin="What is this?\nHow is it treated?\n"))
    assert len(first) == 2 and len(first[0].findings) == 1
    text = f"/image {EXAMPLES / 'unsure.png'}\nAnd what is this second picture?\n/quit\n"
    [later] = answered(clarify_cli(*words, stdin=text))
    assert later.thread == "t" and [f.image for f in later.findings][-1] == "img2"
    assert_grounded(later)


def test_for_people_the_answer_ends_with_sources_and_the_caveat(clarify_cli: Any) -> None:
    done = clarify_cli("ask", "How is psoriasis treated?", "--trace")
    assert "Sources" in done.stdout and "not a medical device" in done.stdout and "Decisions" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ask", "What?", "--profile", "nonsense"], "nonsense"),
        (["ask", "What?", "-i", "missing.png"], "missing.png"),
        (["ask", "   "], "empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(clarify_cli: Any, words: list[str], said: str) -> None:
    done = clarify_cli(*words, code=2)
    assert done.stdout == "" and said in done.stderr.splitlines()[-1]
