"""From rows of a query file to typed rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .protocol import FactRow, SourceRef


def source_ref(row: Mapping[str, Any]) -> SourceRef:
    """Makes the source of a row."""
    return SourceRef(
        id=row["source"],
        title=row["title"],
        year=row["year"],
        organisation=row["organisation"] or "",
        section=row["section"] or "",
    )


def fact_row(row: Mapping[str, Any], query: str, cypher: str, parameters: dict[str, Any]) -> FactRow:
    """Makes the fact of a row."""
    differs = row["predicate"] == "differs from"
    return FactRow(
        fact_id=row["fact_id"],
        statement=row["statement"],
        source=source_ref(row),
        subject=row["subject"],
        predicate=f"differs from {row['object_name']}" if differs else row["predicate"],
        object=row["object"],
        subject_curie=row["subject_curie"],
        object_curie=row["object_curie"],
        reviewed=row["reviewed"],
        support=row["support"],
        query=query,
        cypher=cypher,
        parameters=parameters,
    )
