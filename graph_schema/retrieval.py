"""Named queries: from a name and diseases to typed, ordered fact rows with the Cypher that found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import BadInput
from .linking import resolve
from .multihop import MULTIHOP, conditions_with, treatment_facts, treatments
from .paths import load_query
from .predicates import QUERIES
from .protocol import FactRow, KnowledgeGraph
from .relations import RELATIONS
from .rows import fact_row
from .schema import SCHEMA

MAX_DISEASES = 50


class UnknownDisease(BadInput):
    """No disease of the graph is near enough to a name.

    Attributes:
        name: The name that was looked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no disease found: {name!r}.",
            hint="`clarify kg list Disease` shows the names; `clarify kg link` searches them.",
        )
        self.name = name


@dataclass(frozen=True)
class Stats:
    """What a graph holds.

    Attributes:
        labels: Nodes by label.
        types: Relationships by type.
        sources: Facts by source id.
        version: Hash of the content.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    version: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, with totals."""
        return {**asdict(self), "nodes": sum(self.labels.values()), "relationships": sum(self.types.values())}


def run_query(
    kg: KnowledgeGraph,
    name: str,
    diseases: Sequence[str] = (),
    limit: int | None = None,
    *,
    signs: Sequence[str] = (),
    site: str = "",
) -> Sequence[FactRow]:
    """Runs a named query.

    Args:
        kg: The graph.
        name: A key of `QUERIES`, or one of `MULTIHOP`.
        diseases: CURIEs or names, at least one. `differential` of one name returns all its differentials, of
            several those between them in both directions (a shared name may stand for several diseases).
            The queries of `MULTIHOP` about treatments take two: the first is treated.
        limit: Most rows.
        signs: For `conditions_with`: what is seen or felt, in anybody's words.
        site: For `conditions_with`: where.

    Returns:
        `JoinedRow`s for `MULTIHOP` (`ConditionRow`s, best first, for `conditions_with`). Else rows by the
        query's predicate order, then rank, then the order of the diseases, so that a limit keeps the most
        important rows of every disease.

    Raises:
        BadInput: Unknown query, no disease or too many.
        UnknownDisease: A name that is linked to nothing.
    """
    if name not in QUERIES and name not in MULTIHOP:
        raise BadInput(f"no query {name!r}.", hint=f"Queries: {', '.join([*QUERIES, *MULTIHOP])}.")
    if limit is not None and limit < 1:
        raise BadInput("limit must be at least 1.")
    if name == "conditions_with":
        return conditions_with(kg, signs, [site], limit)
    if not 0 < len(diseases) <= MAX_DISEASES:
        raise BadInput(
            f"a query needs 1 to {MAX_DISEASES} diseases, not {len(diseases)}.",
            hint="Write disease=melanoma.",
        )
    if name in MULTIHOP:
        return treatments(kg, name, *_two(kg, name, diseases), limit)
    curies = list(dict.fromkeys(curie for disease in diseases for curie in linked(kg, disease)))
    between = name == "differential" and len(diseases) > 1
    cypher = load_query("differential_between" if between else name)
    parameters = {"diseases": curies}
    order = {predicate: i for i, predicate in enumerate(QUERIES[name])}
    rows = sorted(
        kg.query(cypher, parameters),
        key=lambda r: (order[r["predicate"]], r["rank"], curies.index(r["subject_curie"]), r["fact_id"]),
    )
    return [fact_row(row, name, cypher, parameters) for row in rows[:limit]]


def run_pair(
    kg: KnowledgeGraph, name: str, diseases: Sequence[str], limit: int | None = None
) -> list[FactRow]:
    """The single facts behind `treatments_shared` or `treatments_conflict` of two diseases, in any order.

    Raises:
        BadInput: Not two diseases.
        UnknownDisease: A name that is linked to nothing.
    """
    return treatment_facts(kg, name, *_two(kg, name, diseases), limit)


def _two(kg: KnowledgeGraph, name: str, diseases: Sequence[str]) -> tuple[list[str], list[str]]:
    if len(diseases) != 2:
        raise BadInput(f"{name} needs two diseases.", hint="Name two, for example psoriasis and tinea.")
    return linked(kg, diseases[0]), linked(kg, diseases[1])


