"""Captions taken apart, by rules and by a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel

from clarify.errors import BadInput
from clarify.training.make.aspects import SUB_CAPTIONS, Aspects
from clarify.training.make.decompose import RuleDecomposer, concepts_sentence
from clarify.training.make.decompose_llm import LLMDecomposer, read_answer
from clarify.training.make.ontology import Node, Ontology
from clarify.training.make.wording import split_sentences, words

TREE = {
    "inflammatory": {
        "dermatitis": {"atopic dermatitis": {}, "contact dermatitis": None},
        "psoriasis": ["plaque psoriasis"],
        "bullous pemphigoid": "",
    },
    "neoplastic": {
        "malignant": ["melanoma", "BCC", "basal cell carcinoma"],
        "benign": [{"name": "seborrheic keratosis", "synonyms": ["seborrhoeic wart"]}],
    },
}
ONTOLOGY = Ontology.from_json(TREE)
RULES = RuleDecomposer(ONTOLOGY)
CONCEPTS = sorted(concept for names in words().concepts.values() for concept in names)
FEWER = settings(max_examples=30)


def path_of(caption: str) -> str:
    found = RULES.disease(caption)
    return ", ".join(ONTOLOGY.path(found)) if found else ""


# Ontologies


def test_both_shapes_of_json_say_the_same(tmp_path: Path) -> None:
    flat = {"root": ["inflammatory"], "inflammatory": ["dermatitis"], "dermatitis": ["Atopic dermatitis"]}
    file = tmp_path / "flat.json"
    file.write_text(json.dumps(flat), encoding="utf-8")
    expected = ("inflammatory", "dermatitis", "Atopic dermatitis")
    nested = Ontology.from_json({"inflammatory": {"dermatitis": {"Atopic dermatitis": {}}}})
    for ontology in (nested, Ontology.from_json(file)):
        assert ontology.path(ontology.named("atopic  DERMATITIS")) == expected
        assert "root" not in ontology.nodes


def test_the_shortest_path_is_taken_and_of_equal_ones_the_first_in_the_alphabet() -> None:
    several = {"z": ["x"], "b": ["m"], "a": ["m"], "m": ["x"]}
    assert Ontology.from_json(several).path("x") == ("z", "x")
    assert Ontology.from_json({"b": ["x"], "a": ["x"]}).path("x") == ("a", "x")


def test_cycles_have_paths_too() -> None:
    ontology = Ontology.from_json({"b": ["c"], "c": ["a"], "a": ["b", "d"], "e": ["e", "f"]})
    assert [ontology.path(id_) for id_ in "abcd"] == [("a",), ("a", "b"), ("a", "b", "c"), ("a", "d")]
    assert ontology.path("f") == ("e", "f")
    assert ontology.is_below("d", "c") and not ontology.is_below("a", "d")


@FEWER
@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef")), min_size=1))
def test_every_node_of_any_graph_has_a_path_of_edges(table: dict[str, list[str]]) -> None:
    ontology = Ontology.from_json(table)
    backwards = Ontology(reversed(ontology.nodes.values()))
    for id_ in ontology.nodes:
        path = ontology.path(id_)
        assert path[-1] == id_ and len(set(path)) == len(path) and path == backwards.path(id_)
        assert all(b in table.get(a, []) for a, b in zip(path, path[1:], strict=False))


def test_tables_of_an_ontology(tmp_path: Path) -> None:
    terms, edges = tmp_path / "terms.tsv", tmp_path / "edges.tsv"
    terms.write_text(
        "id\tlabel\tsynonyms\nD:1\tskin cancer\t\nD:2\tskin melanoma\tmelanoma of skin|malignant melanoma\n"
        'D:3\trash of "Smith"\t MS \n',
        encoding="utf-8",
    )
    edges.write_text(
        "subject\tpredicate\tobject\nD:2\tis_a\tD:1\nD:2\thas_symptom\tD:3\nD:1\tis_a\tD:99\n",
        encoding="utf-8",
    )
    ontology = Ontology.from_tables(terms, edges)
    assert ontology.path("D:2") == ("skin cancer", "skin melanoma")
    for text in ("a melanoma", "skin melanomas", "Malignant  melanoma"):
        assert [f.values for f in ontology.mentions(text)] == [("D:2",)]
    assert ontology.mentions("ms") == [] and ontology.mentions("MS")[0].values == ("D:3",)
    edges.write_text("subject\tobject\n", encoding="utf-8")
    with pytest.raises(BadInput, match="lacks the columns predicate"):
        Ontology.from_tables(terms, edges)


def test_a_name_of_two_diseases_says_neither_but_a_group_may_share_it() -> None:
    two = Ontology([Node("1", "one", ("same",)), Node("2", "two", ("same",))])
    below = Ontology([Node("1", "one", ("same",)), Node("2", "two", ("same",), ("1",))])
    assert two.named("same") == "" and below.named("same") == "1"


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"a": 1}',
        '{"name": "a", "synonyms": "b"}',
        '{"a": ["b", 3]}',
        '{"!": []}',
        "{",
        "[" * 10**5,
    ],
)
def test_bad_ontologies_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ontology.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        Ontology.from_json(file)
    assert refused.value.hint


def test_unknown_ids_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        ONTOLOGY.path("nowhere")
    with pytest.raises(BadInput, match="cannot be read"):
        Ontology.from_json(tmp_path / "none.json")


# Diagnoses


@pytest.mark.parametrize(
    ("caption", "path"),
    [
        ("Chronic atopic dermatitis of the elbow.", "inflammatory, dermatitis, atopic dermatitis"),
        (
            "Dermatitis of the hands, most likely atopic dermatitis.",
            "inflammatory, dermatitis, atopic dermatitis",
        ),
        ("Plaque psoriasis beside dermatitis.", "inflammatory, psoriasis, plaque psoriasis"),
        ("A seborrheic wart on the back.", "neoplastic, benign, seborrheic keratosis"),
        ("Not melanoma but psoriasis.", "inflammatory, psoriasis"),
        ("Melanomas of the back.", "neoplastic, malignant, melanoma"),
        ("Her mother had melanoma; this is psoriasis.", "inflammatory, psoriasis"),
        ("BCC on the nose", "neoplastic, malignant, BCC"),
    ],
)
def test_the_disease_is_placed_on_its_path(caption: str, path: str) -> None:
    assert path_of(caption) == path
    assert RULES.decompose(caption).diagnosis == f"This is a skin photo diagnosed as {path}"


@pytest.mark.parametrize(
    "caption",
    [
        "No sign of melanoma.",
        "Biopsy to rule out melanoma.",
        "A mole rather than melanoma.",
        "Melanoma was ruled out.",
        "Family history of melanoma.",
        "Melanoma in her father.",
        "Her mother has psoriasis.",
        "Melanoma vs. psoriasis.",
        "Suspected melanoma.",
        "The differential diagnosis includes psoriasis.",
        "It isn\u2019t psoriasis.",
        "Uveal melanoma.",
        "Melanoma of the lung.",
        "An inflammatory, benign lesion.",
        "bcc",
        "A plaque on the arm.",
        "",
    ],
)
def test_what_is_no_diagnosis(caption: str) -> None:
    assert path_of(caption) == "" and RULES.decompose(caption).diagnosis == ""


# Concepts


def test_the_vocabulary_is_that_of_the_paper() -> None:
    assert [len(names) for names in words().concepts.values()] == [9, 11, 6, 6]
    assert len(set(CONCEPTS)) == len(CONCEPTS) and not any(ONTOLOGY.named(name) for name in CONCEPTS)


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("Red, scaly plaques with crusting", ("erythema", "scale", "plaque", "crust")),
        ("Maculopapular rash, ring-shaped", ("macule", "papule", "annular shape")),
        ("tiny blisters that ooze: oozing, scabs", ("vesicle", "exudate", "crust")),
        ("A patch test on the back of a white woman, scale bar 1 mm", ()),
        ("Bullous pemphigoid with erosions", ("erosion",)),
        ("non-scaly brown patch", ("brown colour", "patch")),
        ("Scale, crust and ulceration are absent. Nodule.", ("nodule",)),
        ("Her father has scaly plaques", ()),
        ("There is no change in the red nodule", ("erythema", "nodule")),
        ("A plaque on the elbow", ("plaque",)),
    ],
)
def test_concepts_that_a_caption_shows(caption: str, concepts: tuple[str, ...]) -> None:
    assert RULES.concepts(caption) == concepts
    assert RULES.decompose(caption).concepts == concepts_sentence(concepts)


def test_the_sentence_of_concepts() -> None:
    assert concepts_sentence(()) == "" and concepts_sentence(("scale",)) == "This skin photo shows scale"
    assert concepts_sentence(("a", "b", "c")) == "This skin photo shows a, b and c"


DENIALS = (
    "no {}",
    "without any {}",
    "no sign of {}",
    "{} is absent",
    "{} was not seen",
    "there isn't {}",
    "lacks {}",
)
TERMS = ("papule", "scale", "crust", "ulcer", "scar", "wheal", "fissure", "nodule")


@FEWER
@given(
    st.sampled_from(DENIALS),
    st.lists(st.sampled_from(TERMS), min_size=1, max_size=4, unique=True),
    st.sampled_from(["or", "and", "nor"]),
    st.booleans(),
    st.sampled_from(
        ["Macule. Also {}.", "{}, but a macule is there", "{}; macule", "Macule with redness, but {}."]
    ),
)
def test_no_denied_concept_is_listed(
    denial: str, terms: list[str], joined: str, oxford: bool, frame: str
) -> None:
    *others, last = [term + "s" for term in terms]
    comma = "," if oxford and len(others) > 1 else ""
    listed = f"{', '.join(others)}{comma} {joined} {last}" if others else last
    found = RULES.concepts(frame.format(denial.format(listed)))
    assert "macule" in found and not set(found) & set(terms)


@FEWER
@given(
    st.text()
    | st.lists(st.sampled_from([*TERMS, "no", ",", "or", "melanoma", ".", "(", "but"])).map(" ".join)
)
def test_any_text_can_be_taken_apart(caption: str) -> None:
    aspects = RULES.decompose(caption)
    assert aspects.caption == caption and set(RULES.concepts(caption)) <= set(CONCEPTS)
    assert len(aspects.sub_captions) <= SUB_CAPTIONS and all(aspects.sub_captions)


# Sentences


@FEWER
@given(
    st.text()
    | st.lists(st.sampled_from(["A", "b", "e.g.", "1.5", "mm.", "Fig.", "3", "\n\n", "?!", "No."])).map(
        " ".join
    )
)
def test_sentences_together_have_every_word(text: str) -> None:
    assert " ".join(split_sentences(text)).split() == text.split()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A papule, approx. 1.5 mm wide. It is red.", ["A papule, approx. 1.5 mm wide.", "It is red."]),
        ("Signs, e.g. Scale. Crust", ["Signs, e.g. Scale.", "Crust"]),
        ("As in Fig. 3. T. rubrum grew!", ["As in Fig. 3.", "T. rubrum grew!"]),
        ("By J. R. Smith. Lack of vitamin D. Scale?", ["By J. R. Smith.", "Lack of vitamin D.", "Scale?"]),
        ('He said "red." Then\n\nscale', ['He said "red."', "Then", "scale"]),
        ("Is it? No. Yes", ["Is it?", "No.", "Yes"]),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_only_the_first_eight_sentences_are_sub_captions() -> None:
    assert len(RULES.decompose("It is red. " * 11).sub_captions) == SUB_CAPTIONS


# A chat model


def asked(caption: str, answer: str) -> Aspects:
    return LLMDecomposer(FakeListChatModel(responses=[answer]), ONTOLOGY).decompose(caption)


def test_a_model_finds_what_no_table_has() -> None:
    caption = "Besnier prurigo: covered in silvery dust. It is red."
    answer = {"disease": "Besnier prurigo", "concepts": {"scale": "Silvery dust", "erythema": "red"}}
    aspects = asked(caption, f"Here it is:\n```json\n{json.dumps(answer)}\n```")
    assert aspects.diagnosis == "This is a skin photo diagnosed as Besnier prurigo"
    assert aspects.concepts == "This skin photo shows scale and erythema"
    assert aspects.sub_captions == ("Besnier prurigo: covered in silvery dust.", "It is red.")
    placed = asked("Psoriasis.", '{"disease": "psoriasis", "concepts": null}')
    assert placed.diagnosis.endswith("inflammatory, psoriasis") and placed.concepts == ""


@pytest.mark.parametrize(
    ("disease", "concepts"),
    [
        ("melanoma", {"scale": "flakes"}),  # not in the caption
        ("dermatitis", {"crust": "crusts"}),  # denied there
        ("", {"beauty": "red", "erythema": ""}),  # not of the vocabulary, without a quote
    ],
)
def test_what_the_caption_does_not_say_is_dropped(disease: str, concepts: dict[str, str]) -> None:
    caption = "A red spot, no dermatitis. There are no crusts."
    aspects = asked(caption, json.dumps({"disease": disease, "concepts": concepts}))
    assert (aspects.diagnosis, aspects.concepts) == ("", "")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "none",
        "[1]",
        "{",
        '{"disease": 3}',
        '{"concepts": ["scale"]}',
        '{"concepts": {"scale": 1}}',
        '{"a":' * 10**5,
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error(answer: str) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        asked("A red spot.", answer)


@FEWER
@given(st.text())
def test_answers_are_read_or_refused(text: str) -> None:
    try:
        read_answer(text)
    except BadInput as error:
        assert error.hint


def test_a_model_is_not_asked_about_nothing() -> None:
    assert asked(" ", "no JSON") == Aspects(" ")
