"""From fact files to a published graph: strict reading, stable hashes, atomic publishing, honest opening."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clarify.errors import KGUnavailable
from clarify.graph_schema import linking, mentions, retrieval
from clarify.graph_schema.build import build_graph, make_rows
from clarify.graph_schema.loading import KINDS, BadFacts, load_facts
from clarify.graph_schema.predicates import PREDICATES
from clarify.graph_schema.stores import open_graph
from clarify.graph_schema.stores.base import BaseStore

SOURCES = """
[[source]]
id = "made-up-2020"
organisation = "Institute of Tests"
title = "A made-up review"
year = 2020
kind = "review"
"""
FIRST = """
[disease]
slug = "blue"
curie = "TEST:1"
name = "blue spot"
synonyms = ["azure macule"]
lay = ["sky freckle"]
abbreviations = ["BS"]
parents = ["TEST:2", "TEST:9"]
xrefs = {icd10cm = "X00"}
[[fact]]
id = "blue-def-1"
predicate = "definition"
object = "a harmless blue mark"
source = "made-up-2020"
section = "One"
[[fact]]
id = "blue-treat-1"
predicate = "first-line treatment"
object = "cold for a minute"
source = "made-up-2020"
section = "Two"
node = "cryotherapy"
[[fact]]
id = "blue-diff-1"
predicate = "differs from"
other = "TEST:2"
object = "its colour"
source = "made-up-2020"
section = "Two"
[[fact]]
id = "blue-diff-2"
predicate = "differs from"
other = "TEST:2"
object = "its size"
source = "made-up-2020"
section = "Two"
"""
SECOND = """
[disease]
slug = "grey"
curie = "TEST:2"
name = "grey spot"
synonyms = ["BS"]
[[fact]]
id = "grey-further-1"
predicate = "further treatment"
object = "cold, then rest"
source = "made-up-2020"
section = "Two"
node = "Cryotherapy"
"""


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    folder = tmp_path / "facts"
    folder.mkdir()
    for name, text in (("sources", SOURCES), ("blue", FIRST), ("grey", SECOND)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def graph(tmp_path: Path, facts: Path) -> Iterator[BaseStore]:
    build_graph(tmp_path / "graph", facts=facts)
    kg = open_graph(tmp_path / "graph")
    yield kg
    kg.close()


def test_what_is_built_is_what_was_written(graph: BaseStore) -> None:
    held = retrieval.stats(graph)
    assert held.labels["Disease"] == 2 and held.labels["Treatment"] == 1  # "cryotherapy" is shared
    assert held.types["DIFFERS_FROM"] == 2 and held.types["IS_A"] == 1 and held.sources == {"made-up-2020": 5}
    rows = retrieval.run_query(graph, "differential", ["azure macule"])
    assert [r.statement for r in rows] == [
        "Blue spot differs from grey spot by its colour.",
        "Blue spot differs from grey spot by its size.",
    ]
    assert rows[0].source.model_dump() == {
        "id": "made-up-2020", "title": "A made-up review", "year": 2020,
        "organisation": "Institute of Tests", "section": "Two",
    }  # fmt: skip
    assert retrieval.show(graph, "TEST:1")[0]["parents"] == ["TEST:2", "TEST:9"]


def test_names_that_two_share_mean_both(graph: BaseStore) -> None:
    assert [m.curie for m in linking.link(graph, "BS")] == ["TEST:2", "TEST:1"]
    both = retrieval.run_query(graph, "treatment", ["BS"])
    assert [r.fact_id for r in both] == ["blue-treat-1", "grey-further-1"]
    either = retrieval.run_query(graph, "treatment", ["blue spot or grey spot"])
    assert [r.statement for r in either] == [r.statement for r in both]


def test_mentions_prefer_the_longest_and_know_short_forms(graph: BaseStore) -> None:
    found = mentions.find_mentions(graph, "Grey spots look like an azure-macule; not like a spot.")
    assert [(m.curie, m.matched, m.how) for m in found] == [
        ("TEST:2", "Grey spots", "name"),
        ("TEST:1", "azure-macule", "synonym"),
    ]
    assert [m.curie for m in mentions.find_mentions(graph, "BS is short")] == ["TEST:2", "TEST:1"]
    assert mentions.find_mentions(graph, "nothing of that kind, my toe hurts") == []
    assert [m.matched for m in mentions.find_mentions(graph, "a sky frekcle")] == ["sky frekcle"]


def test_links_say_how_and_stay_silent_otherwise(graph: BaseStore) -> None:
    how = {text: [(m.curie, m.how) for m in linking.link(graph, text)] for text in (
        "TEST:1", "test:1", "BLUE SPOTS", "sky freckle", "azure macul", "purple blotch", "spot")}  # fmt: skip
    assert how["TEST:1"] == how["test:1"] == [("TEST:1", "curie")]
    assert how["BLUE SPOTS"] == [("TEST:1", "name")] and how["sky freckle"] == [("TEST:1", "lay")]
    assert how["azure macul"] == [("TEST:1", "misspelling")]
    assert how["purple blotch"] == how["spot"] == []
    assert [m.label for m in linking.link(graph, "cryotherapy", label=None)] == ["Treatment"]


def test_the_version_is_that_of_the_content(facts: Path, tmp_path: Path) -> None:
    digest = make_rows(load_facts(facts)).nodes["GraphInfo"]["graph"]["version"]
    (facts / "blue.toml").rename(facts / "zz.toml")
    assert make_rows(load_facts(facts)).nodes["GraphInfo"]["graph"]["version"] == digest
    (facts / "grey.toml").write_text(SECOND.replace("then rest", "then sleep"), encoding="utf-8")
    assert make_rows(load_facts(facts)).nodes["GraphInfo"]["graph"]["version"] != digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a harmless blue mark", "a harmless mark " * 9, "blue.toml:12: blue-def-1: object has"),
        ('"a harmless blue mark"', '"a mark."', "full stop"),
        ('"a harmless blue mark"', '""', "blue-def-1"),
        ('"a harmless blue mark"', '"a [mel-treat-1] mark"', "object"),
        ('predicate = "definition"', 'predicate = "defines"', "unknown predicate"),
        ('predicate = "definition"', 'predicate = "test"', "the id says 'definition'"),
        ('id = "blue-def-1"', 'id = "red-def-1"', "id must be blue-"),
        ('id = "blue-diff-2"', 'id = "blue-diff-1"', "already in"),
        ('source = "made-up-2020"', 'source = "absent"', "unknown source"),
        ('other = "TEST:2"', 'other = "TEST:7"', "other TEST:7"),
        ('other = "TEST:2"', 'other = "TEST:1"', "other TEST:1"),
        ('node = "cryotherapy"', 'other = "TEST:2"', "'differs from'"),
        ('node = "cryotherapy"', 'nodes = "cryotherapy"', "Extra inputs"),
        ("icd10cm", "icd12", "unknown code system"),
        ('curie = "TEST:1"', 'curie = "no curie"', "curie"),
        ('curie = "TEST:1"', 'curie = "TEST:2"', "already in"),
        ("[disease]", "[diseases]", "unknown table"),
        ('slug = "blue"', 'slug = "blue', "blue.toml"),
    ],
)
def test_bad_facts_are_refused_with_their_place(facts: Path, old: str, new: str, said: str) -> None:
    assert old in FIRST
    (facts / "blue.toml").write_text(FIRST.replace(old, new), encoding="utf-8")
    with pytest.raises(BadFacts) as refused:
        load_facts(facts)
    assert any(said in problem for problem in refused.value.problems), refused.value.problems
    assert all(problem.startswith(("blue.toml", "grey.toml")) for problem in refused.value.problems)


def test_a_refused_build_leaves_the_old_graph(graph: BaseStore, facts: Path, tmp_path: Path) -> None:
    (facts / "blue.toml").write_text(FIRST.replace("definition", "nonsense"), encoding="utf-8")
    with pytest.raises(BadFacts):
        build_graph(tmp_path / "graph", facts=facts)
    again = open_graph(tmp_path / "graph")
    assert retrieval.graph_version(again) == retrieval.graph_version(graph)
    again.close()


def test_readers_keep_their_graph_while_a_new_one_is_published(
    graph: BaseStore, facts: Path, tmp_path: Path
) -> None:
    old = retrieval.graph_version(graph)
    (facts / "grey.toml").write_text(SECOND.replace("then rest", "then sleep"), encoding="utf-8")
    build_graph(tmp_path / "graph", facts=facts)
    new = open_graph(tmp_path / "graph")
    assert retrieval.graph_version(graph) == old != retrieval.graph_version(new)
    assert [p.name for p in (tmp_path / "graph").glob("*.lbug")] == [new.path.name]  # type: ignore[attr-defined]
    new.close()


def test_damage_is_noticed_at_open(graph: BaseStore, tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    manifest = json.loads((folder / "manifest.json").read_text())

    def rewritten(**changes: object) -> None:
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    for changes in (
        {"nodes": 3},
        {"version": "x"},
        {"engine": "ladybug-0.1"},
        {"graph": "gone.lbug"},
        {"terms": "gone"},
    ):
        rewritten(**changes)
        with pytest.raises(KGUnavailable) as refused:
            open_graph(folder)
        assert "clarify kg build" in refused.value.line() and refused.value.exit_code == 3
    (folder / "manifest.json").write_text("{")
    with pytest.raises(KGUnavailable):
        open_graph(folder)
    rewritten()
    (folder / manifest["graph"]).write_bytes(b"not a database" * 1000)
    with pytest.raises(KGUnavailable):
        open_graph(folder)


def test_a_graph_of_another_schema_is_built_again(
    tmp_path: Path, facts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIFY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARIFY_GRAPH", raising=False)
    monkeypatch.setattr("clarify.graph_schema.loading.FACTS", facts)
    open_graph().close()
    manifest = tmp_path / "home" / "graph" / "manifest.json"
    held = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**held, "engine": held["engine"][:-8] + "00000000"}))
    with pytest.raises(KGUnavailable, match="schema-00000000"):
        open_graph(manifest.parent)
    open_graph().close()
    assert json.loads(manifest.read_text())["engine"] == held["engine"]


def test_what_is_absent_is_said(tmp_path: Path) -> None:
    for target in (tmp_path / "nowhere", "http://example.org"):
        with pytest.raises(KGUnavailable):
            open_graph(target)
    with pytest.raises(KGUnavailable):
        build_graph(tmp_path / "g", facts=tmp_path / "nowhere")
    with pytest.raises(KGUnavailable):
        open_graph(tmp_path, read_only=False)


def test_the_default_graph_is_built_once_and_kept_current(
    tmp_path: Path, facts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIFY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARIFY_GRAPH", raising=False)
    monkeypatch.setattr("clarify.graph_schema.loading.FACTS", facts)
    with ThreadPoolExecutor(3) as pool:
        graphs = list(pool.map(lambda _: open_graph(), range(3)))
    version = retrieval.graph_version(graphs[0])
    for kg in graphs:
        kg.close()
    stamp = (tmp_path / "home" / "graph" / "manifest.json").stat().st_mtime_ns
    open_graph().close()
    assert (tmp_path / "home" / "graph" / "manifest.json").stat().st_mtime_ns == stamp
    (facts / "grey.toml").write_text(SECOND.replace("then rest", "then sleep"), encoding="utf-8")
    kg = open_graph()
    assert retrieval.graph_version(kg) != version
    kg.close()


def _in_child(kg: BaseStore, queue: multiprocessing.Queue[object]) -> None:
    queue.put((retrieval.graph_version(kg), [m.curie for m in linking.link(kg, "azure macul")]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_opens_its_own(graph: BaseStore) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[object] = context.Queue()  # type: ignore[assignment]
    child = context.Process(target=_in_child, args=(graph, queue))
    child.start()
    try:
        assert queue.get(timeout=60) == (retrieval.graph_version(graph), ["TEST:1"])
    finally:
        child.join(10)
        child.kill()


def test_fact_id_kinds_name_their_predicates() -> None:
    assert list(KINDS.values()) == list(PREDICATES)
    assert (
        KINDS["treat"] == "first-line treatment"
        and KINDS["diff"] == "differs from"
        and KINDS["flag"] == "red flag"
    )


def test_a_copy_of_a_published_graph_opens(graph: BaseStore, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "graph", tmp_path / "copy")
    kg = open_graph(tmp_path / "copy")
    assert retrieval.graph_version(kg) == retrieval.graph_version(graph)
    kg.close()
