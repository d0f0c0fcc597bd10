"""`clarify kg` over the embedded graph, built from the shipped facts into a temporary home."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from clarify.apps import cli
from clarify.apps.picture import disease_svg
from clarify.graph_schema.predicates import QUERIES

FACT = "fact_id statement source subject predicate object cypher parameters".split()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFY_HOME", str(home))
    monkeypatch.delenv("CLARIFY_GRAPH", raising=False)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.run(["kg", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_build_and_stats_count_the_same_graph(capsys: pytest.CaptureFixture[str]) -> None:
    built, held = printed(capsys, "build"), printed(capsys, "stats")
    assert built == held and held["labels"]["Disease"] >= 14 and sum(held["sources"].values()) > 100
    assert {"labels", "types", "sources", "version"} <= set(held)


@pytest.mark.parametrize("name", list(QUERIES))
def test_every_named_query_answers_by_name_and_by_curie(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_name = printed(capsys, "query", name, "disease=melanoma")
    by_curie = printed(capsys, "query", name, "disease=DOID:1909")
    assert by_name == by_curie != []
    assert all(set(FACT) <= set(row) and {"id", "title", "year"} <= set(row["source"]) for row in by_name)
    assert all(row["fact_id"].startswith("mel-") for row in by_name)


def test_a_differential_of_two_is_between_them(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "query", "differential", "disease=melanoma", "disease=melanocytic nevus")
    assert {row["subject"] for row in rows} == {"melanoma", "melanocytic nevus"}


def test_several_facts_answer_together(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "query", "conditions_with", "signs=itchy, silvery scale", "site=elbow")
    assert rows[0]["subject"] == "psoriasis" and set(FACT) | {"fact_ids", "sources"} <= set(rows[0])
    assert list(rows[0]["matched"]) == ["silvery scale", "elbow"] and rows[0]["missing"] == ["itchy"]
    [row] = printed(capsys, "query", "treatments_conflict", "disease=SK", "disease=melanoma")
    assert row["fact_ids"] == ["sk-further-1", "mel-avoid-1"] and "cryotherapy" in row["statement"]
    assert cli.run(["kg", "query", "treatments_shared", "disease=psoriasis", "disease=dermatitis"]) == 0
    assert "[pso-further-1, dermatitis-further-2]" in capsys.readouterr().out


def test_a_sentence_is_linked_by_the_names_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "link", "Could this be psoriasys or a mole?")
    assert [m["name"] for m in found] == ["psoriasis", "melanocytic nevus"]
    assert printed(capsys, "link", "uveal melanoma") == printed(capsys, "link", "is it uveal melanoma?") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query", "conditions_with", "site="], "empty"),
        (["query", "conditions_with", "signs=xyzzyx"], "xyzzyx"),
        (["query", "treatments_shared", "disease=melanoma"], "two diseases"),
        (["query", "nonsense", "disease=melanoma"], "treatment"),
        (["query", "signs", "disease=xyzzyx"], "no disease found"),
        (["query", "signs", "melanoma"], "disease=melanoma"),
        (["query", "signs", "drug=x"], "disease=melanoma"),
        (["query", "signs", "disease="], "empty"),
        (["list", "Nonsense"], "Disease"),
        (["show", "xyzzyx"], "no disease found"),
        (["cypher", "MATCH (n) DETACH DELETE n"], "DETACH"),
        (["cypher", "CREATE (n)"], "read"),
        (["cypher", "MATCH (n:Nonsense) RETURN n"], "Nonsense"),
        (["load", "http://localhost"], "bolt://"),
        (["load"], "bolt://"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["kg", *words]) == 2
    out, err = capsys.readouterr()
    [line] = [line for line in err.splitlines() if not line.startswith("... ")]  # progress, on a slow machine
    assert out == "" and said in line and line.startswith("clarify: ")


def test_a_graph_that_is_not_there_exits_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLARIFY_GRAPH", str(tmp_path / "none"))
    assert cli.run(["kg", "stats"]) == 3
    assert "clarify kg build" in capsys.readouterr().err


def test_list_gives_curie_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "list", "Disease")
    assert all(set(row) == {"curie", "name"} for row in rows)
    assert {"curie": "DOID:1909", "name": "melanoma"} in rows


def test_link_finds_misspellings_and_says_so_when_nothing_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, "link", "melanomma")[0]
    assert {"curie", "name", "matched", "score", "how"} <= set(first) and first["curie"] == "DOID:1909"
    assert printed(capsys, "link", "garden chair") == []
    assert len(printed(capsys, "link", "melanoma", "-k", "1")) == 1


def test_texts_from_stdin_keep_their_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('melanoma\ngarden chair\n"psoriasis"\n'))
    assert cli.run(["kg", "link", "-"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row[0]["name"] if row else None for row in rows] == ["melanoma", None, "psoriasis"]


def test_refused_statements_do_not_stop_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [
        "RETURN 1 AS a",
        "MATCH (n) DELETE n",
        json.dumps("RETURN\n2 AS a"),
        "MATCH (n:Nonsense) RETURN n",
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(texts)))
    assert cli.run(["kg", "cypher", "-"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == {"rows": [{"a": 1}]} and rows[2] == {"rows": [{"a": 2}]}
    assert list(rows[1]) == ["refused"] and "DELETE" in rows[1]["refused"] and list(rows[3]) == ["error"]


def test_for_people_there_is_a_tree_with_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["kg", "show", "Melanoma"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("melanoma  DOID:1909") and "[mel-treat-1]" in out and "first-line treatment" in out


@pytest.mark.parametrize(
    "words", ["stats", "list Disease", "link melanoma", "link xyzzyx", "query tests disease=tinea"]
)
def test_every_command_also_prints_for_people(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["kg", *words.split()]) == 0
    assert len(capsys.readouterr().out) > 10


def test_a_disease_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "melanoma.svg"
    assert cli.run(["kg", "show", "melanoma", "--svg", str(file)]) == 0
    drawn = ElementTree.parse(file).getroot()
    texts = ["".join(node.itertext()) for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
    [shown] = printed(capsys, "show", "melanoma")
    assert texts[:2] == ["melanoma", "DOID:1909"]
    assert {f"{f['object']}  [{f['fact_id']}]" for f in shown["facts"]} <= set(texts)
    assert cli.run(["kg", "show", "melanoma", "--svg", str(tmp_path)]) == 2
    assert cli.run(["kg", "show", "actinic keratosis or Bowen's disease", "--svg", str(file)]) == 2
    assert "means actinic keratosis and Bowen" in capsys.readouterr().err


def test_text_of_the_graph_cannot_leave_its_place_in_a_picture() -> None:
    evil = "</text><script>alert('x')</script>"
    source = {"id": "' onload='alert(1)"}
    facts = [{"predicate": evil, "object": evil, "fact_id": "a-1", "source": source}]
    drawn = ElementTree.fromstring(disease_svg({"name": evil, "curie": "X:1", "facts": facts}))
    assert {node.tag.partition("}")[2] for node in drawn.iter()} == {"svg", "rect", "text", "path"}
    assert not any("onload" in node.attrib for node in drawn.iter())
