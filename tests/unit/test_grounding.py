"""`verify`: single cases by hand, and both rates on the shipped facts."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.answer import Finding, Statement
from clarify.agent.findings import Verdict
from clarify.agent.grounding import check, claims, parse_statements, review
from clarify.agent.lexicon import Lexicon
from clarify.bench.verify import Case, measure
from clarify.graph_schema.predicates import state
from clarify.graph_schema.protocol import FactRow, SourceRef

NAMES = {"DOID:1909": ("melanoma", "malignant melanoma"), "MONDO:0005073": ("melanocytic nevus", "mole"),
         "DOID:2513": ("basal cell carcinoma", "BCC"), "DOID:8893": ("psoriasis",)}  # fmt: skip
LABELS = {"mel": "melanoma", "nv": "melanocytic nevus", "bcc": "basal cell carcinoma", "df": "dermatofibroma"}
CURIES = {"mel": ["DOID:1909"], "nv": ["MONDO:0005073"], "bcc": ["DOID:2513"], "df": ["DOID:4418"]}
LEXICON = Lexicon.build(
    [(c, n) for c, names in NAMES.items() for n in names], ["wide excision", "calcipotriol"], LABELS, CURIES
)


def _row(id_: str, predicate: str, object_: str, other: str = "", subject: str = "DOID:1909") -> FactRow:
    return FactRow(
        fact_id=id_,
        statement=state(predicate, NAMES[subject][0], object_, other),
        source=SourceRef(id="s", title=""),
        subject=NAMES[subject][0],
        predicate=f"{predicate} {other}".strip(),
        object=object_,
        subject_curie=subject,
    )


ROWS = {
    r.fact_id: r
    for r in (
        _row("mel-treat-1", "first-line treatment", "excision with a 1 cm margin when up to 1 mm thick"),
        _row("mel-treat-2", "first-line treatment", "wide excision"),
        _row("mel-further-1", "further treatment", "zorbimab plus a quellinib tablet"),
        _row("mel-avoid-1", "avoid", "laser before histology"),
        _row("mel-comp-1", "complication", "spread to lymph nodes"),
        _row("mel-cause-1", "cause", "ultraviolet damage"),
        _row("mel-sign-1", "clinical sign", "an asymmetric shape without pain"),
        _row("mel-diff-1", "differs from", "an uneven shape and recent change", "melanocytic nevus"),
        _row("mel-test-1", "test", "removal of the whole spot"),
        _row("pso-treat-1", "first-line treatment", "calcipotriol", subject="DOID:8893"),
    )
}
SEEN = Finding(
    tool="specialist", image="img1", label="mel", curie="DOID:1909", confidence=0.714,
    prediction_set=["mel", "nv"],
    probabilities={"mel": 0.714, "nv": 0.21, "bcc": 0.05, "df": 0.026},
)  # fmt: skip
UNSEEN = Finding(tool="specialist", image="img2", in_scope=False)
FINDINGS = {"specialist:img1": SEEN, "specialist:img2": UNSEEN}


def _check(text: str, *, sure: bool = False) -> Verdict:
    (statement,) = parse_statements(text, LEXICON)
    return check(statement, ROWS, FINDINGS, LEXICON, sure={"specialist:img1": sure})


@pytest.mark.parametrize(
    "text",
    [
        "Melanoma is first treated with excision with a 1 cm margin when up to 1 mm thick. [mel-treat-1]",
        "It is first treated with wide excision. [mel-treat-2]",
        "Malignant melanoma should not be treated with laser before histology. [mel-avoid-1]",
        "A further treatment of melanoma is zorbimab plus a quellinib tablet. [mel-further-1]",
        "Melanoma can lead to spread to lymph nodes. [mel-comp-1]",
        "Ultraviolet damage causes melanoma. [mel-cause-1]",
        "Melanoma often shows an asymmetric shape with no pain. [mel-sign-1]",
        "An uneven shape and recent change speaks for melanoma rather than melanocytic nevus. [mel-diff-1]",
        "What tells melanoma from melanocytic nevus is an uneven shape and recent change. [mel-diff-1]",
        "What speaks for melanoma is recent change and an uneven shape. [mel-diff-1]",
        "The picture fits melanoma best, at 71 %. [specialist:img1]",
        "At 71 %, this is unsure. [specialist:img1]",
        "Melanocytic nevus cannot be ruled out. [specialist:img1]",
        "The picture fits melanoma best; a nevus cannot be ruled out from it. [specialist:img1]",
        "Melanoma is most likely with 71 %, followed by melanocytic nevus with 21 %. [specialist:img1]",
        "This picture is not dermoscopy of a skin lesion, so I cannot classify it. [specialist:img2]",
        "Melanoma is caused by ultraviolet damage and can lead to spread to lymph nodes. "
        "[mel-cause-1, mel-comp-1]",
        "Hello, how can I help you?",
        "I do not know how melanoma is treated.",
        "Please have it seen by a dermatologist.",
        "A sharper picture would help.",
    ],
)
def test_supported(text: str) -> None:
    assert _check(text) == Verdict(True)


@pytest.mark.parametrize(
    "text",
    [
        "Melanoma is first treated with excision with a 2 cm margin when up to 1 mm thick. [mel-treat-1]",
        "Melanoma is first treated with excision with a 1 mm margin when up to 1 cm thick. [mel-treat-1]",
        "Melanoma is first treated with excision with a 1 cm margin. [mel-treat-1]",
        "Melanoma is not first treated with wide excision. [mel-treat-2]",
        "Melanoma is first treated with narrow excision. [mel-treat-2]",
        "Melanoma is first treated with wide excision and arsenic. [mel-treat-2]",
        "Psoriasis is first treated with wide excision. [mel-treat-2]",
        "A further treatment of melanoma is wide excision. [mel-treat-2]",
        "Melanoma is first treated with wide excision. [mel-treat-9]",
        "Melanoma should be treated with laser before histology. [mel-avoid-1]",
        "Melanoma should not be treated with laser after histology. [mel-avoid-1]",
        "Melanoma is first treated with zorbimab plus a quellinib tablet. [mel-further-1]",
        "Melanoma is caused by spread to lymph nodes. [mel-comp-1]",
        "Melanoma causes ultraviolet damage. [mel-cause-1]",
        "Melanoma often shows an asymmetric shape with pain. [mel-sign-1]",
        "Melanoma often shows a symmetric shape without pain. [mel-sign-1]",
        "An uneven shape and recent change speaks for melanocytic nevus rather than melanoma. [mel-diff-1]",
        "Unlike melanoma, melanocytic nevus shows an uneven shape and recent change. [mel-diff-1]",
        "The picture fits melanoma best, at 81 %. [specialist:img1]",
        "The picture fits melanocytic nevus best, at 21 %. [specialist:img1]",
        "Basal cell carcinoma cannot be ruled out. [specialist:img1]",
        "Melanocytic nevus is ruled out. [specialist:img1]",
        "The picture fits psoriasis best. [specialist:img1]",
        "At 71 %, this is sure. [specialist:img1]",
        "You have melanoma. [specialist:img1]",
        "This picture cannot be classified. [specialist:img1]",
        "The picture fits melanoma best. [specialist:img2]",
        "The picture fits melanoma best, and it is treated with wide excision. [specialist:img1]",
        "Melanoma is treated with wide excision.",
        "It is harmless.",
        "I do not know much, but melanoma is treated with arsenic.",
        "See a doctor and take prednisolone.",
    ],
)
def test_unsupported(text: str) -> None:
    verdict = _check(text)
    assert not verdict.supported
    assert verdict.reason


def test_statements_and_their_citations() -> None:
    text = (
        "- Melanoma is first treated with X. [mel-treat-1]\n"
        "It can spread [mel-comp-1]. A nevus [a-1; b-2] may not. Hi!"
    )
    assert [(s.text, s.citations, s.kind) for s in parse_statements(text, LEXICON)] == [
        ("Melanoma is first treated with X.", ["mel-treat-1"], "fact"),
        ("It can spread.", ["mel-comp-1"], "fact"),
        ("A nevus may not.", ["a-1", "b-2"], "fact"),
        ("Hi!", [], "other"),
    ]
    assert parse_statements("At 0.8 mm it is thin. [mel-sign-1]")[0].text == "At 0.8 mm it is thin."
    assert parse_statements("One is best.\n[mel-sign-1]")[0].citations == ["mel-sign-1"]
    assert parse_statements("Please see a dermatologist.")[0].kind == "advice"
    assert parse_statements("It fits. [specialist:img1]")[0].kind == "finding"


@given(st.text(max_size=300))
def test_parsing_and_checking_never_fail(text: str) -> None:
    for statement in parse_statements(text, LEXICON):
        assert statement.text.strip()
        check(statement, ROWS, FINDINGS, LEXICON)


@given(st.text(max_size=80), st.sampled_from(sorted(ROWS)))
def test_free_text_under_a_citation_is_refused_or_repeats_the_row(text: str, fact: str) -> None:
    verdict = check(Statement(text=text, citations=[fact], kind="fact"), ROWS, {}, LEXICON)
    assert not verdict.supported or ROWS[fact].object.split()[-1] in text.lower()


def test_review_follows_it_and_counts_coverage() -> None:
    draft = (
        "Melanoma is first treated with wide excision. [mel-treat-2]\n"
        "It can lead to spread to lymph nodes. [mel-comp-1]\n"
        "It is first treated with calcipotriol. [pso-treat-1]\n"
        "Melanoma is first treated with wide excision. [mel-treat-2]"
    )
    rows = {k: ROWS[k] for k in ("mel-treat-2", "mel-comp-1", "pso-treat-1", "mel-cause-1")}
    out = review(draft, rows, {}, LEXICON)
    assert [s.citations for s in out.kept] == [["mel-treat-2"], ["mel-comp-1"]]
    assert [s.citations for s, _ in out.removed] == [["pso-treat-1"]]
    assert out.coverage == 0.5
    assert review("Hello!", {}, {}, LEXICON).coverage == 1.0


def test_an_uncited_number_is_held_against_the_finding() -> None:
    sure = {"specialist:img1": False}
    good = review(
        "The picture fits melanoma best. [specialist:img1]\nAt 71 %, this is unsure.",
        {},
        FINDINGS,
        LEXICON,
        sure=sure,
    )
    assert [s.citations for s in good.kept] == [["specialist:img1"], ["specialist:img1"]]
    bad = review("At 52 %, this is unsure.", {}, {"specialist:img1": SEEN}, LEXICON, sure=sure)
    assert not bad.kept
    assert review("It helps 90 % of people.", {}, {}, LEXICON).kept == []


def test_a_misspelt_citation_is_set_right_where_one_row_says_the_sentence() -> None:
    def left(draft: str, rows: dict[str, FactRow] = ROWS) -> list[list[str]]:
        return [s.citations for s in review(draft, rows, {}, LEXICON).kept]

    said = "A complication of melanoma is spread to lymph nodes."
    assert left(f"{said} [mel-compl-1]") == [["mel-comp-1"]]
    assert left("A complication of melanoma is spread to the brain. [mel-compl-1]") == []
    assert left("The cause of melanoma is spread to lymph nodes. [mel-caus-1]") == []
    assert left(f"{said} [mel-cause-1]") == []  # a row that exists and says something else
    twice = ROWS | {"mel-comp-2": ROWS["mel-comp-1"].model_copy(update={"fact_id": "mel-comp-2"})}
    assert left(f"{said} [mel-compl-1]", twice) == []


def test_what_counts_as_a_claim() -> None:
    assert claims("Wide excision is best.", LEXICON)
    assert claims("Take ketoconazole.", Lexicon())
    assert not claims("Which disease do you mean, melanoma or psoriasis?", LEXICON)
    assert not claims("I found no facts about the treatment of melanoma.", LEXICON)


@cache
def _measured() -> dict[str, list[tuple[Case, str]]]:
    return measure(per_type=100)


def test_corrupted_statements_are_caught() -> None:
    cases = _measured()["corrupted"]
    assert len(cases) >= 500
    assert {"negation", "number", "unit", "drug", "disease", "relation"} <= {c.kind for c, _ in cases}
    assert sum(bool(reason) for _, reason in cases) / len(cases) >= 0.99
    for kind in {c.kind for c, _ in cases}:
        mine = [bool(reason) for c, reason in cases if c.kind == kind]
        assert sum(mine) / len(mine) >= 0.97, kind


@pytest.mark.parametrize("wordings", ["tuned", "held_out"])
def test_faithful_paraphrases_pass(wordings: str) -> None:
    cases = _measured()[wordings]
    assert len(cases) >= 500
    assert sum(not reason for _, reason in cases) / len(cases) >= 0.95
