"""LangChain's Cypher chains on both engines: a model's read runs under the guard, its write is refused."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_neo4j import GraphCypherQAChain
from langchain_neo4j.graphs.graph_document import GraphDocument, Node
from langchain_neo4j.graphs.graph_store import GraphStore

from clarify.errors import CypherRefused, KGReadOnly
from clarify.graph_schema import retrieval
from clarify.graph_schema.schema import SCHEMA
from clarify.graph_schema.stores.base import BaseStore
from clarify.graph_schema.stores.langchain import LangChainGraph

READ = """```cypher
MATCH (d:Disease {id: 'DOID:1909'})-[r:FIRST_TREATED_BY]->(t:Treatment)
RETURN r.fact_id AS fact, d.name AS disease ORDER BY fact;
```"""


def chain(kg: BaseStore, *said: str, **options: Any) -> GraphCypherQAChain:
    return GraphCypherQAChain.from_llm(
        FakeListChatModel(responses=list(said)),
        graph=LangChainGraph(kg),
        allow_dangerous_requests=True,
        return_intermediate_steps=True,
        **options,
    )


def test_it_is_a_graph_store(kg: BaseStore) -> None:
    graph = LangChainGraph(kg)
    graph.refresh_schema()
    assert isinstance(graph, GraphStore) and graph.get_schema == kg.schema
    schema = graph.get_structured_schema
    assert set(schema["node_props"]) == set(SCHEMA.nodes)
    assert {"property": "statement", "type": "STRING"} in schema["rel_props"]["FIRST_TREATED_BY"]
    assert {"start": "Disease", "type": "IS_A", "end": "Disease"} in schema["relationships"]


def test_a_chain_reads(kg: BaseStore) -> None:
    asked = chain(kg, READ, "It is cut out.", validate_cypher=True, top_k=3)
    assert "FIRST_TREATED_BY" in asked.graph_schema and "Treatment" in asked.graph_schema
    answer = asked.invoke({"query": "How is melanoma treated?"})
    expected = [r.fact_id for r in retrieval.run_query(kg, "treatment", ["DOID:1909"])]
    context = answer["intermediate_steps"][1]["context"]
    assert context and [row["fact"] for row in context] == expected[: len(context)]
    assert {row["disease"] for row in context} == {"melanoma"} and answer["result"] == "It is cut out."


@pytest.mark.parametrize(
    "said",
    [
        "MATCH (n) DETACH DELETE n",
        "MATCH (d:Disease) SET d.name = 'x' RETURN d.name AS name",
        "MATCH (d:Disease) RETURN d.id AS id; MATCH (n) DELETE n",
        "LOAD CSV FROM 'file:///etc/passwd' AS row RETURN row",
        "```\nCREATE (n:Disease {id: 'x'})\n```",
    ],
)
def test_a_chain_does_not_write(kg: BaseStore, said: str) -> None:
    before = retrieval.stats(kg)
    with pytest.raises(CypherRefused):
        chain(kg, said, "Done.").invoke({"query": "Delete everything."})
    assert retrieval.stats(kg) == before


def test_documents_are_not_taken_in(kg: BaseStore) -> None:
    document = GraphDocument(nodes=[Node(id="x", type="Disease")], relationships=[])
    with pytest.raises(KGReadOnly, match="not written"):
        LangChainGraph(kg).add_graph_documents([document])
