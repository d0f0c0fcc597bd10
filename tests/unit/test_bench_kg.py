"""The made-up graph of `bench.kg` is one that every query answers, and its drawing is whole."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from clarify.bench.kg import fill, percentiles, questions, show, verdict
from clarify.bench.kg_data import Made
from clarify.bench.kg_svg import draw
from clarify.graph_schema.stores.ladybug_store import LadybugKG


def test_everything_that_is_timed_finds_something() -> None:
    made = Made(400)
    kg = LadybugKG(None, read_only=False)
    nodes, edges = fill(kg, made)
    assert 3 < edges / nodes < 6
    for name, ask in questions(kg, made, 8).items():
        found = [ask(i) for i in range(8)]
        if name not in ("treatments_shared", "treatments_conflict"):  # of two diseases drawn at random
            assert sum(map(bool, found)) >= 7, name
    kg.close()


def test_the_verdict_says_what_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    def tables(slow: float) -> dict[int, dict[str, object]]:
        times = {"describe": slow, "link, exact": 1.0, "link, misspelt": 40.0}
        return {
            n: {
                "ms": {k: percentiles([v * (1 + n / 1e6)] * 5) | {"first p95": 9.0} for k, v in times.items()}
            }
            for n in (10, 10**6)
        }

    seed = {10**6: {"ms": {"link and fetch": percentiles([30.0] * 5)}}}
    verdict({"embedded": tables(4.0), "seed's method": seed})
    said = capsys.readouterr().out
    assert "MISSED" in next(line for line in said.splitlines() if "describe" in line)  # 8 ms
    assert "met" in next(line for line in said.splitlines() if "link, exact" in line)
    assert "MISSED" in next(line for line in said.splitlines() if "misspelt" in line)  # 80 ms
    show("embedded", 10, tables(1.0)[10])
    drawn = ElementTree.fromstring(draw({"embedded": tables(4.0), "seed's method": seed}))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 4