def linked(kg: KnowledgeGraph, disease: str) -> list[str]:
    """Returns the CURIEs a name stands for.

    Raises:
        UnknownDisease: It is linked to nothing.
        BadInput: Empty or too long.
    """
    links = resolve(kg, disease)
    if not links:
        raise UnknownDisease(disease)
    return [m.curie for m in links]


def facts_of(kg: KnowledgeGraph, source: str) -> list[FactRow]:
    """Returns every fact that leans on a source, for review.

    Raises:
        BadInput: No such source.
    """
    if source not in {row["id"] for row in list_sources(kg)}:
        raise BadInput(f"no source {source!r}.", hint="`clarify kg sources` shows their ids.")
    cypher, parameters = load_query("source_facts"), {"source": source}
    return [fact_row(row, "source_facts", cypher, parameters) for row in kg.query(cypher, parameters)]


def _imported(kg: KnowledgeGraph, curie: str) -> list[FactRow]:
    """Returns facts of relations that no named query asks for."""
    cypher, parameters = load_query("facts"), {"diseases": [curie]}
    rows = [row for row in kg.query(cypher, parameters) if row["predicate"] in RELATIONS]
    return [fact_row(row, "facts", cypher, parameters) for row in rows]


def list_sources(kg: KnowledgeGraph) -> list[dict[str, Any]]:
    """Lists every source: what it is, under which licence, and how many facts lean on it, most first."""
    facts = {row["source"]: row["facts"] for row in kg.query(load_query("sources"))}
    listed = [{**row, "facts": facts.get(row["id"], 0)} for row in kg.query(load_query("source_list"))]
    return sorted(listed, key=lambda row: (-row["facts"], row["id"]))


def graph_version(kg: KnowledgeGraph) -> str:
    """Returns the hash of the content that was loaded last, or an empty string for an empty graph."""
    rows = kg.query(load_query("version"))
    return str(rows[0]["version"]) if rows else ""


def list_nodes(kg: KnowledgeGraph, label: str) -> list[dict[str, str]]:
    """Lists `{curie, name}` of every node with a label, by name.

    Raises:
        BadInput: No such label.
    """
    known = {name.lower(): name for name in SCHEMA.nodes}
    if label.lower() not in known:
        raise BadInput(f"no label {label!r}.", hint=f"Labels: {', '.join(SCHEMA.nodes)}.")
    label = known[label.lower()]
    cypher = f"MATCH (n:{label}) RETURN n.id AS curie, n.{SCHEMA.display(label)} AS name ORDER BY name, curie"
    return kg.query(cypher)


def show(kg: KnowledgeGraph, disease: str) -> list[dict[str, Any]]:
    """Returns everything about the diseases a name stands for: properties, names, and facts by query.

    Raises:
        UnknownDisease: The name is linked to nothing.
    """
    shown = []
    for curie in linked(kg, disease):
        node = kg.query(load_query("disease"), {"disease": curie})[0]
        facts = [row for name in QUERIES for row in run_query(kg, name, [curie])]
        once = list({row.fact_id: row for row in [*facts, *_imported(kg, curie)]}.values())
        shown.append({**node, "facts": [row.model_dump() for row in once]})
    return shown


def stats(kg: KnowledgeGraph) -> Stats:
    """Counts nodes by label, relationships by type and facts by source."""
    labels = {
        name: _count(kg, f"MATCH (n:{name}) RETURN count(n) AS n")
        for name in SCHEMA.nodes
        if name != "GraphInfo"
    }
    types = {}
    for name, (pairs, _) in SCHEMA.edges.items():
        labelled = dict.fromkeys(source for source, _ in pairs)
        asked = (f"MATCH (a:{source})-[r:{name}]->(b) RETURN count(r) AS n" for source in labelled)
        types[name] = sum(_count(kg, cypher) for cypher in asked)
    sources = {row["source"]: row["facts"] for row in kg.query(load_query("sources"))}
    return Stats(labels, types, sources, graph_version(kg))


def _count(kg: KnowledgeGraph, cypher: str) -> int:
    return int(kg.query(cypher)[0]["n"])
