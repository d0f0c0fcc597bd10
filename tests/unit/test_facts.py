"""The shipped facts: shape, vocabulary, sources, coverage, and that every statement reads as a sentence."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from clarify.graph_schema.predicates import PREDICATES, state

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "graph_schema" / "facts"
KIND = {
    "def": "definition",
    "site": "site",
    "sign": "clinical sign",
    "derm": "dermoscopic sign",
    "risk": "risk factor",
    "cause": "cause",
    "test": "test",
    "treat": "first-line treatment",
    "further": "further treatment",
    "avoid": "avoid",
    "comp": "complication",
    "prog": "prognosis",
    "flag": "red flag",
    "diff": "differs from",
}
MINIMUM = {
    "definition": 1,
    "site": 1,
    "clinical sign": 3,
    "cause": 1,
    "risk factor": 1,
    "test": 1,
    "first-line treatment": 1,
    "further treatment": 1,
    "complication": 1,
    "prognosis": 1,
    "red flag": 1,
    "differs from": 2,
}
EXCEPTIONS = {
    ("lplk", "further treatment"),
    ("lplk", "complication"),  # harmless, nothing more to do
}
"""What a condition may lack, each with its reason."""

PAIRS = [  # (slug, slug): a row in each direction
    *[("mel", other) for other in ("nv", "sk", "len", "bcc", "df", "vasc", "ak", "bowen", "pg", "bkl")],
    *[("nv", other) for other in ("sk", "bcc", "df", "vasc", "ak", "len")],
    *[("bcc", other) for other in ("scc", "sk", "ak", "df", "vasc", "bowen")],
    *[("ak", other) for other in ("bowen", "scc", "sk", "df", "vasc", "len")],
    *[("bkl", other) for other in ("nv", "bcc", "ak", "bowen", "df", "vasc")],
    ("bowen", "scc"),
    ("bowen", "pso"),
    ("bowen", "dermatitis"),
    ("sk", "len"),
    ("sk", "df"),
    ("sk", "vasc"),
    ("df", "vasc"),
    ("sk", "scc"),
    ("pso", "dermatitis"),
    ("pso", "tin"),
    ("dermatitis", "tin"),
    ("lp", "pso"),
    ("lp", "dermatitis"),
    ("ros", "dermatitis"),
    ("atopic", "contact"),
    ("lp", "lplk"),
]

DOCUMENTS: dict[str, dict[str, Any]] = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(FACTS.glob("*.toml"))
    if path.stem != "sources"
}
SOURCES: list[dict[str, Any]] = tomllib.loads((FACTS / "sources.toml").read_text(encoding="utf-8"))["source"]
NAMES = {document["disease"]["curie"]: document["disease"]["name"] for document in DOCUMENTS.values()}
ALL_FACTS = [(slug, fact) for slug, document in DOCUMENTS.items() for fact in document["fact"]]
each_disease = pytest.mark.parametrize("slug", DOCUMENTS)


def test_the_set_is_a_good_size() -> None:
    """The conditions of the first slice, at least 60 in all, and at least 2,000 facts."""
    assert {
        "ak",
        "bowen",
        "bcc",
        "sk",
        "bkl",
        "df",
        "mel",
        "nv",
        "vasc",
        "dermatitis",
        "lp",
        "pso",
        "ros",
        "scc",
        "len",
        "tin",
    } <= set(DOCUMENTS)
    assert len(DOCUMENTS) >= 60
    assert len(ALL_FACTS) >= 2000


@pytest.mark.parametrize("slug", ["ak", "bowen", "bcc", "sk", "bkl", "df", "mel", "nv", "vasc", "len"])
def test_what_the_specialist_names_has_dermoscopic_signs(slug: str) -> None:
    """At least two: what a dermatoscope shows is what the specialist's pictures show."""
    assert sum(fact["predicate"] == "dermoscopic sign" for fact in DOCUMENTS[slug]["fact"]) >= 2


def test_ids_are_unique() -> None:
    """No fact id, CURIE, name or synonym stands for two things."""
    for values in (
        [fact["id"] for _, fact in ALL_FACTS],
        [document["disease"]["curie"] for document in DOCUMENTS.values()],
        [
            term.lower()
            for document in DOCUMENTS.values()
            for key in ("name", "synonyms", "lay", "abbreviations")
            for term in ([document["disease"][key]] if key == "name" else document["disease"][key])
        ],
    ):
        assert [value for value, count in Counter(values).items() if count > 1] == []


def test_sources_are_few_and_complete() -> None:
    """At most 60 sources, each used, with organisation, title and a plausible year."""
    assert len(SOURCES) <= 60
    ids = [source["id"] for source in SOURCES]
    assert len(set(ids)) == len(ids)
    assert {fact["source"] for _, fact in ALL_FACTS} == set(ids)
    for source in SOURCES:
        assert set(source) == {"id", "organisation", "title", "year", "identifier", "kind"}
        assert source["organisation"] and source["title"] and source["kind"]
        assert 1990 <= source["year"] <= 2026


