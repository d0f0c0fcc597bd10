"""The portable core: every query file obeys it, and each rule catches what it is for."""

from __future__ import annotations

import pytest

from clarify.graph_schema.lint import lint, unknown_names
from clarify.graph_schema.paths import all_queries
from clarify.graph_schema.predicates import PREDICATES, QUERIES
from clarify.graph_schema.schema import SCHEMA


@pytest.mark.parametrize("name", sorted(all_queries()))
def test_query_files_are_portable(name: str) -> None:
    assert lint(all_queries()[name], SCHEMA) == []


@pytest.mark.parametrize("name", list(QUERIES))
def test_query_files_follow_the_predicates(name: str) -> None:
    types = "|".join(PREDICATES[predicate].edge for predicate in QUERIES[name])
    assert f"[r:{types}]" in all_queries()[name]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MATCH (d:Disease:Sign) RETURN d.id AS id", "two labels"),
        ("MATCH (d:Disease) WHERE EXISTS { (d)-[:IS_A]->(:Disease) } RETURN d.id AS id", "EXISTS"),
        ("MATCH (d:Disease) RETURN COUNT { (d)-[:IS_A]->(:Disease) } AS n", "COUNT"),
        ("MATCH (d:Disease) RETURN [x IN d.synonyms | x] AS l", "list comprehension"),
        ("MATCH (d:Disease) RETURN [(d)-[:IS_A]->(p) | p.name] AS l", "comprehension"),
        ("MATCH (d:Disease) RETURN d {.name} AS m", "map projection"),
        ("MATCH (d:Disease) CALL (d) { RETURN 1 AS x } RETURN x", "CALL"),
        ("MATCH (d:Disease) RETURN labels(d) AS l", "function"),
        ("MATCH p = shortestPath((a:Disease)-[:IS_A*1..3]->(b:Disease)) RETURN length(p) AS n", "function"),
        ("RETURN datetime() AS x", "function"),
        ("MATCH (d:Disease) WHERE any(s IN d.synonyms WHERE s = $x) RETURN d.id AS id", "parameter"),
        ("MATCH (d:Disease) WHERE $x IS NULL OR d.id = $x RETURN d.id AS id", "NULL"),
        ("MATCH (a:Disease)-[:IS_A*]->(b:Disease) RETURN b.id AS id", "upper bound"),
        ("MATCH (a:Disease)-[:IS_A*2..]->(b:Disease) RETURN b.id AS id", "upper bound"),
        ("MATCH (a:Disease)-[:IS_A]->(b)<-[:IS_A]-(c:Disease) RETURN c.id AS id", "twice"),
        ("MATCH (d:Disease) WITH d ORDER BY d.id RETURN d.id AS id", "without LIMIT"),
        ("MATCH (d:Disease) RETURN d", "whole node"),
        ("MATCH (d:Disease) RETURN d AS x", "whole node"),
        ("MATCH (d:Disease)-[r:IS_A]->(e:Disease) RETURN r", "whole node"),
        ("MATCH (d:Disease) RETURN *", "RETURN *"),
        ("MATCH (d:Disease) RETURN d.name AS d ORDER BY d", "alias"),
        ("MATCH (d:Diseas) RETURN d.id AS id", "not in the schema: Diseas"),
        ("MATCH (d:Disease)-[:IS_A|TREATS]->(x) RETURN x.id AS id", "not in the schema: TREATS"),
        ("MATCH (d:`Disease`) RETURN d.id AS id", "quoted"),
        ("MATCH (d:Disease) SET d.name = 'x'", "reading clause"),
    ],
)
def test_each_rule_catches_its_case(text: str, said: str) -> None:
    problems = lint("// Says.\n" + text, SCHEMA)
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (a:Disease)-[:IS_A]->(b)<-[:IS_A]-(c:Disease) WHERE c.id <> a.id RETURN c.id AS id",
        "MATCH (d:Disease) WITH d ORDER BY d.id LIMIT 3 RETURN d.id AS id",
        "MATCH (d:Disease) WHERE EXISTS { MATCH (d)-[:IS_A]->(:Disease) } RETURN d.id AS id",
        "MATCH (d:Disease) RETURN collect(DISTINCT {id: d.id}) AS l",
        "MATCH (a:Disease)-[:IS_A*1..3]->(b:Disease) RETURN DISTINCT b.id AS id",
    ],
)
def test_portable_text_passes(text: str) -> None:
    assert lint("// Says.\n" + text, SCHEMA) == []


def test_a_query_needs_words_about_itself() -> None:
    assert "comment" in lint("MATCH (d:Disease) RETURN d.id AS id", SCHEMA)[0]


def test_names_in_literals_are_no_labels() -> None:
    assert unknown_names("MATCH (d:Disease) WHERE d.name = '(x:Nope)' RETURN {a: d.id} AS m", SCHEMA) == []
