"""Questions that several facts answer together: which condition fits, what two share, what conflicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import log2
from typing import Any

from ..errors import BadInput
from .findings import link_finding
from .paths import load_query
from .protocol import ConditionRow, FactRow, JoinedRow, KnowledgeGraph, SourceRef
from .rows import fact_row, source_ref

TREATMENT_PAIRS = ("treatments_shared", "treatments_conflict")
MULTIHOP = ("conditions_with", *TREATMENT_PAIRS)
"""Named queries beside `predicates.QUERIES` whose rows rest on several facts."""
MAX_SIGNS = 20
_CONDITIONS, _TIED = 10, 30
"""Most rows unless more are asked for; among how many of equal score what else they would need decides."""
_SAID = {
    "treatments_shared": (
        "treatment shared with {b}",
        "{a} and {b} are both treated with {t}: {x} in {a}, {y} in {b}.",
    ),
    "treatments_conflict": (
        "treatment to avoid in {b}",
        "{a} may be treated with {x}, but {b} should not be treated with {y}.",
    ),
}
"""Query -> predicate and statement; a and b the diseases, t the treatment, x and y the facts' words."""


def conditions_with(
    kg: KnowledgeGraph, signs: Sequence[str], site: str = "", limit: int | None = None
) -> list[ConditionRow]:
    """Ranks the diseases that have signs, at a site.

    Each sign that fits counts 1 / log2(1 + n), n the diseases that have it: what few have says more. A site
    counts as one sign. With signs given, a disease must have one of them.

    Args:
        kg: The graph.
        signs: In anybody's words.
        site: Where; empty: anywhere.
        limit: Most rows; 10 when None.

    Raises:
        BadInput: Nothing asked, too much, or nothing of it is known to the graph.
    """
    asked = list(dict.fromkeys(sign.strip() for sign in signs))
    if not (asked or site.strip()) or len(asked) > MAX_SIGNS:
        raise BadInput(
            f"conditions_with needs 1 to {MAX_SIGNS} signs or a site.", hint="Write signs=itching."
        )
    nodes = {sign: {m.curie for m in link_finding(kg, sign, "Sign")} for sign in asked}
    if site.strip():
        nodes[site.strip()] = {m.curie for m in link_finding(kg, site, "Site")}
    unknown = tuple(words for words, ids in nodes.items() if not ids)
    if not any(nodes[words] for words in asked or nodes):
        raise BadInput(
            f"no fact of the graph says {', '.join(map(repr, unknown))}.",
            hint="`clarify kg list Sign` and `clarify kg list Site` show what is known.",
        )
    cypher = load_query("conditions_with")
    parameters = {"nodes": sorted(set().union(*nodes.values()))}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(kg.query(cypher, parameters), key=lambda r: (r["predicate"], r["rank"], r["fact_id"])):
        found[row["subject_curie"]].append(row)
    held = {c: {row["object_curie"] for row in rows} for c, rows in found.items()}
    weights = _weights(nodes, held.values())
    wanted = set().union(*(nodes[words] for words in asked or nodes))
    scores = {c: _score(ids, nodes, weights) for c, ids in held.items() if not wanted.isdisjoint(ids)}
    most = limit or _CONDITIONS

    def place(c: str, more: int = 0) -> tuple[float, int, str, str]:
        return -scores[c], more, str(found[c][0]["subject"]), c

    best = sorted(scores, key=place)[: max(most, _TIED)]
    further = _signs_of(kg, best, {row["fact_id"] for rows in found.values() for row in rows}) if best else {}
    return [
        _condition(found[c], further[c], nodes, scores[c], unknown, cypher, parameters)
        for c in sorted(best, key=lambda c: place(c, len(further[c])))[:most]
    ]


def treatments(
    kg: KnowledgeGraph, name: str, first: Sequence[str], second: Sequence[str], limit: int | None = None
) -> list[JoinedRow]:
    """Runs `treatments_shared` or `treatments_conflict` (a treatment of the first to avoid in the second)."""
    cypher = load_query(name)
    parameters: dict[str, Any] = {"first": list(first), "second": list(second)}
    return [_pair(row, name, cypher, parameters) for row in kg.query(cypher, parameters)[:limit]]


