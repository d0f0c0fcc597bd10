"""A Neo4j server that goes away, hangs, is killed in the middle of a load, or is served read-only.

These tests stop and start a server of their own: the one of the other tests stays up.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clarify.errors import KGError, KGTimeout, KGUnavailable
from clarify.graph_schema import retrieval
from clarify.graph_schema.build import load_into
from clarify.graph_schema.stores.base import Limits
from clarify.graph_schema.stores.neo4j_store import Neo4jKG
from clarify.tests.fact_files import write_facts
from clarify.tests.neo4j.server import CONFIG, ROOT, Server

pytestmark = pytest.mark.neo4j
KILLS = 4
SOON_S = 15.0  # "A few seconds", beside a training.
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not os.environ.get("CLARIFY_TEST_NEO4J"):
        pytest.skip("no Neo4j server here; `make test-neo4j` brings one and sets CLARIFY_TEST_NEO4J")
    server = Server(tmp_path_factory.mktemp("neo4j"))
    server.start(*compose_settings())  # A server does not start with a setting that it does not know.
    yield server
    server.stop()


def compose_settings() -> list[str]:
    """The settings of docker-compose.yml as lines of neo4j.conf, without those of the test server itself."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    lines = []
    for name, value in compose["services"]["neo4j"]["environment"].items():
        if name != "NEO4J_AUTH":
            key = name.removeprefix("NEO4J_").replace("__", "\0").replace("_", ".").replace("\0", "_")
            value = "false" if value.startswith("${") else value
            lines += [] if f"{key}=" in CONFIG else [f"{key}={value}"]
    return lines


def opened(own: Server, seconds: float = 60.0, **options: Any) -> Neo4jKG:
    return Neo4jKG(own.url, "neo4j", own.password, limits=Limits(timeout_s=seconds), **options)


def content(kg: Neo4jKG) -> tuple[str, list[str]]:
    rows = kg.query("MATCH (d:Disease)-[r:HAS_SIGN]->(s:Sign) RETURN r.statement AS said ORDER BY said")
    return retrieval.graph_version(kg), [row["said"] for row in rows]


def load_over_and_over(url: str, password: str, facts: tuple[Path, ...], begun: Any) -> None:
    kg = Neo4jKG(url, "neo4j", password, read_only=False, limits=Limits(timeout_s=60))
    while True:
        for folder in facts:
            begun.set()
            load_into(kg, folder)


def in_child(target: Callable[..., None], *args: object) -> Any:
    child = SPAWN.Process(target=target, args=args, daemon=True)
    child.start()
    return child


def test_a_killed_load_leaves_the_old_facts_or_the_new_ones(own: Server, tmp_path: Path) -> None:
    facts = tuple(write_facts(tmp_path / word, word, n, 19) for word, n in (("azure", 30), ("beige", 25)))
    writer, reader = opened(own, read_only=False), opened(own)
    whole = []
    for folder in facts:
        started = time.monotonic()
        load_into(writer, folder)
        once = time.monotonic() - started
        whole.append(content(reader))
    # Under the same ids the second facts say something else, of fewer diseases: nothing of the first stays.
    assert [len(said) for _, said in whole] == [30 * 19, 25 * 19]
    held = retrieval.stats(reader).labels
    assert (held["Disease"], held["Sign"]) == (25, 19)
    rng = random.Random(11)
    for _ in range(KILLS):
        begun = SPAWN.Event()
        child = in_child(load_over_and_over, own.url, own.password, facts, begun)
        assert begun.wait(120)
        child.join(rng.uniform(0.0, 2 * once))
        assert child.is_alive()
        child.kill()
        child.join()
        deadline = time.monotonic() + 30  # The server rolls back when it sees the broken connection.
        while (seen := content(reader)) not in whole and time.monotonic() < deadline:
            time.sleep(0.1)
        assert seen in whole
    load_into(writer, facts[0])
    assert content(reader) == whole[0]
    writer.close()
    reader.close()


def test_a_load_that_fails_writes_nothing(own: Server, tmp_path: Path) -> None:
    writer = opened(own, read_only=False)
    load_into(writer, write_facts(tmp_path / "azure", "azure", 3, 19))
    before = content(writer)
    with pytest.raises(RuntimeError), writer.transaction():
        writer.drop_edges("HAS_SIGN")
        writer.keep_nodes("Term", [])
        raise RuntimeError("the loader went away")
    assert content(writer) == before
    writer.close()


def test_a_server_that_goes_away_is_noticed_and_used_again(own: Server) -> None:
    kg = opened(own)
    asked = "MATCH (d:Disease) RETURN count(d) AS n"
    before = kg.query(asked)
    own.stop()
    for text in (asked, asked, "MATCH (s:Source) RETURN count(s) AS n"):  # Known to the store, and not yet.
        started = time.monotonic()
        with pytest.raises(KGUnavailable) as away:
            kg.query(text)
        assert time.monotonic() - started < SOON_S
        assert own.url in away.value.line() and away.value.exit_code == 3
    with pytest.raises(KGUnavailable):
        kg.search("azure")
    own.start()
    assert kg.query(asked) == before and kg.search("azure spot number 1")
    own.stop()  # Nothing is asked meanwhile: the store does not know that its connections are dead.
    own.start("server.databases.default_to_read_only=true")
    assert kg.query(asked) == before
    kg.close()
    # Such a server refuses writes whatever the mode: what Community has in place of a reader's role.
    with pytest.raises(KGError):
        load_into(opened(own, read_only=False), None)
    reader = opened(own)
    with pytest.raises(KGError):
        reader._write("CREATE (n:Disease {id: 'TEST:x'})", {})
    assert reader.query(asked) == before
    reader.close()


def test_a_server_that_hangs_is_a_timeout(own: Server) -> None:
    kg = opened(own, seconds=2.0)
    assert kg.query("RETURN 1 AS x") == [{"x": 1}]
    assert own.process
    own.process.send_signal(signal.SIGSTOP)
    try:
        for text in ("RETURN 1 AS x", "RETURN 2 AS x"):
            started = time.monotonic()
            with pytest.raises((KGTimeout, KGUnavailable)):
                kg.query(text)
            assert time.monotonic() - started < SOON_S
    finally:
        own.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert kg.query("RETURN 1 AS x") == [{"x": 1}]
            break
        except (KGTimeout, KGUnavailable):
            time.sleep(0.5)
    else:
        pytest.fail("the server is back and the store does not use it")
    kg.close()
