"""Free Cypher on both engines: attacks are refused, honest reads run alike, no read outlives its limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from clarify import errors
from clarify.errors import CypherRefused, KGError
from clarify.graph_schema import guard, retrieval
from clarify.graph_schema.stores.base import BaseStore, Limits
from clarify.graph_schema.stores.ladybug_store import LadybugKG
from clarify.tests.contract.engines import server, statements

LIMITS = Limits(timeout_s=2.0, max_rows=20_000, max_bytes=4_000_000)
SLACK_S = 20.0  # A machine that trains beside the tests; an engine without a deadline takes minutes to hours.


@pytest.fixture(scope="session")
def limited(kg: BaseStore) -> Iterator[BaseStore]:
    """The same graph under short limits."""
    store = LadybugKG(kg.path, limits=LIMITS) if isinstance(kg, LadybugKG) else server(limits=LIMITS)
    yield store
    store.close()


def test_the_tables_are_large() -> None:
    attacks = {text for texts in statements("attacks").values() for text in texts}
    assert len(attacks) >= 350 and len(set(statements("reads")["runs"])) >= 120


@pytest.mark.parametrize("kind", list(statements("attacks")))
def test_attacks_are_refused_and_change_nothing(kg: BaseStore, kind: str) -> None:
    before = retrieval.stats(kg)
    for text in statements("attacks")[kind]:
        for door in (kg.query, kg.query_free, lambda text: guard.run_free(kg, text)):
            with pytest.raises(CypherRefused):
                door(text)
    assert retrieval.stats(kg) == before


@pytest.mark.parametrize("text", statements("attacks")["write"])
def test_the_engine_itself_refuses_writes(kg: BaseStore, text: str) -> None:
    """Past the guard, and past the server's EXPLAIN: only READ mode, or the read-only file, is left."""
    run = kg._execute if isinstance(kg, LadybugKG) else lambda *args: list(kg._run(*args, "READ"))  # type: ignore[attr-defined]
    before = retrieval.stats(kg)
    try:
        run(text, {})
    except KGError:
        pass  # What an engine reads as no write at all may run; the counts say that it was none.
    assert retrieval.stats(kg) == before


def shown(row: dict[str, Any]) -> str:
    """A row as text; in what order `collect` gathers is the engine's choice, from one run to the next."""
    return repr({k: sorted(v, key=repr) if isinstance(v, list) else v for k, v in row.items()})


@pytest.mark.parametrize("text", statements("reads")["runs"])
def test_honest_reads_run_alike(kg: BaseStore, embedded: BaseStore, text: str) -> None:
    free, rows, others = guard.run_free(kg, text), kg.query(text), embedded.query(text)
    assert len(rows) == len(others) and len(free) in (len(rows), *range(guard.FREE_ROWS, len(rows)))
    if "LIMIT" not in text or "ORDER BY" in text:  # Which rows a bare LIMIT keeps is the engine's choice.
        assert sorted(map(shown, rows)) == sorted(map(shown, others))
        assert set(map(shown, free)) <= set(map(shown, rows))


@pytest.mark.parametrize("case", statements("limits")["statement"], ids=lambda case: case["text"][:60])
def test_what_passes_ends_within_its_limits(limited: BaseStore, engine: str, case: dict[str, Any]) -> None:
    assert guard.run_free(limited, "RETURN 1 AS x") == [{"x": 1}]  # A reader is up: only the case is timed.
    started = time.monotonic()
    with pytest.raises(KGError) as ended:
        guard.run_free(limited, case["text"])
    seconds = time.monotonic() - started
    assert isinstance(ended.value, tuple(getattr(errors, name) for name in case[engine])), repr(ended.value)
    assert seconds < LIMITS.timeout_s + SLACK_S
    assert guard.run_free(limited, "RETURN 2 AS x") == [{"x": 2}]