def treatment_facts(
    kg: KnowledgeGraph, name: str, first: Sequence[str], second: Sequence[str], limit: int | None = None
) -> list[FactRow]:
    """The single facts that `treatments` joins, each to be said and cited on its own, partners together.

    A conflict is looked for both ways: who asks about two diseases has both.

    Args:
        kg: The graph.
        name: One of `TREATMENT_PAIRS`.
        first: CURIEs of the one disease.
        second: CURIEs of the other.
        limit: Most facts; a fact is never given without its partner.
    """
    cypher = load_query(name)
    ways = [(first, second), (second, first)] if name == "treatments_conflict" else [(first, second)]
    facts: dict[str, FactRow] = {}
    for a, b in ways:
        parameters: dict[str, Any] = {"first": list(a), "second": list(b)}
        for row in kg.query(cypher, parameters):
            pair = [fact_row(r, name, cypher, parameters) for r in (row, _second(row))]
            new = {fact.fact_id: fact for fact in pair if fact.fact_id not in facts}
            if limit is not None and len(facts) + len(new) > limit:
                return list(facts.values())
            facts |= new
    return list(facts.values())


def _signs_of(kg: KnowledgeGraph, diseases: Sequence[str], but: Collection[str]) -> dict[str, dict[str, str]]:
    """Disease -> its signs by fact id, in the order they are told, without some facts."""
    columns = ("predicates", "ranks", "fact_ids", "objects")
    return {
        row["disease"]: {
            fact: said
            for _, _, fact, said in sorted(zip(*(row[c] for c in columns), strict=True))
            if fact not in but
        }
        for row in kg.query(load_query("condition_signs"), {"diseases": list(diseases)})
    }


def _weights(nodes: Mapping[str, set[str]], held: Collection[set[str]]) -> dict[str, float]:
    return {
        words: 1 / log2(1 + max(1, sum(not ids.isdisjoint(theirs) for theirs in held)))
        for words, ids in nodes.items()
        if ids
    }


def _score(held: set[str], nodes: Mapping[str, set[str]], weights: Mapping[str, float]) -> float:
    fits = (weight for words, weight in weights.items() if not nodes[words].isdisjoint(held))
    return round(sum(fits) / sum(weights.values()), 4)


def _condition(
    rows: Sequence[Mapping[str, Any]],
    further: dict[str, str],
    nodes: Mapping[str, set[str]],
    score: float,
    unknown: tuple[str, ...],
    cypher: str,
    parameters: dict[str, Any],
) -> ConditionRow:
    fits = {words: [row for row in rows if row["object_curie"] in ids] for words, ids in nodes.items()}
    matched = {words: tuple(row["fact_id"] for row in mine) for words, mine in fits.items() if mine}
    used = list({row["fact_id"]: row for mine in fits.values() for row in mine}.values())
    objects = "; ".join(row["object"] for row in used)
    subject = str(rows[0]["subject"])
    n = len(nodes) - len(unknown)
    return ConditionRow(
        **_common(used, "conditions_with", cypher, parameters),
        statement=f"{subject[:1].upper()}{subject[1:]} fits {len(matched)} of {n}: {objects}.",
        predicate="fits",
        object=objects,
        object_curie="",
        score=score,
        matched=matched,
        missing=tuple(words for words, mine in fits.items() if not mine and words not in unknown),
        unknown=unknown,
        further=further,
    )


def _second(row: Mapping[str, Any]) -> dict[str, Any]:
    """The second fact of a row, whose columns end in `_2`; what the two share has one column."""
    return {**row, **{key.removesuffix("_2"): row[key] for key in row if key.endswith("_2")}}


def _pair(row: Mapping[str, Any], name: str, cypher: str, parameters: dict[str, Any]) -> JoinedRow:
    predicate, statement = _SAID[name]
    words = {"a": row["subject"], "b": row["subject_2"], "t": row["object_name"]}
    said = statement.format(**words, x=row["object"], y=row["object_2"])
    return JoinedRow(
        **_common([row, _second(row)], name, cypher, parameters),
        statement=said[0].upper() + said[1:],
        predicate=predicate.format(**words),
        object=row["object_name"],
        object_curie=row["object_curie"],
    )


def _common(
    facts: Sequence[Mapping[str, Any]], query: str, cypher: str, parameters: dict[str, Any]
) -> dict[str, Any]:
    first = facts[0]
    sources: list[SourceRef] = [source_ref(row) for row in facts]
    return {
        "fact_id": first["fact_id"],
        "fact_ids": tuple(row["fact_id"] for row in facts),
        "source": sources[0],
        "sources": tuple(dict.fromkeys(sources)),
        "subject": first["subject"],
        "subject_curie": first["subject_curie"],
        "query": query,
        "cypher": cypher,
        "parameters": parameters,
    }
