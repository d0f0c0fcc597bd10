"""The shipped dual encoder: its size, what it finds on lesions never drawn before, its commands, its say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import clarify
from clarify.agent.runtime import Session
from clarify.tools.concepts.concepts import Concepts
from clarify.tools.concepts.encoder import DEFAULT, FILES
from clarify.tools.concepts.tools import ANNOTATE, ZERO_SHOT
from clarify.training.make.calibrate import truths, vectors
from clarify.training.make.data import drawn

ROOT = Path(clarify.__file__).parent
EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def concepts() -> Concepts:
    return Concepts.load()


def test_the_weights_are_as_small_as_promised() -> None:
    assert (DEFAULT / FILES[0]).stat().st_size <= 6_000_000
    assert sum(file.stat().st_size for file in (ROOT / "weights").rglob("*")) <= 28_000_000


def test_concepts_of_lesions_never_drawn_before_are_found(concepts: Concepts) -> None:
    side = drawn(60, 4242)
    areas = {}
    for concept, margins in concepts.margins(vectors(concepts.encoder, side.pixels)).items():
        rows, there = truths(side.known, concept)
        if 10 <= there.sum() <= len(there) - 10:
            areas[concept] = roc_auc_score(there, margins[rows])
    assert len(areas) >= 8 and np.mean(list(areas.values())) > 0.7, areas


def test_the_commands_speak_of_the_examples() -> None:
    def rows(*words: str) -> list[dict[str, object]]:
        command = [sys.executable, "-m", "clarify.apps.cli", *words, "--jsonl"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    (one,) = rows("concepts", str(EXAMPLES / "sure.png"))
    assert set(one) == {"path", "concepts"}
    labels = ["basal cell carcinoma", "melanocytic nevus", "psoriasis"]
    (two,) = rows("zero-shot", str(EXAMPLES / "sure.png"), "--label", *labels)
    found = two["probabilities"]
    assert isinstance(found, dict) and list(found) == labels and sum(found.values()) == pytest.approx(1)


def test_an_unsure_picture_gets_a_second_opinion_and_a_search_by_signs() -> None:
    answer = Session().ask("What is this?", images=[EXAMPLES / "unsure.png"])
    rules = {decision.rule for decision in answer.decisions}
    assert {"second_look", "zero_shot", "widen"} <= rules and "tool_failed" not in rules
    assert {ZERO_SHOT, ANNOTATE} <= {call.name for call in answer.tool_calls}
    cited = [s for s in answer.statements if any(c.startswith((ZERO_SHOT, ANNOTATE)) for c in s.citations)]
    rows = {row.fact_id: row for row in answer.evidence}
    assert cited and all(s.text == rows[s.citations[0]].statement for s in cited)
    assert "most like" in answer.answer and "weights" in rows[cited[0].citations[0]].source.title
