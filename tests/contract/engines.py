"""The real Neo4j server of a test run, and the tables of statements that several test files read."""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clarify.graph_schema.stores.base import BaseStore, Limits

DATA = Path(__file__).resolve().parents[1] / "data"


def server(**options: Any) -> BaseStore:
    """Opens the server that `tests/neo4j/server.py` started, or skips where there is none."""
    from clarify.graph_schema.stores.neo4j_store import Neo4jKG

    url = os.environ.get("CLARIFY_TEST_NEO4J")
    if not url:
        pytest.skip("no Neo4j server here; `make test-neo4j` brings one and sets CLARIFY_TEST_NEO4J")
    user, password, database = (
        os.environ.get(f"CLARIFY_TEST_NEO4J_{key}", default)
        for key, default in (("USER", "neo4j"), ("PASSWORD", ""), ("DATABASE", "neo4j"))
    )
    # The machine may be busy; what is tested is not its speed.
    options.setdefault("limits", Limits(timeout_s=90))
    return Neo4jKG(url, user, password, database=database, **options)


@cache
def statements(table: str) -> dict[str, list[Any]]:
    """Reads `tests/data/cypher_<table>.toml`: lists of statements by kind."""
    return tomllib.loads((DATA / f"cypher_{table}.toml").read_text(encoding="utf-8"))
