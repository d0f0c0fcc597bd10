"""Normal forms and the similarity behind linking."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clarify.graph_schema.folding import fold, normalise, spans
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
