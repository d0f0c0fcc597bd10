"""`find_conditions`: which conditions of the knowledge graph fit what is told of a skin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, create_model

from ..graph_schema.multihop import MAX_SIGNS
from ..graph_schema.protocol import ConditionRow, FactRow
from .knowledge import Knowledge
from .registry import REGISTRY, ToolCard
from .render import render_no_fit, render_rows

CONDITIONS = ToolCard(
    name="find_conditions",
    task="Finds the skin conditions that fit told signs, and the facts that say so.",
    inputs="signs and sites in plain words",
    outputs="rows with an id to cite, those of the condition that fits best first",
    limits="only what the graph's facts say; what fits is no diagnosis.",
)
NAME = CONDITIONS.name
QUERY = "conditions_with"
MOST = 3
"""Most conditions that are told; when more fit equally well, none says anything."""
_LEAST, _NEXT, _SIGNS = 0.5, 0.5, 2
"""Least score of the best condition, of a further one as a share of it, and how many of the told fit it:
chosen by `bench.told`."""


@REGISTRY.register(CONDITIONS)
def conditions_tool(
    *, knowledge: Callable[[], Knowledge], max_rows: int, among: Collection[str] = ()
) -> BaseTool:
    """Makes the tool for one turn.

    Args:
        knowledge: Gives the graph; called when the tool runs.
        max_rows: Most rows of a result.
        among: CURIEs of the conditions to choose among; all when empty.

    Returns:
        A tool whose artifact is `{"query", "diseases", "rows": [FactRow as plain values], "outcome"}`; the
        diseases are those found, the outcome is `rows`, `many` (too little was told) or `none`.
    """
    phrase: Any = Annotated[str, Field(max_length=80)]
    many: Any = (list[phrase], Field(max_length=MAX_SIGNS, default=[]))
    args = create_model("ConditionsArgs", signs=many, sites=many)

    def run(signs: list[str], sites: list[str]) -> tuple[str, dict[str, Any]]:
        ranked = knowledge().conditions(signs, sites)
        outcome, best = fitting([row for row in ranked if not among or row.subject_curie in among])
        artifact: dict[str, Any] = {"query": QUERY, "diseases": [], "rows": [], "outcome": outcome}
        if not best:
            return render_no_fit(outcome, [*signs, *sites]), artifact
        rows = facts_of(best, max_rows)
        plain = [row.model_dump(mode="json") for row in rows]
        found = list(dict.fromkeys(row.subject for row in rows))
        return render_rows(rows), {**artifact, "diseases": found, "rows": plain}

    return StructuredTool.from_function(
        run,
        name=NAME,
        description=CONDITIONS.task,
        args_schema=args,
        response_format="content_and_artifact",
    )


def fitting(ranked: Sequence[ConditionRow]) -> tuple[str, list[ConditionRow]]:
    """The conditions worth telling, best first.

    Returns:
        `rows` with one to three of them; `many` with none where too little was told to set them apart;
        `none` with none where the best fits too little of it.
    """
    if not ranked or ranked[0].score < _LEAST:
        return "none", []
    best = ranked[0].score
    if len(ranked[0].matched) < _SIGNS or sum(row.score == best for row in ranked) > MOST:
        return "many", []
    return "rows", [row for row in ranked[:MOST] if row.score >= _NEXT * best]


def facts_of(conditions: Sequence[ConditionRow], most: int) -> list[FactRow]:
    """The facts that make conditions fit, each once, those of the first condition first.

    A sign that several facts of a condition say is told by the first of them.
    """
    rows: list[FactRow] = []
    for condition in conditions:
        told = {facts[0] for facts in condition.matched.values()}
        rows += [fact for fact in condition.facts if fact.fact_id in told]
    return rows[:most]
