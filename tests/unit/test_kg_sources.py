"""Importers: what each adds, what it leaves to the curated facts, what it rejects and how it says so."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarify.apps import cli
from clarify.errors import BadInput
from clarify.graph_schema import linking, retrieval
from clarify.graph_schema.build import Rows, build_graph, load_into, make_rows
from clarify.graph_schema.loading import load_facts
from clarify.graph_schema.relations import RELATIONS
from clarify.graph_schema.schema import SCHEMA
from clarify.graph_schema.sources import IMPORTERS, chosen_sources
from clarify.graph_schema.sources.merge import add_sources
from clarify.graph_schema.sources.report import Report
from clarify.graph_schema.stores import open_graph
from clarify.graph_schema.stores.ladybug_store import LadybugKG


def _tables() -> ModuleType:  # tests are not a package, so a neighbour is loaded by its path
    spec = importlib.util.spec_from_file_location(
        "kg_source_files", Path(__file__).with_name("kg_source_files.py")
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


T = _tables()


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    return Path(T.write(tmp_path / "facts", T.FACTS))


def imported(facts: Path, *words: str, **options: Any) -> tuple[Rows, list[Report]]:
    reports: list[Report] = []
    rows = make_rows(
        load_facts(facts), lambda r: reports.extend(add_sources(r, chosen_sources(words), **options))
    )
    return rows, reports


def folder_of(name: str, tmp_path: Path, *, packed: bool = False) -> str:
    if name in T.SINGLE:
        file, text = T.SINGLE[name]
        T.write(tmp_path / name, {file: text}, packed=packed)
        return f"{name}={tmp_path / name / (file + '.gz' * packed)}"
    return f"{name}={T.write(tmp_path / name, T.FILES[name], packed=packed)}"


def edges(rows: Rows, type_: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = [edge for (t, _, _), some in rows.edges.items() if t == type_ for edge in some]
    return {(edge["src"], edge["dst"]): edge for edge in found}


def names(rows: Rows, node: str) -> dict[str, str]:
    return {edge["surface"]: edge["kind"] for edge in edges(rows, "NAMES").values() if edge["dst"] == node}


ALL = [*T.FILES, *T.SINGLE]


def test_the_tables_cover_every_importer() -> None:
    assert set(ALL) == set(IMPORTERS)


def test_the_disease_ontology_keeps_the_skin_and_says_what_it_left(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("do", tmp_path))
    diseases = rows.nodes["Disease"]
    assert set(diseases) == {"DOID:16", "DOID:9001", "MONDO:9002", "DOID:9003", "DOID:9004", "DOID:9006"}
    assert diseases["DOID:9003"]["snomedct"] == "77"
    assert "icd10cm" not in diseases["DOID:9003"]  # two codes: none is taken
    assert report.left_out["codes where one disease has several of a system"] == 2
    assert ("DOID:9004", "DOID:9003") in edges(rows, "IS_A") and ("DOID:9001", "DOID:16") in edges(
        rows, "IS_A"
    )
    assert names(rows, "DOID:9003") == {"green spot": "name", "verdant macule": "synonym"}
    (symptom,) = edges(rows, "HAS_SYMPTOM").values()
    assert symptom["statement"] == "The Human Disease Ontology lists itching as a symptom of green spot."
    assert report.first == ["HumanDO.tsv:5: unknown parent 'blue spot of DO'"]


def test_curated_facts_names_and_codes_stay(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("do", tmp_path))
    blue = rows.nodes["Disease"]["DOID:9001"]
    assert (blue["name"], blue["mesh"], blue["icd10cm"]) == ("blue spot", "D1", "L99")
    assert blue["synonyms"] == ["azure macule"]
    assert names(rows, "DOID:9001") == {
        "blue spot": "name", "azure macule": "synonym", "spot of blue": "synonym", "blue macula": "synonym",
    }  # fmt: skip
    definitions = {src: edge["fact_id"] for (src, _), edge in edges(rows, "DEFINED_AS").items()}
    assert definitions == {"DOID:9001": "blue-def-1", "DOID:9003": "do-def-doid-9003"}
    assert report.left_out["synonyms that are one adjective"] == 1
    assert report.left_out["names that are general words"] == 2  # "skin rashes" and the root
    # "azure macule" means the blue spot already
    assert report.left_out["names that a curated disease has already"] == 1


@pytest.mark.parametrize("form", ["doid.obo", "doid.json"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_of_the_ontology_gives_the_same(
    facts: Path, tmp_path: Path, form: str, packed: bool
) -> None:
    text = T.OBO if form.endswith("obo") else T.graph_text()
    folder = T.write(tmp_path / "one", {form: text}, packed=packed)
    rows, (report,) = imported(facts, f"do={folder / (form + '.gz' * packed)}")
    assert set(rows.nodes["Disease"]) == {"DOID:16", "DOID:9001", "MONDO:9002", "DOID:9003", "DOID:9004"}
    assert "blue macula" in names(rows, "DOID:9001") and "indigo" not in names(rows, "DOID:9001")
    assert rows.nodes["Disease"]["DOID:9003"]["snomedct"] == "77"
    statement = edges(rows, "DEFINED_AS")["DOID:9003", "CLARIFY:definition-doid-9003"]["statement"]
    assert statement == "Green spot is a skin disease that is located in skin."
    assert set(edges(rows, "IS_A")) == {
        ("DOID:9001", "DOID:16"), ("DOID:9003", "DOID:16"), ("DOID:9004", "DOID:9003"),
    }  # fmt: skip
    assert report.version == f"releases/2030-01-01/{form}" and report.rejected == 0
    assert report.left_out["obsolete terms"] == 1


def test_the_skin_table_alone_is_a_source(facts: Path, tmp_path: Path) -> None:
    folder = T.write(tmp_path / "one", {"do_skin_terms.tsv": T.DO["do_skin_terms.tsv"]})
    rows, (report,) = imported(facts, f"do={folder / 'do_skin_terms.tsv'}")
    assert "verdant macule" in names(rows, "DOID:9003") and report.rejected == 0


def test_mondo_fills_codes_that_are_lacking_and_certain(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("mondo", tmp_path))
    blue, grey = (rows.nodes["Disease"][id_] for id_ in ("DOID:9001", "MONDO:9002"))
    assert (blue["icd11"], blue["mesh"], blue.get("umls")) == ("123", "D1", None)
    assert (grey["icd11"], grey.get("umls")) == ("125", None)
    assert report.version == "mondo/releases/2030-01-01" and report.added["codes"] == 2
    assert report.left_out["matches that are not exact"] == 1


def test_symptoms_of_the_skin_and_those_in_use(facts: Path, tmp_path: Path) -> None:
    rows, reports = imported(facts, folder_of("symp", tmp_path), folder_of("do", tmp_path))
    assert [r.source for r in reports] == ["do", "symp"]  # whatever the order of the options
    assert set(rows.nodes["Symptom"]) == {"SYMP:9001", "SYMP:0000488"}
    assert names(rows, "SYMP:9001") == {"itching": "name", "pruritus": "synonym"}
    assert ("SYMP:9001", "SYMP:0000488") in edges(rows, "IS_A")


def test_lay_words_of_the_skin(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("hpo", tmp_path))
    assert set(rows.nodes["Phenotype"]) == {"HP:0001574", "HP:0009001", "HP:0009003"}
    assert names(rows, "HP:0009001") == {"Thick sole": "name", "Hard foot bottom": "lay"}
    assert report.left_out["lay wordings not of skin, hair or nails"] == 2


def test_skin_sites_and_what_they_belong_to(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("uberon", tmp_path))
    sites = {id_ for id_ in rows.nodes["Site"] if id_.startswith("UBERON")}
    assert sites == {"UBERON:0000014", "UBERON:9001", "UBERON:9002"}
    assert set(edges(rows, "PART_OF")) == {("UBERON:9001", "UBERON:9002")}
    assert report.left_out["terms of other ontologies"] == 1


def test_hetionet_never_states_a_clinical_fact(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("hetionet", tmp_path))
    together = edges(rows, "COOCCURS_WITH_SYMPTOM") | edges(rows, "COOCCURS_WITH_SITE")
    assert len(together) == 2
    for fact in together.values():
        assert (
            "co-occurrence, not a clinical fact" in fact["statement"] and fact["support"] == "co-occurrence"
        )
    for type_ in ("LISTED_AS_TREATED_BY", "LISTED_AS_PALLIATED_BY"):
        ((ends, fact),) = edges(rows, type_).items()
        assert ends == ("DOID:9001", "DRUGBANK:DB1")
        assert "2016" in fact["statement"] and "not current advice" in fact["statement"]
    assert set(edges(rows, "INCLUDES")) == {("NDFRT:N1", "DRUGBANK:DB1")}  # no kept edge names Petrolol
    assert not edges(rows, "COOCCURS_WITH_DISEASE")  # the green spot is not in the graph
    assert report.left_out["edges of diseases that are not in the graph"] == 2
    assert report.left_out["edges of other kinds"] == 1 and report.rejected == 0
    both, _ = imported(facts, folder_of("hetionet", tmp_path), folder_of("do", tmp_path))
    assert set(edges(both, "COOCCURS_WITH_DISEASE")) == {("DOID:9001", "DOID:9003")}


def test_concepts_are_counted_with_their_n(facts: Path, tmp_path: Path) -> None:
    rows, (report,) = imported(facts, folder_of("skincon", tmp_path))
    shown = edges(rows, "SHOWS_CONCEPT")
    papule = shown["DOID:9001", "SKINCON:papule"]  # "blue spots" is the blue spot
    assert (papule["marked"], papule["pictures"]) == (2, 3) and papule["share"] == pytest.approx(2 / 3)
    assert (
        papule["statement"]
        == "In SkinCon, dermatologists marked papule in 2 of 3 pictures labelled blue spots."
    )
    assert shown["FITZPATRICK17K:odd-rash", "SKINCON:warty-papillomatous"]["share"] == 1.0
    assert len(shown) == 3 and report.left_out["pictures that SkinCon sets aside"] == 1


def test_own_tables_and_graphml_state_facts(facts: Path, tmp_path: Path) -> None:
    rows, (table,) = imported(facts, folder_of("triples", tmp_path))
    sign = edges(rows, "HAS_SIGN")["MY:1", "CLARIFY:sign-a-smooth-violet-edge"]
    assert (sign["source"], sign["support"], sign["reviewed"]) == ("triples-mine", "imported", False)
    assert (
        edges(rows, "DEFINED_AS")["MY:1", "CLARIFY:definition-a-violet-mark-of-the-skin"]["source"]
        == "my-atlas-2021"
    )
    assert rows.nodes["Source"]["my-atlas-2021"]["year"] == 2021
    assert edges(rows, "DIFFERS_FROM")["MY:1", "DOID:9001"]["statement"] == (
        "Violet spot differs from blue spot by its colour."
    )
    blue = [e for e in rows.edges["DEFINED_AS", "Disease", "Definition"] if e["src"] == "DOID:9001"]
    assert [e["rank"] for e in blue] == [1, 1000]  # the curated one is said first
    assert table.rejected == 0 and rows.nodes["Disease"]["MY:1"]["icd10cm"] == "L98"
    rows, (graph,) = imported(facts, folder_of("graphml", tmp_path))
    assert (
        edges(rows, "HAS_SIGN")["MY:1", "MY:2"]["statement"]
        == "A clinical sign of violet spot is a smooth edge."
    )
    assert names(rows, "MY:1") == {
        "violet spot": "name",
        "purple macule": "synonym",
        "lilac & mauve": "synonym",
    }
    assert ("MY:1", "DOID:9001") in edges(rows, "IS_A") and graph.rejected == 0


@pytest.mark.parametrize("name", ALL)
def test_an_import_repeats_itself_packed_or_not(facts: Path, tmp_path: Path, name: str) -> None:
    plain, again = (imported(facts, folder_of(name, tmp_path / "a"))[0] for _ in range(2))
    packed, _ = imported(facts, folder_of(name, tmp_path / "b", packed=True))
    nothing, _ = imported(facts)
    assert plain.digest() == again.digest() != nothing.digest()
    known = {k: set(v) for k, v in plain.nodes.items() if k not in ("Source", "GraphInfo")}
    assert known == {k: set(v) for k, v in packed.nodes.items() if k not in ("Source", "GraphInfo")}


@pytest.mark.parametrize("name", ALL)
def test_every_row_fits_the_schema_and_names_its_source(facts: Path, tmp_path: Path, name: str) -> None:
    rows, (report,) = imported(facts, folder_of(name, tmp_path))
    for label, nodes in rows.nodes.items():
        SCHEMA.check_nodes(label, list(nodes.values()))
    for (type_, src, dst), some in rows.edges.items():
        SCHEMA.check_edges(type_, src, dst, some)
    new = {r.edge for r in RELATIONS.values()}
    assert all(
        e["source"] == report.source and e["reviewed"] is False
        for (type_, _, _), some in rows.edges.items() if type_ in new for e in some
    )  # fmt: skip
    source = rows.nodes["Source"][report.source]
    assert source["licence"] and source["nodes"] == report.added["nodes"] and source["kind"] == "import"


def test_progress_is_shown(facts: Path, tmp_path: Path) -> None:
    said: list[str] = []
    imported(facts, folder_of("do", tmp_path), progress=said.append)
    assert "do: HumanDO.tsv, line 1" in said


BAD = [
    ("do", "HumanDO.tsv", '"DOID:9007"\t"short row"', "2 columns, the header has 3"),
    ("do", "HumanDO.tsv", '"9007"\t"no id"\t"green spot"', "'9007' is no id"),
    ("do", "HumanDO.tsv", '"DOID:9007"\t"a [x] spot"\t"green spot"', "the character '['"),
    ("do", "allXREFinDO.tsv", '"DOID:7"\t"x"\t"MESH:D2"', "unknown disease DOID:7"),
    ("do", "disease-symptom.tsv", "DOID:9003\tgreen spot\tSYMP 5\tpain", "'SYMP 5' is no id"),
    ("mondo", "mondo_exactmatch_mesh.sssom.tsv", "MONDO:1\tx\tskos:exactMatch\tD3\tx", "no id of the form"),
    ("mondo", "mondo_exactmatch_mesh.sssom.tsv", "MONDO:1\tx\tskos:exactMatch\tUMLS:C1\tx", "not of mesh"),
    ("symp", "symp.obo", "[Term]\nid: SYMP 9\nname: x\nis_a: SYMP:0000488", "is no id"),
    ("symp", "symp.obo", "[Term]\nid: SYMP:9\nis_a: SYMP:0000488", "has no name"),
    ("symp", "symp.obo", "[Term]\nid: SYMP:9\nname: x\nsynonym: bare EXACT []", "synonym is not in quotes"),
    ("symp", "symp.obo", "[Term]\nid: SYMP:9\nname: x\nno tag here", "not a line of the form tag: value"),
    ("hpo", "hpo_layperson_synonyms.tsv", 'HP-1\t"Dry skin"\t"Dry"', "no HPO term"),
    ("hpo", "hpo_layperson_synonyms.tsv", '<http://p/HP_1>\t"Dry skin\t"Dry"', "expected after"),
    ("uberon", "uberon_import.obo", "[Term]\nname: no id", "name before the id"),
    ("hetionet", "edges.tsv", "Disease::DOID:9001\tDpS\tSymptom::D8", "unknown node Symptom::D8"),
    ("hetionet", "edges.tsv", "Symptom::D9\tDpS\tDisease::DOID:9001", "DpS from Symptom::D9"),
    ("hetionet", "nodes.tsv", "Disease:DOID:1\tx\tDisease", "is no id of the form Disease::LOCAL"),
    ("skincon", "skincon_fitzpatrick17k.csv", "a1.jpg,2,0,0", "'Papule' is not 0 or 1"),
    ("skincon", "skincon_fitzpatrick17k.csv", "zz.jpg,1,0,0", "no label for the picture 'zz'"),
    ("triples", "mine.csv", "MY:9,,test,a test,,,,,", "unknown Disease MY:9"),
    ("triples", "mine.csv", "MY:1,,heals,a test,,,,,", "unknown predicate 'heals'"),
    ("triples", "mine.csv", "MY:1,,test,,,,,,", "the object is empty"),
    ("triples", "mine.csv", "MY:1,,test,a [mel-1] test,,,,,", "the character '['"),
    ("triples", "mine.csv", "MY:1,,test,a test,,new-one,,,", "needs a lower-case id, a title"),
    ("triples", "mine.csv", "MY:1,,differs from,its size,MY:8,,,,", "needs another disease"),
    ("triples", "mine.csv", "MY:1,,is a,MY:1,,,,,", "to itself"),
    ("triples", "mine.csv", "nine,x,test,a test,,,,,", "'nine' is no id"),
]


@pytest.mark.parametrize(("name", "file", "row", "said"), BAD)
def test_a_bad_row_is_rejected_with_its_place_and_the_rest_loads(
    facts: Path, tmp_path: Path, name: str, file: str, row: str, said: str
) -> None:
    word = folder_of(name, tmp_path)
    sound, before = imported(facts, word)
    path = tmp_path / name / file
    text = path.read_text(encoding="utf-8")
    path.write_text(text + row + "\n", encoding="utf-8")
    written: list[str] = []
    rows, (report,) = imported(facts, word, sink=written.append)
    assert report.rejected == before[0].rejected + 1 and len(written) == report.rejected
    (line,) = [line for line in written if said in line]
    number = int(line.removeprefix(f"{file}:").partition(":")[0])
    assert number > text.count("\n") and line.startswith(f"{file}:{number}: ")
    assert all(set(nodes) <= set(rows.nodes[label]) for label, nodes in sound.nodes.items())


def test_bytes_that_are_no_text_cost_one_line(facts: Path, tmp_path: Path) -> None:
    word = folder_of("triples", tmp_path)
    path = tmp_path / "triples" / "mine.csv"
    head, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\xef\xbb\xbf" + head + b"MY:1,violet \xff spot,test,x,,,,,\n" + b"".join(rest))
    rows, (report,) = imported(facts, word)
    assert report.first == ["mine.csv:2: not UTF-8: invalid start byte at byte 12"]
    assert ("MY:1", "CLARIFY:sign-a-smooth-violet-edge") in edges(rows, "HAS_SIGN")


def test_a_damaged_archive_is_read_up_to_the_damage(facts: Path, tmp_path: Path) -> None:
    row = "MY:1,,synonym,name number {},,,,,\n"
    text = T.TRIPLES + "".join(row.format(f"{n} {hash(n) % 7919}") for n in range(20_000))
    whole = gzip.compress(text.encode())
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    rows, (report,) = imported(facts, f"triples={path}")
    assert "the file is damaged from here on" in report.first[0] and report.rejected == 1
    assert 100 < len(names(rows, "MY:1")) < 20_000


def test_an_endless_line_is_refused_without_filling_memory(facts: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(
        gzip.compress(T.TRIPLES.encode() + b"x" * 5_000_000 + b"\nMY:1,,synonym,last name,,,,,\n")
    )
    rows, (report,) = imported(facts, f"triples={path}")
    assert report.first == ["mine.csv.gz:9: longer than 1000000 bytes"] and "last name" in names(rows, "MY:1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (T.GRAPHML.replace("</graph>", "<node"), "no sound GraphML from here on"),
        (T.GRAPHML.replace("<graphml", '<!DOCTYPE x [<!ENTITY a "aaa">]><graphml', 1), "could be used"),
        ("not xml", "could be used"),
        ("<html/>", "is no GraphML"),
        (T.GRAPHML.replace(">Sign<", ">Drug<"), "label 'Drug' is none of"),
        (T.GRAPHML.replace("HAS_SIGN", "SHOWS_CONCEPT"), "'SHOWS_CONCEPT' is none that a file can state"),
        (T.GRAPHML.replace('target="MY:2"', 'target="MY:3"'), "unknown Sign MY:3"),
        (T.GRAPHML.replace(">violet spot<", "><"), "empty text"),
    ],
)
def test_graphml_that_is_flawed(facts: Path, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.graphml"
    path.write_text(text, encoding="utf-8")
    try:
        _, (report,) = imported(facts, f"graphml={path}")
    except BadInput as refused:
        assert said in refused.line()
    else:
        assert any(said in line and line.startswith("mine.graphml:") for line in report.first), report.first


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nonsense=.", "unknown source 'nonsense'. Sources: do, mondo"),
        ("do", "'do' is no source. Write NAME=PATH"),
        ("do=", "is no source"),
        ("do=nowhere", "there is no nowhere for the source do"),
        *((f"{name}=.", "") for name in T.FILES),
        *((f"{name}=empty", "") for name in ALL),
    ],
)
def test_paths_that_hold_nothing_are_one_clear_line(
    facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "empty").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "cwd")
    with pytest.raises(BadInput) as refused:
        imported(facts, word)
    assert said in refused.value.line() and refused.value.exit_code == 2 and refused.value.hint


def test_a_source_cannot_be_given_twice(facts: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="given twice"):
        imported(facts, folder_of("do", tmp_path / "a"), folder_of("do", tmp_path / "b"))


def test_another_ontology_is_noticed(facts: Path, tmp_path: Path) -> None:
    folder = T.write(tmp_path, {"symp.obo": T.SYMP})
    with pytest.raises(BadInput, match="holds no term DOID"):
        imported(facts, f"do={folder / 'symp.obo'}")


def test_flaws_of_an_obo_graph_are_named_by_their_place(facts: Path, tmp_path: Path) -> None:
    graph = json.loads(T.graph_text())
    graph["graphs"][0]["nodes"] += [{"type": "CLASS", "lbl": "no id"}, "no node"]
    graph["graphs"][0]["edges"].append({"sub": "x", "pred": "is_a"})
    path = tmp_path / "doid.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    _, (report,) = imported(facts, f"do={path}")
    places = [line.partition(": ")[0] for line in report.first]
    assert places == ["doid.json:edge 4", "doid.json:node 7", "doid.json:node 8"]
    path.write_text(json.dumps(graph)[:-200], encoding="utf-8")
    with pytest.raises(BadInput, match="no OBO graph JSON"):
        imported(facts, f"do={path}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=200), name=st.sampled_from(["do", "symp", "uberon", "triples", "graphml"]))
def test_junk_never_breaks_an_import(facts: Path, tmp_path: Path, junk: bytes, name: str) -> None:
    texts = {"do": T.OBO, "symp": T.SYMP, "uberon": T.UBERON, "triples": T.TRIPLES, "graphml": T.GRAPHML}
    path = tmp_path / "junk"
    path.write_bytes(texts[name].encode() + b"\n" + junk)
    rows, (report,) = imported(facts, f"{name}={path}")
    assert rows.digest() and all(line.startswith("junk:") for line in report.first)


def test_a_graph_with_imports_answers(facts: Path, tmp_path: Path) -> None:
    words = [folder_of(name, tmp_path) for name in ALL if name != "graphml"]
    target = tmp_path / "graph"
    built = build_graph(target, facts=facts, extend=lambda r: void(add_sources(r, chosen_sources(words))))
    kg = open_graph(target)
    assert built == retrieval.stats(kg)
    assert built.types["IS_A"] == 7 and built.types["SHOWS_CONCEPT"] == 3 and built.labels["Drug"] == 2
    assert [m.curie for m in linking.link(kg, "azure macule")] == ["DOID:9001"]
    assert [m.curie for m in linking.link(kg, "verdant macule")] == ["DOID:9003"]
    assert [r.fact_id for r in retrieval.run_query(kg, "describe", ["green spot"])] == ["do-def-doid-9003"]
    first = retrieval.run_query(kg, "describe", ["blue spot"])[0]
    assert (first.fact_id, first.support) == ("blue-def-1", "recalled")
    (shown,) = retrieval.show(kg, "blue spot")
    assert {"mentioned with symptom", "shows concept"} <= {f["predicate"] for f in shown["facts"]}
    listed = {row["id"]: row for row in retrieval.list_sources(kg)}
    assert listed["hetionet"]["facts"] == 8 and listed["made-up-2020"]["facts"] == 3
    assert listed["uberon"]["licence"] == "CC BY 3.0" and listed["uberon"]["facts"] == 0
    reviewed = retrieval.facts_of(kg, "hetionet")
    assert len(reviewed) == 8 and {r.source.id for r in reviewed} == {"hetionet"}
    with pytest.raises(BadInput, match="no source 'nobody'"):
        retrieval.facts_of(kg, "nobody")
    kg.close()


def void(_: object) -> None:
    """Takes a value that nobody wants."""


def test_a_later_load_without_the_source_withdraws_its_facts(facts: Path, tmp_path: Path) -> None:
    word = folder_of("hetionet", tmp_path)
    store = LadybugKG(None, read_only=False)

    def load(*words: str) -> retrieval.Stats:
        return load_into(store, facts, extend=lambda r: void(add_sources(r, chosen_sources(words))))

    first = load(word)
    assert load(word) == first and first.sources["hetionet"] == 5
    assert load().sources == {"made-up-2020": 2}
    store.close()


def test_a_graph_with_imports_is_not_replaced_when_the_shipped_facts_change(
    facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIFY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARIFY_GRAPH", raising=False)
    monkeypatch.setattr("clarify.graph_schema.loading.FACTS", facts)
    words = [folder_of("triples", tmp_path)]
    build_graph(tmp_path / "home" / "graph", extend=lambda r: void(add_sources(r, chosen_sources(words))))
    text = (facts / "blue.toml").read_text(encoding="utf-8")
    (facts / "blue.toml").write_text(text.replace("harmless", "benign"), encoding="utf-8")
    kg = open_graph()
    assert retrieval.stats(kg).sources["my-atlas-2021"] == 1
    kg.close()


def test_the_command_line_builds_lists_and_reports(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIFY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARIFY_GRAPH", raising=False)
    word = folder_of("triples", tmp_path)
    with (tmp_path / "triples" / "mine.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"MY:{n},,test,a test,,,,,\n" for n in range(100, 125))
    rejects = tmp_path / "rejects.txt"
    words = ["kg", "build", "--facts", str(facts), "--source", word, "--rejects", str(rejects), "--json"]
    assert cli.run(words) == 0
    printed = capsys.readouterr()
    (told,) = json.loads(printed.out)["imports"]
    assert told["source"] == "triples-mine" and told["rejected"] == 25
    assert printed.err.count("rejected: mine.csv:") == 20 and "and 5 more" in printed.err
    assert len(rejects.read_text(encoding="utf-8").splitlines()) == 25
    assert cli.run(["kg", "sources", "--json"]) == 0
    listed = {row["id"]: row["facts"] for row in json.loads(capsys.readouterr().out)}
    assert listed == {"made-up-2020": 3, "triples-mine": 2, "my-atlas-2021": 1}
    assert cli.run(["kg", "sources", "my-atlas-2021"]) == 0
    assert "Violet spot is a violet mark of the skin." in capsys.readouterr().out
    assert cli.run(["kg", "build", "--source", "nonsense=."]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
