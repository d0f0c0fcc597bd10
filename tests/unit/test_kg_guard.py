"""The guard for free Cypher: attacks are refused with a reason, honest reads pass."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.errors import CypherRefused
from clarify.graph_schema import guard

DATA = Path(__file__).resolve().parents[1] / "data"
ATTACKS = [
    text
    for texts in tomllib.loads((DATA / "cypher_attacks.toml").read_text(encoding="utf-8")).values()
    for text in texts
]
READS = [
    text
    for texts in tomllib.loads((DATA / "cypher_reads.toml").read_text(encoding="utf-8")).values()
    for text in texts
]
LARGE = [
    "",
    "RETURN " + "(" * 51 + "1" + ")" * 51,
    "RETURN " + "[" * 60 + "]" * 60,
    "RETURN '" + "x" * 4000 + "' AS x",
    "RETURN " + "NOT " * 900 + "true AS x",
]


@pytest.mark.parametrize("text", ATTACKS + LARGE)
def test_attacks_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(CypherRefused) as refusal:
        guard.check(text)
    assert str(refusal.value) and "\n" not in refusal.value.line() and refusal.value.exit_code == 2


@pytest.mark.parametrize("text", READS)
def test_honest_reads_pass(text: str) -> None:
    guard.check(text)


def test_parameters_are_those_outside_literals() -> None:
    text = (
        "MATCH (n {id: $id, b: '$no'}) WHERE n.x IN $ids // $no\nRETURN n.`$no2` AS x, $ids AS y, $`odd` AS z"
    )
    assert {"id", "ids"} <= guard.check(text).parameters and "no" not in guard.check(text).parameters


def test_only_listed_procedures_may_be_called() -> None:
    calls = frozenset({"db.labels"})
    guard.check("CALL db.labels() YIELD label RETURN label", calls=calls)
    guard.check("MATCH (n) CALL DB.Labels() YIELD label RETURN label", calls=calls)
    for text in (
        "CALL db.labels.evil()",
        "CALL db.index.fulltext.drop('x')",
        "CALL db",
        "CALL",
        "CALL (n) { RETURN 1 }",
    ):
        with pytest.raises(CypherRefused):
            guard.check(text, calls=calls)


WRITES = st.sampled_from(
    "CREATE MERGE SET DELETE DETACH REMOVE DROP COPY LOAD CALL INSTALL ATTACH EXPORT INSERT USE".split()
)
GAPS = st.sampled_from([" ", "\n", "\t", "/* x */", " // y\n", "\r\n"])


@given(WRITES, GAPS, GAPS, st.booleans())
def test_a_write_clause_is_seen_wherever_it_stands(word: str, before: str, after: str, lower: bool) -> None:
    word = word.lower() if lower else word
    with pytest.raises(CypherRefused):
        guard.check(f"MATCH (n){before}{word}{after}(m) RETURN n.id AS id")


@given(st.text(max_size=200), st.sampled_from("'\""))
def test_whatever_stands_in_a_literal_is_data(text: str, quote: str) -> None:
    inside = re.sub(r"[\x00-\x1f\x7f]", " ", text).replace("\\", "\\\\").replace(quote, "\\" + quote)
    if guard._ESCAPE.search(inside):
        return
    checked = guard.check(f"RETURN {quote}{inside}{quote} AS x")
    assert not checked.parameters and checked.skeleton.split() == ["RETURN", "''", "AS", "x"]


@given(st.text(max_size=300))
def test_any_text_is_checked_or_refused(text: str) -> None:
    try:
        checked = guard.check(text)
    except CypherRefused:
        return
    assert checked.skeleton.split()[0].upper() in {"MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN"}
    assert ";" not in checked.skeleton


@given(st.integers(0, 4), st.text(alphabet="(){}[]'\"`/*\\;$. CREATEreturn1\n", max_size=80))
def test_quotes_and_brackets_in_any_order_are_survived(_: int, text: str) -> None:
    try:
        guard.check("RETURN " + text)
    except CypherRefused as refusal:
        assert str(refusal)
