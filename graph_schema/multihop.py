"""Questions that several facts answer together: which condition fits, what two share, what conflicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import log2
from typing import Any

from ..errors import BadInput
from .findings import finding_wordings
from .folding import normalise
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


_Told = Mapping[str, Mapping[str, frozenset[str]]]
"""Told words -> the nodes they mean -> the normal forms of the wordings that say so."""
_Fact = tuple[dict[str, Any], frozenset[str]]
"""A row, and which of the told words it says."""


def conditions_with(
    kg: KnowledgeGraph, signs: Sequence[str], sites: Sequence[str] = (), limit: int | None = None
) -> list[ConditionRow]:
    """Ranks the diseases that have signs, at sites.

    Each sign that fits counts 1 / log2(1 + n), n the diseases that have it: what few have says more. A site
    counts as one sign. With signs given, a disease must have one of them. Of equal scores that comes first
    whose one sign says most of what was asked ("a red scaly patch"), then that which would need least else.

    Args:
        kg: The graph.
        signs: In anybody's words.
        sites: Where; empty: anywhere.
        limit: Most rows; 10 when None.

    Raises:
        BadInput: Nothing asked, too much, or nothing of it is known to the graph.
    """
    asked = list(dict.fromkeys(sign.strip() for sign in signs))
    places = [place.strip() for place in sites if place.strip()]
    if not (asked or places) or max(len(asked), len(places)) > MAX_SIGNS:
        raise BadInput(
            f"conditions_with needs 1 to {MAX_SIGNS} signs or a site.", hint="Write signs=itching."
        )
    told = {sign: finding_wordings(kg, sign, "Sign") for sign in asked}
    told |= {place: finding_wordings(kg, place, "Site") for place in places}
    unknown = tuple(words for words, nodes in told.items() if not nodes)
    if not any(told[words] for words in asked or told):
        raise BadInput(
            f"no fact of the graph says {', '.join(map(repr, unknown))}.",
            hint="`clarify kg list Sign` and `clarify kg list Site` show what is known.",
        )
    cypher = load_query("conditions_with")
    parameters = {"nodes": sorted({node for nodes in told.values() for node in nodes})}
    found: dict[str, list[_Fact]] = defaultdict(list)
    for row in sorted(kg.query(cypher, parameters), key=lambda r: (r["predicate"], r["rank"], r["fact_id"])):
        says = _says(row, told)
        if says:
            found[row["subject_curie"]].append((row, says))
    held = {c: set().union(*(says for _, says in facts)) for c, facts in found.items()}
    weights = _weights(told, held.values())
    whole = sum(weights.values())
    scores = {
        c: round(sum(weights[w] for w in ws) / whole, 4)
        for c, ws in held.items()
        if not ws.isdisjoint(asked or ws)
    }

    def order(c: str, more: int = 0) -> tuple[float, float, int, str, str]:
        together = max(round(sum(weights[words] for words in says), 4) for _, says in found[c])
        return -scores[c], -together, more, str(found[c][0][0]["subject"]), c

    most = limit or _CONDITIONS
    best = sorted(scores, key=order)[: max(most, _TIED)]
    fitted = {row["fact_id"] for facts in found.values() for row, _ in facts}
    further = _signs_of(kg, best, fitted) if best else {}
    return [
        _condition(found[c], further[c], tuple(told), scores[c], unknown, cypher, parameters)
        for c in sorted(best, key=lambda c: order(c, len(further[c])))[:most]
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


def _says(row: Mapping[str, Any], told: _Told) -> frozenset[str]:
    """What of the told a fact says, in its own words or by the name of what it points to."""
    node, forms = row["object_curie"], {normalise(row["object"]), normalise(row["object_name"])}
    return frozenset(words for words, nodes in told.items() if not forms.isdisjoint(nodes.get(node, ())))


def _weights(told: _Told, held: Collection[set[str]]) -> dict[str, float]:
    return {
        words: 1 / log2(1 + max(1, sum(words in theirs for theirs in held)))
        for words, nodes in told.items()
        if nodes
    }


def _condition(
    facts: Sequence[_Fact],
    further: dict[str, str],
    told: tuple[str, ...],
    score: float,
    unknown: tuple[str, ...],
    cypher: str,
    parameters: dict[str, Any],
) -> ConditionRow:
    fits = {words: [row for row, says in facts if words in says] for words in told}
    matched = {words: tuple(row["fact_id"] for row in mine) for words, mine in fits.items() if mine}
    used = list({row["fact_id"]: row for mine in fits.values() for row in mine}.values())
    objects = "; ".join(row["object"] for row in used)
    subject = str(used[0]["subject"])
    share = f"{len(matched)} of {len(told) - len(unknown)}"
    return ConditionRow(
        **_common(used, "conditions_with", cypher, parameters),
        statement=f"{subject[:1].upper()}{subject[1:]} fits {share}: {objects}.",
        predicate="fits",
        object=objects,
        object_curie="",
        score=score,
        matched=matched,
        missing=tuple(words for words, mine in fits.items() if not mine and words not in unknown),
        unknown=unknown,
        further=further,
        facts=tuple(fact_row(row, "conditions_with", cypher, parameters) for row in used),
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
