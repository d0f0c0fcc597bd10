"""kill -9 at any moment of a build: readers go on, and what is opened is one graph, old or new, whole."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clarify.errors import KGUnavailable
from clarify.graph_schema import linking, retrieval
from clarify.graph_schema.build import build_graph
from clarify.graph_schema.stores import open_embedded
from clarify.graph_schema.stores.base import BaseStore
from clarify.tests.fact_files import write_facts

KILLS = 20
MOMENT_S = 2.0
CONTEXT = multiprocessing.get_context("spawn")


def content(kg: BaseStore) -> tuple[str, list[str], list[str]]:
    """The version, every statement and what a misspelt name is linked to: graph file and text index."""
    rows = kg.query("MATCH (d:Disease)-[r:HAS_SIGN]->(s:Sign) RETURN r.statement AS said ORDER BY said")
    links = [m.curie for name in ("azure spot nmber 1", "beige spot nmber 2") for m in linking.link(kg, name)]
    return retrieval.graph_version(kg), [row["said"] for row in rows], links


def opened(folder: Path) -> tuple[str, list[str], list[str]]:
    kg = open_embedded(folder)
    try:
        return content(kg)
    finally:
        kg.close()


def build_over_and_over(folder: Path, facts: tuple[Path, Path]) -> None:
    while True:
        for one in facts:
            build_graph(folder, facts=one)


def killed(target: Callable[..., None], *args: object, after: float) -> None:
    child = CONTEXT.Process(target=target, args=args, daemon=True)
    child.start()
    try:
        child.join(after)
        assert child.is_alive(), "the build ended by itself: nothing was killed"
    finally:
        child.kill()
        child.join()


@pytest.fixture
def facts(tmp_path: Path) -> tuple[Path, Path]:
    return write_facts(tmp_path / "azure", "azure", 4), write_facts(tmp_path / "beige", "beige", 5)


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_graph_or_the_new_one(tmp_path: Path, facts: tuple[Path, Path]) -> None:
    folder = tmp_path / "graph"
    whole = []
    started = time.monotonic()
    for one in reversed(facts):
        build_graph(folder, facts=one)
        whole.append(opened(folder))
    once = (time.monotonic() - started) / 2
    assert whole[0] != whole[1] and all(len(links) == 1 for _, _, links in whole)
    served = open_embedded(folder)
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    seen = []
    for _ in range(KILLS):
        killed(build_over_and_over, folder, facts, after=rng.uniform(0.02, min(2 * once, MOMENT_S)))
        seen.append(opened(folder))
        assert seen[-1] in whole, f"seed {seed}"
        assert content(served) == whole[1]
    served.close()
    build_graph(folder, facts=facts[0])
    assert opened(folder) == whole[1]
    left = sorted(p.suffix for p in folder.iterdir() if p.name not in ("build.lock", "manifest.json"))
    assert left == [".lbug", ".sqlite"], "what killed builds left behind is cleared away"


@pytest.mark.slow
def test_a_killed_first_build_leaves_nothing_that_opens_by_half(
    tmp_path: Path, facts: tuple[Path, Path]
) -> None:
    rng = random.Random(7)
    for number in range(4):
        folder = tmp_path / f"graph{number}"
        killed(build_over_and_over, folder, facts, after=rng.uniform(0.02, 1.0))
        try:
            statements = opened(folder)[1]
        except KGUnavailable as absent:
            assert "clarify kg build" in absent.line()
        else:
            assert len(statements) in (12, 15)
        build_graph(folder, facts=facts[0])
        assert len(opened(folder)[1]) == 12
