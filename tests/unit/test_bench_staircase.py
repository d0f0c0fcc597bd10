"""The staircase: what is read of an answer, what the graph supports, and what is counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from langchain_core.messages import AIMessage
from PIL import Image

from clarify.agent.deps import default_deps
from clarify.bench.staircase import EVERY, Judge, cases, row
from clarify.bench.staircase_systems import Alone, Case, Said
from clarify.training.generalist.alone import shipped_facts, uncited
from clarify.training.generalist.phrasing import say_rows

NAMES = {"mel": "melanoma", "nv": "melanocytic nevus", "bkl": "benign keratosis"}
BLANK = Image.new("RGB", (20, 15))


@pytest.fixture(scope="module")
def facts():
    return shipped_facts(list(NAMES.values()))


@pytest.fixture(scope="module")
def judge(facts):
    return Judge(facts, shipped_facts(list(NAMES.values()), EVERY), default_deps().lexicon())


def test_what_a_row_says_is_supported_and_what_none_says_is_not(judge, facts):
    rows = [fact for queries in facts.values() for found in queries.values() for fact in found][::7]
    right = [judge.row_of(uncited(sentence)) for sentence in say_rows(rows)]
    assert len(rows) > 10 and all(right)
    assert judge.row_of("The first treatment of melanoma is homeopathy.") is None
    assert judge.row_of("The first treatment of melanocytic nevus is radiotherapy.") is None


class Parrot:
    """Says the same whatever it is asked, and keeps what it was shown."""

    def __init__(self, text):
        self.text, self.seen = text, []

    def bind_tools(self, tools, **options):
        assert options["tool_choice"] == "none"
        return self

    def invoke(self, messages):
        self.seen = messages
        return AIMessage(self.text)

    def write(self, players, bank, order):
        self.seen = [
            (player.said, bank.tensor([i for m in player.said for _, i in m.images])) for player in players
        ]
        return [self.text] * len(players)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The picture fits melanoma best.", "melanoma"),
        ("The picture fits melanocytic nevus best, at 62 %, but this is not sure.", "melanocytic nevus"),
        ("The picture fits a cloud best.", "something else"),
        ("I can only help with questions about skin.", None),
    ],
)
def test_the_diagnosis_is_read_from_the_sentence_that_gives_one(judge, text, label):
    model = Parrot(f"{text}\nA risk factor for melanoma is many moles.")
    said = Alone(model, model, NAMES, judge._lexicon)(Case(BLANK, "melanoma", "What is it?", "causes"))
    assert said.label == label
    assert said.sentences[-1] == "A risk factor for melanoma is many moles."
    assert len(said.sentences) == (1 if label else 2)


def test_who_is_told_reads_what_the_specialist_says(judge):
    seen = SimpleNamespace(
        in_scope=True, scope_score=0.9, label="nv", curie="x", confidence=0.9,
        probabilities={"nv": 0.9, "mel": 0.1}, prediction_set=["nv"], quality=[], skin_tone=None,
        refined_by={},
    )  # fmt: skip
    model, case = Parrot("x"), Case(BLANK, "melanoma", "What is it?", "causes")
    Alone(model, model, NAMES, judge._lexicon, SimpleNamespace(classify=lambda image: seen))(case)
    assert (
        model.seen[-1].content
        == "img1: melanocytic nevus 90 %, melanoma 10 %; sure; shortlist melanocytic nevus"
    )
    Alone(model, model, NAMES, judge._lexicon)(case)
    assert model.seen[-1].content[-1]["text"] == "What is it?"


def test_many_answers_are_read_as_one_is(judge):
    dark, light = Image.new("RGB", (20, 15)), Image.new("RGB", (20, 15), "white")
    model = Parrot("The picture fits melanoma best.")
    alone = Alone(model, model, NAMES, judge._lexicon)
    one = alone(Case(dark, "melanoma", "What is it?", "causes"))
    many = alone.many([Case(image, "melanoma", "What is it?", "causes") for image in (dark, light)])
    assert one.ms is not None and [(x.label, x.ms) for x in many] == [(one.label, None)] * 2
    assert [float(pixels.mean()) for _, pixels in model.seen] == pytest.approx([-1, 1], abs=0.01)
    assert [said[0].text for said, _ in model.seen] == ["What is it?"] * 2
    assert alone.many([]) == []


def test_a_line_of_the_table_counts_what_was_said(judge, facts):
    shown = [Case(BLANK, label, "?", "treatment") for label in ("melanoma", "melanoma", "benign keratosis")]
    all_rows = [uncited(sentence) for sentence in say_rows(facts["melanoma"]["treatment"])]
    said = [
        Said("melanoma", all_rows, 100.0),
        Said("benign keratosis", ["The first treatment of melanoma is homeopathy."], 300.0),
        Said(None, [], 200.0),
    ]
    line = row("x", said, shown, judge, (2_000_000, 100_000))
    wanted = 2 * len(all_rows) + len(facts["benign keratosis"]["treatment"])
    assert line["diagnosis right"].strip().startswith("33.3 %") and line["balanced"].startswith(
        "25.0 % [0.0, "
    )
    supported = 100 * len(all_rows) / (len(all_rows) + 1)
    assert line["supported of said"].strip().startswith(f"{supported:.1f} %")
    assert line["unsupported an answer"] == "0.33"
    assert line["asked-for facts said"].strip().startswith(f"{100 * len(all_rows) / wanted:.1f} %")
    assert line["named none"].strip().startswith("33.3 %") and line["MB weights, cache"] == "2.0 0.1"
    assert line["ms p50 / p95"] == f"200 / {np.percentile([100, 300, 200], 95):.0f}"


def test_cases_are_the_same_for_every_system(monkeypatch, tmp_path):
    side = SimpleNamespace(labels=np.arange(7), images=np.zeros((7, 15, 20, 3), np.uint8))
    monkeypatch.setattr("clarify.bench.staircase.load_split", lambda folder, split: side)
    names = {name: name for name in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")}
    first, again = ([(c.label, c.question, c.query) for c in cases(tmp_path, names, 5, 1)] for _ in range(2))
    assert first == again and len({label for label, _, _ in first}) == 5
    other = [(c.label, c.question, c.query) for c in cases(tmp_path, names, 5, 2)]
    assert other != first
