"""Mutated attacks and reads: what the guard passes holds no writing clause, and writes nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarify.errors import ClarifyError, CypherRefused
from clarify.graph_schema import guard
from clarify.graph_schema.stores.base import Limits
from clarify.graph_schema.stores.ladybug_store import LadybugKG

DATA = Path(__file__).resolve().parents[1] / "data"
TABLES = {
    name: tomllib.loads((DATA / f"cypher_{name}.toml").read_text(encoding="utf-8"))
    for name in ("attacks", "reads")
}
ATTACKS = [text for texts in TABLES["attacks"].values() for text in texts]
READS = TABLES["reads"]["runs"]
CLAUSES = frozenset(
    "CREATE MERGE SET DELETE DETACH REMOVE DROP ALTER COPY LOAD EXPORT IMPORT INSTALL ATTACH CALL USE INSERT "
    "FOREACH BEGIN COMMIT GRANT".split()
)
PIECES = [
    "'", '"', "`", "\\", "/*", "*/", "//", "\n", "\r\n", "\r", ";", " ", "(", ")", "{", "}", "[", "]", ".",
    ":", "$", "''", "\\'", "\uff07", "\u2028", " AS ", " CREATE (n:Term {id: 'zz'}) ", " DETACH DELETE n ",
    " SET n.name = 'zz' ", " MERGE (:Term {id: 'zz'}) ", " RETURN 1 AS x ", " UNION ", " WITH 1 AS y ",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An attack or a read with pieces put in, cut out, doubled, or joined to another one."""
    text = draw(st.sampled_from(ATTACKS + READS))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 12)))
        text = draw(
            st.sampled_from(
                [
                    text[:at] + draw(st.sampled_from(PIECES)) + text[at:],
                    text[:at] + text[to:],
                    text[:to] + text[at:],
                    text[:at] + draw(st.sampled_from(ATTACKS)) + text[at:],
                    text[:at] + text[at:to].swapcase() + text[to:],
                ]
            )
        )
    return text[:1000]


def bare_words(text: str) -> list[str]:
    """Words outside strings, quoted names and comments, read letter by letter: not as the guard does it.

    Names are marked: after `:`, `.`, `$` and `AS`, and keys before `:` in a map.
    """
    words, word, i, last = [], "", 0, ""
    text += "\n"
    while i < len(text):
        two, char = text[i : i + 2], text[i]
        if char.isalnum() or char == "_":
            word += char
            i += 1
            continue
        if word:
            rest = text[i:].lstrip()
            is_name = last in (":", ".", "$", "AS") or (last in ("{", ",") and rest.startswith(":"))
            words += [] if is_name else [word.upper()]
            last, word = word.upper(), ""
        if two == "//":
            i = text.index("\n", i)
        elif two == "/*":
            i = text.index("*/", i + 2) + 2
        elif char in "'\"`":
            i += 1
            while text[i] != char or (char == "`" and text[i + 1] == "`"):
                i += 2 if text[i] == "\\" and char != "`" or text[i] == "`" else 1
            i, last = i + 1, "quoted"
        else:
            last = last if char.isspace() else char
            i += 1
    return words


@given(mutated())
@settings(max_examples=250)
def test_what_passes_holds_no_writing_clause(text: str) -> None:
    try:
        guard.check(text)
    except CypherRefused:
        return
    assert not CLAUSES & set(bare_words(text)), text


@pytest.mark.parametrize("text", TABLES["attacks"]["write"])
def test_the_letter_by_letter_reading_sees_every_write(text: str) -> None:
    assert CLAUSES & set(bare_words(text)) or text == "MATCH (n) RETURN 1.SET" or "NODETACH" in text


@pytest.fixture(scope="module")
def writable() -> Iterator[LadybugKG]:
    """A graph that anything could be written into, were it not for the guard."""
    store = LadybugKG(None, read_only=False, limits=Limits(timeout_s=10, max_rows=100))
    store.upsert_nodes("Disease", [{"id": "T:a", "name": "a"}, {"id": "T:b", "name": "b"}])
    store.upsert_edges("IS_A", "Disease", "Disease", [{"src": "T:a", "dst": "T:b"}])
    yield store
    store.close()


def held(store: LadybugKG) -> list[object]:
    nodes = store.query("MATCH (n) RETURN n.id AS id, n.name AS name ORDER BY id")
    return [nodes, store.query("MATCH (a)-[r]->(b) RETURN a.id AS a, b.id AS b")]


def test_an_unguarded_write_would_be_seen(writable: LadybugKG) -> None:
    before = held(writable)
    writable._write("MATCH (n:Disease {id: 'T:b'}) SET n.name = 'x'", {})
    assert held(writable) != before
    writable._write("MATCH (n:Disease {id: 'T:b'}) SET n.name = 'b'", {})
    assert held(writable) == before


@given(text=mutated())
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_passes_writes_nothing(writable: LadybugKG, text: str) -> None:
    before = held(writable)
    try:
        writable.query(text, {"id": "T:a"})
    except ClarifyError:
        pass  # Refused, or no Cypher that this engine knows: what counts is what the graph holds.
    assert held(writable) == before, text
