"""Normal forms and the similarity behind linking."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clarify.graph_schema.folding import fold, normalise, spans
from clarify.graph_schema.stores.fts import TermIndex
from clarify.graph_schema.text import deletions, distance, similarity


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Seborrhoeic Keratoses", "seborrheic keratosis"),
        ("basal-cell carcinoma", "Basal Cell Carcinomas"),
        ("melanocytic naevi", "melanocytic nevus"),
        ("Bowen's disease", "bowen disease"),
        ("Bowen\u2019s disease", "bowens disease"),
        ("haemangioma", "hemangiomas"),
        ("tumour", "tumors"),
        ("lentigines", "lentigo"),
        ("AK / SCC", "ak scc"),
        ("BCCs", "bcc"),
        ("eczema", "ECZEMAS"),
        ("oedema", "edema"),
        ("n\u00e6vus".replace("\u00e6", "ae"), "nevus"),
        ("caf\u00e9 au lait", "cafe au lait"),
        ("rashes", "rash"),
    ],
)
def test_spellings_of_one_name_are_one(a: str, b: str) -> None:
    assert normalise(a) == normalise(b) != ""


@pytest.mark.parametrize(
    ("a", "b"), [("psoriasis", "psoriatic"), ("nevus", "nervus"), ("lichen", "linen"), ("mel", "mal")]
)
def test_different_words_stay_different(a: str, b: str) -> None:
    assert fold(a) != fold(b)


@given(st.text(max_size=80))
def test_normal_form_is_stable_and_plain(text: str) -> None:
    form = normalise(text)
    assert form == " ".join(form.split()) and all(text[a:b] for _, a, b in spans(text))


@example("bc", "caa")
@given(st.text("abcde", max_size=9), st.text("abcde", max_size=9))
def test_distance_is_a_bounded_symmetric_count(a: str, b: str) -> None:
    d = distance(a, b, 20)
    assert (
        d == distance(b, a, 20) and (d == 0) == (a == b) and abs(len(a) - len(b)) <= d <= max(len(a), len(b))
    )
    assert distance(a, b, 1) == min(d, 2)


@given(st.text("abc", min_size=4, max_size=9), st.integers(0, 8), st.sampled_from("abcx"))
def test_the_deletion_index_meets_every_single_edit(word: str, at: int, letter: str) -> None:
    at %= len(word)
    for edited in (
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + letter + word[at + 1 :],
    ):
        assert deletions(word, 1) & deletions(edited, 1)


def test_similarity_asks_for_every_telling_word() -> None:
    score = lambda q, t: similarity(normalise(q).split(), normalise(t).split())  # noqa: E731
    assert score("melanoma", "melanoma") == 1.0 == score("the melanoma", "melanoma")
    assert 0.85 < score("melanom", "melanoma") < 1
    assert score("uveal melanoma", "melanoma") == 0.0
    assert score("keratosis", "solar keratosis") < 0.8 < score("sebhorreic keratosis", "seborrheic keratosis")
    assert similarity([], ["a"]) == 0.0 == similarity([], [])


@given(st.text("abcdé-1", max_size=9), st.text("abcdé-1", max_size=9), st.integers(0, 3))
def test_the_distance_is_that_of_the_whole_table(a: str, b: str, limit: int) -> None:
    @cache
    def slow(i: int, j: int) -> int:
        if not (i and j):
            return i + j
        cost = min(slow(i - 1, j) + 1, slow(i, j - 1) + 1, slow(i - 1, j - 1) + (a[i - 1] != b[j - 1]))
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            cost = min(cost, slow(i - 2, j - 2) + 1)
        return cost

    assert distance(a, b, limit) == min(slow(len(a), len(b)), limit + 1)


def test_an_index_wants_a_word_of_every_group_of_some_reading() -> None:
    index = TermIndex(None, ["Term", "Wording"], read_only=False)
    texts = {"1": "actinic keratosis", "2": "solar keratosis", "3": "keratosis", "4": "lichen planus"}
    index.add("Term", texts.items())
    index.add("Wording", [("5", "actinic damage")])
    sun = ["actinic", "solar"]
    assert set(index.candidates("Term", [[sun, ["keratosys"]]], 9)) == {"1", "2"}
    assert set(index.candidates("Term", [[sun, ["keratosis"]], [["planus"]]], 9)) == {"1", "2", "4"}
    assert index.candidates("Term", [[sun, ["nevus"]]], 9) == index.candidates("Term", [], 9) == []
    assert index.candidates("Wording", [[sun]], 9) == ["5"]
    assert index.candidates("Term", [[["keratosis"]]], 1) == ["3"]  # more than asked for: the best
    index.close()
