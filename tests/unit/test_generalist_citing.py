"""Between the brackets of a citation stands what was retrieved, and what the sentence was copied from."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("transformers")

from transformers import AutoTokenizer

from clarify.agent.generalist.citing import Citing
from clarify.agent.generalist.profiles import nano_folder
from clarify.graph_schema.protocol import FactRow, SourceRef
from clarify.tools.render import render_rows

TOKENIZER = AutoTokenizer.from_pretrained(nano_folder())
RESULTS = [
    "img1: melanoma 71 %, melanocytic nevus 21 %; unsure; shortlist melanoma, melanocytic nevus",
    "[mel-sign-1] melanoma | clinical sign | an uneven edge\n"
    "[mel-sign-2] melanoma | clinical sign | growth\n"
    "[mel-sign-3] melanoma | clinical sign | fast growth of an uneven edge",
    "no facts found: tests of acne",
]
SEEN = "specialist:img1"
ALL = [SEEN, "mel-sign-1", "mel-sign-2", "mel-sign-3"]


def tokens(text):
    return TOKENIZER(text, add_special_tokens=False).input_ids


def cite(results, sentence, seed):
    """Writes a sentence and a citation, any allowed token after the other."""
    citing, said = Citing(TOKENIZER, results), tokens(f"{sentence} [")
    for i, token in enumerate(said):
        assert citing.allowed() == []
        citing.accept(token, lambda upto=i: TOKENIZER.decode(said[: upto + 1]))
    begun, rng = len(said), random.Random(seed)
    while allowed := citing.allowed():
        said.append(rng.choice(allowed))
        citing.accept(said[-1], lambda: "")
    assert TOKENIZER.decode(said[:begun]) == f"{sentence} ["
    return TOKENIZER.decode(said[begun:])


@pytest.mark.parametrize(
    ("sentence", "cited"),
    [
        ("One sign of melanoma is an uneven edge.", ["mel-sign-1", SEEN]),
        ("Another sign of melanoma is Growth.", ["mel-sign-2", SEEN]),
        (
            "A further sign of melanoma is fast growth of an uneven edge.",
            ["mel-sign-3", SEEN],
        ),  # holds the others
        ("It shows growth and an uneven edge.", ["mel-sign-1", "mel-sign-2", SEEN]),
        ("One sign of melanoma is an outgrowth.", ALL),  # a part of a word is no repetition
        ("The picture fits melanoma best, at 71 %.", ALL),
        ("One sign of melanoma is growth.\nIt may itch.", ALL),  # the sentence before is another
    ],
)
def test_a_sentence_cites_the_row_that_it_repeats(sentence, cited):
    assert Citing(TOKENIZER, RESULTS).of(sentence.rpartition("\n")[2]) == cited
    assert {cite(RESULTS, sentence, seed) for seed in range(40)} == {f"{name}]" for name in cited}


def test_what_only_one_row_says_is_cited_without_a_choice():
    citing = Citing(TOKENIZER, RESULTS[1:])
    sentence = "One sign of melanoma is an uneven edge. ["
    citing.accept(tokens(" [")[0], lambda: sentence)
    assert TOKENIZER.decode(citing.forced()) == "mel-sign-1]"
    citing = Citing(TOKENIZER, RESULTS)
    citing.accept(tokens(" [")[0], lambda: "It itches. [")
    assert citing.forced() == []


def test_where_nothing_was_retrieved_nothing_is_limited():
    for results in (
        [],
        ["error: the graph is gone"],
        ["[mel-sign-1] is no row", "no facts found: [x] | y | z"],
    ):
        citing = Citing(TOKENIZER, results)
        citing.accept(tokens(" [")[0], lambda: "It itches. [")
        assert citing.allowed() == [] == citing.forced()


words = st.text("abcdefg HIJ.,é-%", min_size=1, max_size=30).filter(lambda text: text.strip())
ids = st.text("abcxyz019:.-", min_size=1, max_size=14)


@example({":": "A"}, "A", 0)  # whose tokens could be those of " [:" and "]"
@given(st.dictionaries(ids, words, min_size=1, max_size=6), words, st.integers(0, 9))
def test_whatever_is_chosen_is_an_id_of_the_results(rows, sentence, seed):
    source = SourceRef(id="x", title="x")
    shown = [
        FactRow(fact_id=i, statement="s", source=source, subject="a", predicate="cause", object=said)
        for i, said in rows.items()
    ]
    assert cite([render_rows(shown)], " ".join(sentence.split()), seed) in {f"{name}]" for name in rows}
