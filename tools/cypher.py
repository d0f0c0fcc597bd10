"""`query_cypher`: free, guarded, read-only Cypher. Off by default; its rows carry no id to cite."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, create_model

from .knowledge import Knowledge
from .registry import REGISTRY, ToolCard

CYPHER = ToolCard(
    name="query_cypher",
    task="Runs one read-only Cypher statement, to find names that the named queries do not give.",
    inputs="a statement",
    outputs="rows as JSON, to choose a named query by; they cannot be cited",
    limits="read clauses only; everything else is refused.",
)
NAME = CYPHER.name


@REGISTRY.register(CYPHER)
def cypher_tool(*, knowledge: Callable[[], Knowledge], max_rows: int) -> BaseTool:
    """Makes the tool for one turn.

    Args:
        knowledge: Gives the graph; called when the tool runs.
        max_rows: Most rows of a result.
    """
    args = create_model("CypherArgs", statement=(str, Field(max_length=2000, description="One statement.")))

    def run(statement: str) -> tuple[str, dict[str, Any]]:
        rows = knowledge().cypher(statement)[:max_rows]
        return json.dumps(rows, ensure_ascii=False, default=str), {}

    return StructuredTool.from_function(
        run, name=NAME, description=CYPHER.task, args_schema=args, response_format="content_and_artifact"
    )
