"""Linking of free text over an embedded graph of invented diseases."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings

from clarify.errors import BadInput
from clarify.graph_schema.build import build_graph
from clarify.graph_schema.folding import normalise
from clarify.graph_schema.linking import is_sentence, link, link_text, resolve
from clarify.graph_schema.mentions import find_mentions
from clarify.graph_schema.stores import open_graph
from clarify.graph_schema.stores.base import BaseStore
from clarify.graph_schema.vectors import NameVectors

SOURCES = '[[source]]\nid = "s"\ntitle = "T"\nyear = 2020\n'
DISEASES = {
    "TEST:1": ("blorbus", ["basal blorbus", "eczema of Quill", "blorboid dermatitis"], ["BL"]),
    "TEST:2": ("quandelioma", ["haemoglorbic quandelioma", "quandelial carcinoma"], []),
    "TEST:3": ("Merrin's disease", ["azure spot"], []),
    "TEST:4": ("tinea quandis", ["ringtwist"], []),
    "TEST:5": ("hyperglorbosis", ["quizzitch vulgaris"], []),
}
NAMES = [(curie, n) for curie, (name, more, _) in DISEASES.items() for n in (name, *more)]


@pytest.fixture(scope="module")
def kg() -> Iterator[BaseStore]:
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts"
        facts.mkdir()
        (facts / "sources.toml").write_text(SOURCES)
        for i, (curie, (name, synonyms, short)) in enumerate(DISEASES.items()):
            (facts / f"d{i}.toml").write_text(
                f'[disease]\nslug = "d{i}"\ncurie = "{curie}"\nname = "{name}"\n'
                f"synonyms = {json.dumps(synonyms)}\nabbreviations = {json.dumps(short)}\n[[fact]]\n"
                f'id = "d{i}-def-1"\npredicate = "definition"\nobject = "a thing"\nsource = "s"\n'
            )
        build_graph(Path(folder) / "graph", facts=facts)
        store = open_graph(Path(folder) / "graph")
        yield store
        store.close()


@pytest.mark.parametrize(
    ("text", "curie", "how"),
    [
        ("BLORBUS", "TEST:1", "name"),
        ("basal-blorbus", "TEST:1", "synonym"),
        ("basal/blorbus", "TEST:1", "synonym"),
        ("blor bus", "TEST:1", "name"),
        ("blorbsu", "TEST:1", "misspelling"),
        ("blorboid eczema", "TEST:1", "variant"),
        ("hemoglorbic quandeliomas", "TEST:2", "synonym"),
        ("quandelial cancer", "TEST:2", "variant"),
        ("malignant quandelial cancer", "TEST:2", "variant"),
        ("carcinoma, quandelial", "TEST:2", "variant"),
        ("ringworm quandis", "TEST:4", "variant"),
        ("Merrin", "TEST:3", "variant"),
        ("hand blorbus", "TEST:1", "variant"),
        ("severe chronic blorbus", "TEST:1", "variant"),
        ("blorbus (BL)", "TEST:1", "name"),
        ("blorbus / basal blorbus", "TEST:1", "variant"),
    ],
)
def test_a_name_is_found_in_any_common_form(kg: BaseStore, text: str, curie: str, how: str) -> None:
    best = link(kg, text)[0]
    assert (best.curie, best.how) == (curie, how) and 0.8 <= best.score <= 1


@pytest.mark.parametrize(
    "text",
    ["uveal quandelioma", "hypoglorbosis", "azure", "azure sky", "spot", "skin disease", "quizzitch",
     "eczema", "carcinoma", "garden chair", "blorbus quandelioma", "zz"],
)  # fmt: skip
def test_what_is_no_name_means_nothing(kg: BaseStore, text: str) -> None:
    assert link(kg, text) == [] == link_text(kg, text)


@pytest.mark.parametrize(
    ("text", "curies"),
    [
        ("Is this blorbus or a quandelioma?", ["TEST:1", "TEST:2"]),
        ("My doctor said ringtwist, I thought of blorbsu", ["TEST:4", "TEST:1"]),
        ("how is hand blorbus treated", ["TEST:1"]),
        ("I have uveal quandelioma", []),
        ("I have a uveal malignant quandelioma", []),
        ("is quandelioma of the lung dangerous?", []),
        ("is quandelioma of the nose dangerous?", ["TEST:2"]),
        ("what is ocular blorbus?", ["TEST:1"]),
        ("is it blorbus herpeticum?", []),
        ("is my azure coat a problem?", []),
        ("is it BL?", ["TEST:1"]),
        ("is it bl?", []),
        ("IS THIS BL?", []),
        ("my lung hurts and there is a quandelioma", ["TEST:2"]),
    ],
)
def test_a_sentence_means_the_diseases_it_names(kg: BaseStore, text: str, curies: list[str]) -> None:
    assert [m.curie for m in link_text(kg, text)] == curies == [m.curie for m in find_mentions(kg, text)]


def test_names_of_other_diseases_hide_the_names_within(kg: BaseStore) -> None:
    assert find_mentions(kg, "a basal cell nevus syndrome, and blorbus") != []
    assert [m.matched for m in find_mentions(kg, "Papular urticaria? Blorbus?")] == ["Blorbus"]


def test_only_running_text_is_read_for_mentions() -> None:
    assert is_sentence("is it melanoma") and is_sentence("melanoma?") and is_sentence("melanoma\nor not")
    assert not is_sentence("squamous cell carcinoma of the lung") and not is_sentence("uveal melanoma")


def test_bounds_are_named(kg: BaseStore) -> None:
    for call, text in ((link, " "), (link, "x" * 201), (link_text, "x " * 4001)):
        with pytest.raises(BadInput):
            call(kg, text)
    assert [m.curie for m in link_text(kg, "blorbus " + "word " * 300)] == ["TEST:1"]
    assert [m.curie for m in resolve(kg, "blorbus or ringtwist")] == ["TEST:1", "TEST:4"]


@settings(max_examples=60)
@given(st.sampled_from([n for n in NAMES if max(map(len, n[1].split())) >= 8]), st.integers(0, 40), st.data())
def test_one_typing_error_is_forgiven(
    kg: BaseStore, named: tuple[str, str], at: int, data: st.DataObject
) -> None:
    curie, name = named
    words = name.split()
    n = max(range(len(words)), key=lambda i: len(words[i]))
    word, i = words[n], 1 + at % (len(words[n]) - 2)
    words[n] = data.draw(
        st.sampled_from(
            [word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word[:i] + "k" + word[i + 1 :],
             word[:i] + word[i + 1] + word[i] + word[i + 2 :]]
        )
    )  # fmt: skip
    # a vowel pair that reads as British spelling ("ae") is more than one error after folding
    assume(abs(len(normalise(words[n])) - len(normalise(word))) <= 1)
    assume(not any(pair in words[n] for pair in ("ae", "oe", "our")) or "ae" in word)
    assert [m.curie for m in link(kg, " ".join(words))][:1] == [curie]


@settings(max_examples=60)
@given(st.lists(st.text("bcdfghjkmnpstvwxz", min_size=4, max_size=10), min_size=1, max_size=4))
def test_random_words_mean_nothing(kg: BaseStore, words: list[str]) -> None:
    text = " ".join(words)
    assert link_text(kg, text) == [] == find_mentions(kg, text)


@settings(max_examples=40)
@given(st.text(max_size=120))
def test_any_text_is_survived(kg: BaseStore, text: str) -> None:
    assert all(m.curie in DISEASES for m in find_mentions(kg, text))


class Letters(Embeddings):
    """A vector that counts letters: near for anagrams."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(t.lower().count(c)) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_vectors_are_a_third_step_with_a_floor_and_the_same_caution(kg: BaseStore) -> None:
    vectors = NameVectors(kg, Letters(), floor=0.99)
    assert link(kg, "subrolb") == []
    found = link(kg, "subrolb", vectors=vectors)[0]
    assert (found.curie, found.how, found.matched) == ("TEST:1", "vector", "blorbus") and found.score >= 0.99
    assert link_text(kg, "subrolb", vectors=vectors) == [found]
    assert link(kg, "blorbus", vectors=vectors)[0].how == "name"
    assert link(kg, "uveal subrolb", vectors=NameVectors(kg, Letters(), floor=0.0)) == []
    assert link(kg, "zzz", vectors=vectors) == []
