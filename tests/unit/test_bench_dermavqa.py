"""Real questions as a bench: the labels, that no text came with them, and the scoring on made-up turns."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("torch")

from clarify.agent.red_flags import LEVELS
from clarify.bench.dermavqa import (
    LABELS,
    Names,
    conversations,
    forced,
    labels,
    questions,
    report_urgency,
    urgency,
)
from clarify.bench.dermavqa_player import (
    BOTH,
    DISEASE,
    EXTRA,
    INTENT,
    LOOKED,
    PRECISE,
    ROUNDS,
    SILENT,
    Conversation,
    Question,
    read_calls,
    score,
)
from clarify.bench.linking_cases import question_texts
from clarify.graph_schema.build import build_graph
from clarify.graph_schema.predicates import QUERIES
from clarify.graph_schema.protocol import Link
from clarify.graph_schema.stores import open_graph
from clarify.training.generalist.dialogues import Call, DialogueMaker, call_text
from clarify.training.generalist.findings import Finding
from clarify.training.generalist.pictures import PictureBank
from clarify.training.generalist.world import World, load_names

ROOT = Path(__file__).resolve().parents[2]
ADDED = (LABELS, LABELS.with_suffix(".py"), LABELS.with_name("dermavqa_player.py"), Path(__file__))
INTENTS = ("identify", *QUERIES)
LOOK = Call("classify_lesion", {"image": "img1"})
SURE = Finding("img1", [("lupus", 91)], True, ["lupus"])
UNSURE = Finding("img1", [("lupus", 50), ("scabies", 40)], False, ["lupus", "scabies"])
OUT = Finding("img1", [], False, [], in_scope=False)


@pytest.fixture
def data() -> Path:
    folder = os.environ.get("CLARIFY_TEST_DATA", "")
    if not folder:
        pytest.skip("no DermaVQA here; CLARIFY_TEST_DATA names the folder that has dermavqa/")
    return Path(folder)


def fetch(query: str, *diseases: str) -> Call:
    return Call("query_knowledge", {"query": query, "diseases": list(diseases)})


def ask(asks: str, named: str = "", urgent: str = "", text: str = "zebra?") -> Question:
    return Question("ENC1", "train", tuple(asks.split()), tuple(filter(None, named.split(";"))), urgent, text)


def test_labels_are_well_formed() -> None:
    rows = list(labels())
    assert all(set(row) == {"encounter_id", "split", "asks", "named", "urgent"} for row in rows)
    assert len({row["encounter_id"] for row in rows}) == len(rows) >= 200
    assert all(re.fullmatch(r"ENC\d{5}", row["encounter_id"]) for row in rows)
    assert [row["split"] for row in rows] == ["valid"] * 56 + ["train"] * (len(rows) - 56)
    for row in rows:
        asks = row["asks"].split()
        assert set(asks) <= set(INTENTS) and len(set(asks)) == len(asks), row
        assert row["urgent"] in ("", *LEVELS), row
        names = row["named"].split(";") if row["named"] else []
        assert all(re.fullmatch(r"[a-z']+( [a-z]+){0,3}", name) for name in names), row
    assert all(row["asks"] for row in rows if row["split"] == "train")


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def test_no_text_of_the_source_is_in_the_repository(data: Path) -> None:
    runs = {
        tuple(said[i : i + 5])
        for text in question_texts(data).values()
        for said in [words(text)]
        for i in range(len(said) - 4)
    }
    assert len(runs) > 10_000
    for file in ADDED:
        mine = words(file.read_text(encoding="utf-8"))
        assert not runs & {tuple(mine[i : i + 5]) for i in range(len(mine) - 4)}, file.name


def test_every_label_is_of_a_question_with_text(data: Path) -> None:
    found = questions(data)
    assert [q.encounter for q in found] == [row["encounter_id"] for row in labels()]
    assert all(re.search(r"[a-z]{3}", q.text) for q in found)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("You are welcome.", 0),
        (call_text(LOOK), 1),
        (call_text(LOOK) + call_text(fetch("signs", "lupus")), 2),
        (call_text(LOOK) + '<tool_call>{"name":', None),
        ("<tool_call>{}</tool_call>", None),
        (call_text(Call("classify_lesion", {"image": "img2"})), None),
        (call_text(Call("look_up", {"image": "img1"})), None),
        (call_text(fetch("colour", "lupus")), None),
        (call_text(fetch("signs")), None),
        (call_text(fetch("signs", *"abcde")), None),
        (call_text(fetch("signs", 81 * "a")), None),
    ],
)
def test_a_call_is_well_formed_when_the_tool_takes_it(text: str, read: int | None) -> None:
    calls = read_calls(text, ("img1",))
    assert calls is None if read is None else len(calls or ()) == read


def talk(finding: Finding | None = SURE, fits: bool = True) -> Conversation:
    world = World(random.Random(1), "test", load_names(None), [], [])
    return Conversation(ask("identify"), world, finding, None if finding is None else 7, lambda _: fits)


def test_calls_are_answered_until_there_is_prose() -> None:
    played = talk()
    assert played.advance() and played.said[0].images == [("img1", 7)]
    played.take(call_text(LOOK))
    assert played.advance() and played.said[-1].text == SURE.render()
    played.take(
        call_text(LOOK) + call_text(fetch("signs", "lupus")) + call_text(fetch("treatments_shared", "a"))
    )
    assert played.said[-2].text.startswith("[") and "error" in played.said[-1].text
    played.take("It fits lupus.")
    assert (played.end, played.written, played.well, len(played.calls)) == ("prose", 2, 2, 3)
    assert not played.advance()


def test_turns_end_for_every_other_reason() -> None:
    broken, full, endless, blind = talk(), talk(fits=False), talk(), talk(None)
    broken.take(call_text(LOOK))
    broken.take("<tool_call>{")
    assert (broken.end, broken.written, broken.well, len(broken.calls)) == ("malformed", 2, 1, 1)
    assert not full.advance() and full.end == "context"
    for _ in range(ROUNDS):
        assert endless.advance()
        endless.take(call_text(LOOK))
    assert not endless.advance() and endless.end == "rounds" and len(endless.calls) == 1
    blind.take(call_text(LOOK))
    assert "error" in blind.said[-1].text and not blind.said[0].images


@pytest.mark.parametrize(
    ("question", "finding", "calls", "counts"),
    [
        (ask("identify"), SURE, [LOOK, fetch("describe", "lupus")],
         {LOOKED: (1, 1), INTENT: (1, 1), DISEASE: (1, 1), BOTH: (1, 1), PRECISE: (1, 1), EXTRA: (0, 1)}),
        (ask("identify"), SURE, [], {LOOKED: (0, 1), INTENT: (0, 1), DISEASE: (0, 1), BOTH: (0, 1)}),
        (ask("identify treatment", "scabies"), SURE, [LOOK, fetch("differential", "lupus", "scabies")],
         {LOOKED: (1, 1), INTENT: (1, 2), DISEASE: (1, 1), BOTH: (1, 2), EXTRA: (0, 1)}),
        (ask("treatment", "scabies"), OUT, [fetch("treatment", "zebra"), fetch("tests", "scabies")],
         {LOOKED: None, INTENT: (1, 1), DISEASE: (1, 1), BOTH: (0, 1), PRECISE: (1, 2), EXTRA: (1, 2)}),
        (ask("treatment"), OUT, [LOOK], {LOOKED: (1, 1), INTENT: None, DISEASE: None, EXTRA: (0, 0)}),
        (ask("treatment"), UNSURE, [fetch("differential", "lupus", "scabies")], {EXTRA: (0, 1)}),
        (ask("treatment", "scabies"), OUT, [fetch("differential", "scabies")], {EXTRA: (1, 1)}),
        (ask("treatment"), SURE, [fetch("treatments_shared", "lupus", "b")], {EXTRA: (1, 1)}),
        (ask(""), SURE, [fetch("describe", "lupus")], {LOOKED: (0, 1), INTENT: None, EXTRA: (0, 1)}),
        (ask("identify"), None, [fetch("describe", "lupus")], {SILENT: (1, 1), EXTRA: None}),
        (ask("identify"), None, [LOOK], {SILENT: (0, 1), LOOKED: None}),
    ],
)  # fmt: skip
def test_score(
    question: Question, finding: Finding | None, calls: list[Call], counts: dict[str, tuple[int, int] | None]
) -> None:
    made = [(call.name, json.dumps(call.args)) for call in calls]
    found = score(question, finding, made, lambda name, others: name in others)
    assert {row: found.get(row) for row in counts} == counts


def made(calls: list[tuple[str, str]]) -> list[tuple[str, ...]]:
    read = [(name, json.loads(args)) for name, args in calls]
    return [(args["query"], *args["diseases"]) for name, args in read if name == "query_knowledge"]


SCABIES = Link(curie="DOID:8295", label="Disease", name="scabies", matched="scabies", score=1.0, how="exact")


@pytest.mark.parametrize(
    ("text", "mentions", "finding", "fetched"),
    [
        ("What is this?", [], SURE, [("describe", "lupus")]),
        ("What is this?", [], OUT, []),
        ("What is this?", [], UNSURE, [("differential", "lupus", "scabies")]),
        ("How is scabies treated?", [SCABIES], OUT, [("treatment", "scabies")]),
        ("How is it treated?", [], UNSURE,
         [("differential", "lupus", "scabies"), ("treatment", "lupus", "scabies")]),
        ("Zebra.", [], SURE, [("describe", "lupus")]),
    ],
)  # fmt: skip
def test_what_the_graph_forces(
    text: str, mentions: list[Link], finding: Finding, fetched: list[tuple[str, ...]]
) -> None:
    calls = forced(text, mentions, finding)
    assert calls[0] == ("classify_lesion", '{"image": "img1"}')
    assert made(calls) == fetched


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    folder = tmp_path_factory.mktemp("dermavqa") / "graph"
    build_graph(folder)
    store = open_graph(folder)
    yield Names(store)
    store.close()


def test_names_are_the_same_by_spelling_or_by_the_graph(names: Names) -> None:
    assert names.same("slond prunne", ["Slond-prunne"]) and names.same("zona", ["shingles"])
    assert names.same("psoriasiss", ["scabies", "psoriasis"])
    assert not names.same("psoriasis", ["scabies"]) and not names.same("zebra", ["giraffe"])
    assert not names.same("psoriasis", [])


def test_a_piece_of_a_name_is_completed_from_the_words_and_the_finding(names: Names) -> None:
    question = ask("treatment", text="zebra seborrheic dermatitis zebra")
    read = [
        json.loads(
            names.read(("query_knowledge", json.dumps(fetch("signs", name).args)), question, UNSURE)[1]
        )
        for name in ("seborrheic", "scabes", "wart")
    ]
    assert [args["diseases"] for args in read] == [["seborrheic dermatitis"], ["scabies"], ["wart"]]


def test_urgency_counts_what_is_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        ask("", urgent="emergency", text="my throat is closing"),
        ask("", urgent="emergency", text="zebra"),
        ask("", urgent="routine", text="my mole changed and bleeds"),
        ask("", text="zebra"),
    ]
    pairs = urgency(asked)
    assert pairs == {("emergency", "emergency"): 1, ("emergency", "routine"): 1, ("routine", "soon"): 1}
    report_urgency(pairs)
    said = capsys.readouterr().out
    assert "n = 3" in said and "33.3 %" in said
    assert "under the label 1: emergency taken for routine 1" in said
    assert "over the label 1: routine taken for soon 1" in said


class Roomy:
    def fits(self, said: object) -> bool:
        return True


def test_a_question_meets_the_same_picture_and_world_every_time() -> None:
    kinds, n = np.array(["lesion", "skin_other"] * 20), 40
    blank, what = np.full((n, 2), np.nan, np.float32), np.array(["a"] * n)
    pixels, seen = np.zeros((n, 3, 64, 64), np.uint8), np.zeros((n, 4), np.float16)
    bank = PictureBank(pixels, kinds, np.array(["test"] * n), blank, ["a", "b"], what, seen)
    maker = DialogueMaker("test", load_names(None), [], ["lupus"], bank)
    asked = [Question(f"ENC{i}", "train", ("identify",), (), "", "zebra?") for i in range(30)]
    one, two = (conversations(asked, Roomy(), maker, bank, 0, True) for _ in range(2))
    assert [t.picture for t in one] == [t.picture for t in two]
    assert [t.finding for t in one] == [t.finding for t in two]
    assert [t.world.rows("signs", ["lupus"]) for t in one] == [t.world.rows("signs", ["lupus"]) for t in two]
    for t in one:
        assert t.picture is not None and t.finding is not None
        assert t.finding.in_scope <= (kinds[t.picture] == "lesion")
    assert {t.finding.in_scope for t in one if t.finding} == {True, False}
    assert all(not t.said[0].images for t in conversations(asked, Roomy(), maker, bank, 0, False))
