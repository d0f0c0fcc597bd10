"""`query_knowledge`: the knowledge graph as a tool. The model picks a named query and names diseases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, create_model

from ..graph_schema.multihop import TREATMENT_PAIRS
from ..graph_schema.predicates import QUERIES
from ..graph_schema.protocol import ConditionRow, FactRow, Link
from ..graph_schema.told import Told
from .registry import REGISTRY, ToolCard
from .render import render_no_rows, render_rows, render_unknown_disease

KNOWLEDGE = ToolCard(
    name="query_knowledge",
    task="Fetches sourced facts about skin diseases from the knowledge graph.",
    inputs="the name of a query and one to four diseases; two for the treatments of two diseases together",
    outputs="rows with an id to cite",
    limits="only diseases of the graph; facts recalled from guidelines, not reviewed by a clinician.",
)
NAME = KNOWLEDGE.name
MAX_DISEASES = 4


class Knowledge(Protocol):
    """What the state machine needs of a knowledge graph."""

    def run(self, query: str, diseases: Sequence[str], limit: int) -> list[FactRow]:
        """Runs a named query. Raises `UnknownDisease` or `KGError`."""

    def mentions(self, text: str) -> list[Link]:
        """Finds the diseases that a text names."""

    def told(self, text: str) -> Told:
        """Finds the signs and sites that a text tells."""

    def conditions(self, signs: Sequence[str], sites: Sequence[str]) -> list[ConditionRow]:
        """Ranks the conditions that fit signs at sites. Raises `BadInput` when nothing of it is known."""

    def cypher(self, statement: str) -> list[dict[str, Any]]:
        """Runs one free statement under the guard. Raises `CypherRefused`."""

    @property
    def version(self) -> str:
        """Hash of the graph's content."""


@REGISTRY.register(KNOWLEDGE)
def knowledge_tool(
    *,
    knowledge: Callable[[], Knowledge],
    max_rows: int,
    queries: Sequence[str] = (*QUERIES, *TREATMENT_PAIRS),
    topics: Sequence[str] = (),
) -> BaseTool:
    """Makes the tool for one turn.

    Args:
        knowledge: Gives the graph; called when the tool runs.
        max_rows: Most rows of a result.
        queries: Named queries on offer.
        topics: The only names on offer; empty: any.

    Returns:
        A tool whose artifact is `{"query", "diseases", "rows": [FactRow as plain values], "outcome"}`.
    """
    name: Any = Annotated[str, Field(max_length=80)]
    if topics:  # a pattern and no enumeration: a model may put a space before a name
        choice = "|".join(re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", topic) for topic in topics)
        name = Annotated[str, Field(pattern=f"^ ?({choice})$")]
    query_type: Any = Literal[tuple(queries)]
    args = create_model(
        "KnowledgeArgs",
        query=(query_type, Field(description="What to fetch.")),
        diseases=(list[name], Field(min_length=1, max_length=MAX_DISEASES, description="Names of diseases.")),
    )

    def run(query: str, diseases: list[str]) -> tuple[str, dict[str, Any]]:
        artifact: dict[str, Any] = {"query": query, "diseases": diseases, "rows": [], "outcome": "none"}
        from ..graph_schema.retrieval import UnknownDisease

        try:
            rows = knowledge().run(query, [name.strip() for name in diseases], max_rows)
        except UnknownDisease as error:
            return render_unknown_disease(error.name), {**artifact, "outcome": "unknown"}
        if not rows:
            return render_no_rows(query, diseases), artifact
        plain = [row.model_dump(mode="json") for row in rows]
        return render_rows(rows), {**artifact, "rows": plain, "outcome": "rows"}

    return StructuredTool.from_function(
        run, name=NAME, description=KNOWLEDGE.task, args_schema=args, response_format="content_and_artifact"
    )