@each_disease
def test_disease_header(slug: str) -> None:
    """The header has the declared keys, a CURIE and parents that exist."""
    disease = DOCUMENTS[slug]["disease"]
    assert set(disease) == {"slug", "curie", "name", "synonyms", "lay", "abbreviations", "parents", "xrefs"}
    assert disease["slug"] == slug
    assert re.fullmatch(r"(DOID:\d+|MONDO:\d{7}|CLARIFY:[a-z]+)", disease["curie"])
    assert set(disease["parents"]) <= set(NAMES) - {disease["curie"]}
    assert set(disease["xrefs"]) <= {"icd10cm", "icd11", "snomedct", "mesh", "umls"}
    assert all(isinstance(code, str) and code for code in disease["xrefs"].values())


@each_disease
def test_facts_have_the_declared_shape(slug: str) -> None:
    """Ids say disease and kind, predicates are known, targets exist, objects are short and clean."""
    allowed = {"id", "predicate", "object", "source", "section", "node", "other"}
    numbers: Counter[str] = Counter()
    for fact in DOCUMENTS[slug]["fact"]:
        match = re.fullmatch(rf"{slug}-([a-z]+)-(\d+)", fact["id"])
        assert match and KIND[match[1]] == fact["predicate"], fact["id"]
        numbers[match[1]] += 1
        assert int(match[2]) == numbers[match[1]], f"{fact['id']} is out of order"
        assert set(fact) <= allowed and fact["section"] and fact["predicate"] in PREDICATES
        assert ("other" in fact) == (fact["predicate"] == "differs from"), fact["id"]
        if "other" in fact:
            assert fact["other"] in NAMES and fact["other"] != DOCUMENTS[slug]["disease"]["curie"], fact["id"]
        limit = 25 if fact["predicate"] == "definition" else 16
        assert 1 <= len(fact["object"].split()) <= limit, fact["id"]
        assert fact["object"].isascii(), fact["id"]
        assert not re.search(r"[;|\[\]{}<>\n]|  |^ | $|[.,]$", fact["object"]), fact["id"]


@each_disease
def test_every_condition_has_every_kind(slug: str) -> None:
    """Each kind of fact is there, but for the listed exceptions."""
    counts = Counter(fact["predicate"] for fact in DOCUMENTS[slug]["fact"])
    missing = {kind for kind, least in MINIMUM.items() if counts[kind] < least}
    assert missing == {kind for name, kind in EXCEPTIONS if name == slug}
    objects = [(fact["predicate"], fact.get("other"), fact["object"]) for fact in DOCUMENTS[slug]["fact"]]
    assert len(set(objects)) == len(objects)


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_confused_pairs_are_told_apart_in_both_directions(one: str, two: str) -> None:
    """What the classifier or a person confuses has a row each way."""
    for subject, other in ((one, two), (two, one)):
        targets = {fact.get("other") for fact in DOCUMENTS[subject]["fact"]}
        assert DOCUMENTS[other]["disease"]["curie"] in targets, f"{subject} -> {other}"


@each_disease
def test_statements_read_as_sentences(slug: str) -> None:
    """A statement starts with a capital, ends with one period, has no doubled word or wrong article."""
    disease = DOCUMENTS[slug]["disease"]
    for fact in DOCUMENTS[slug]["fact"]:
        text = state(fact["predicate"], disease["name"], fact["object"], NAMES.get(fact.get("other", ""), ""))
        assert text[0].isupper() and text.endswith(".") and not text.endswith(".."), text
        assert "  " not in text and " ," not in text, text
        assert not re.search(r"\b(a a|an a|(\w+) \2)\b", text), text
        assert not re.search(r"\b[Aa] (?!one|uni)[aeiou]\w*|\b[Aa]n [bcdfgjklmnpqrtvwxyz]\w+", text), text


def test_every_two_labels_of_the_specialist_are_told_apart() -> None:
    """Of each pair of labels, at least one member of each has a row about the other, both ways."""
    groups = [["ak", "bowen"], ["bcc"], ["sk", "bkl", "len"], ["df"], ["mel"], ["nv"], ["vasc"]]
    rows = {(slug, fact.get("other")) for slug, fact in ALL_FACTS}
    for one, two in permutations(groups, 2):
        targets = [DOCUMENTS[slug]["disease"]["curie"] for slug in two]
        assert any((slug, target) in rows for slug in one for target in targets), (one, two)


def test_labels_of_the_specialist_are_covered() -> None:
    """Every CURIE a specialist label stands for is a condition here."""
    path = ROOT / "weights" / "specialist" / "labels.json"
    if not path.exists():
        pytest.skip("the specialist's label map is not in this checkout")
    labels = json.loads(path.read_text(encoding="utf-8"))
    for label, entry in labels.items():
        assert set(entry["curies"]) <= set(NAMES), label
        assert entry["curie"] in NAMES, label
