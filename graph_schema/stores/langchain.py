"""A store as LangChain's `GraphStore`, so that its Cypher chains run on either engine, under the guard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import KGReadOnly
from .. import guard
from ..schema import GraphSchema
from .base import BaseStore

if TYPE_CHECKING:
    from langchain_neo4j.graphs.graph_document import GraphDocument

_KEY = {"property": "id", "type": "STRING"}


class LangChainGraph:
    """The protocol `langchain_neo4j.graphs.graph_store.GraphStore` over one of our stores."""

    def __init__(self, kg: BaseStore) -> None:
        """Wraps an open store; closing it stays with its owner."""
        self._kg = kg

    @property
    def get_schema(self) -> str:
        """The schema as text for a prompt."""
        return self._kg.schema

    @property
    def get_structured_schema(self) -> dict[str, Any]:
        """The declared schema in the form in which LangChain's chains read it."""
        return structured(self._kg.graph_schema)

    def query(self, query: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Runs one read statement; models like to end theirs with `;`, which is taken off.

        Raises:
            CypherRefused: Not one plain read statement.
            KGError: As `KnowledgeGraph.query_free`.
        """
        return guard.run_free(self._kg, query.strip().removesuffix(";"), params)

    def refresh_schema(self) -> None:
        """Does nothing: the schema is declared, not read from the data."""

    def add_graph_documents(self, graph_documents: list[GraphDocument], include_source: bool = False) -> None:
        """Refuses: every fact of this graph comes from a fact file with its source.

        Raises:
            KGReadOnly: Always.
        """
        raise KGReadOnly(
            "what a model has read out of a text is not written into the graph.",
            hint="Write a fact file and run `clarify kg build` or `clarify kg load`.",
        )


def structured(schema: GraphSchema) -> dict[str, Any]:
    """Turns a declaration into properties by label, properties by type, and what may be connected."""

    def props(declared: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"property": name, "type": type_} for name, type_ in declared.items()]

    return {
        "node_props": {label: [_KEY, *props(declared)] for label, declared in schema.nodes.items()},
        "rel_props": {type_: props(declared) for type_, (_, declared) in schema.edges.items() if declared},
        "relationships": [
            {"start": start, "type": type_, "end": end}
            for type_, (pairs, _) in schema.edges.items()
            for start, end in pairs
        ],
        "metadata": {"constraint": [], "index": []},
    }
