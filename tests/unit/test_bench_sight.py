"""The arithmetic of the benches of sight on made-up numbers."""

import numpy as np
import pytest

from clarify.bench.conformal import interval, resplit, ways
from clarify.bench.gate import MISSED, UNANSWERED, augrc, costs, sweep
from clarify.bench.svg import Line, draw
from clarify.tools.calibration import probabilities


def made_up(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    probs = probabilities(rng.normal(0, 1.5, (n, 4)), 1.0)
    return probs, np.array([rng.choice(4, p=row) for row in probs])


def test_every_way_covers_what_it_promises():
    probs, labels = made_up()
    for name, lists in ways(2).items():
        covered, of_mel, size, near, near_mel = resplit(probs, labels, list("abc") * 1000, 2, lists, 3)
        assert covered >= near[0] - 0.01 and 1 <= size <= 4, name
        assert near[0] < 0.9 < near[1] and near_mel[1] - near_mel[0] > near[1] - near[0]
        if "guarded" in name:
            assert of_mel >= near_mel[0] - 0.02


def test_the_interval_narrows_with_more_cases():
    few, many = interval(100, 100), interval(4000, 4000)
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_costs_name_a_missed_melanoma():
    guess, truth = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    assert costs(guess, truth, melanoma=1).tolist() == [0, 1, 0, MISSED]


def test_the_sweep_counts_every_case_once():
    probs, labels = made_up()
    points = sweep(probs, probs, labels, 2)
    assert [p.threshold for p in points] == sorted(p.threshold for p in points)
    for p in points:
        assert p.second == 0 and 0 <= p.wrong <= p.coverage <= 1
    assert points[-1].coverage < points[0].coverage and points[-1].time > points[0].time
    assert points[-1].cost == pytest.approx(UNANSWERED, abs=0.1)
    sure = np.eye(4)[labels] * 0.9 + 0.025
    assert sweep(sure, sure, labels, 2)[0].cost == 0


def test_augrc_is_lower_when_confidence_ranks_better():
    probs, labels = made_up()
    mixed = probs[np.random.default_rng(1).permutation(len(probs))]
    assert augrc(probs, labels, 2) < augrc(mixed, labels, 2)
    assert augrc(np.eye(4)[labels], labels, 2) == 0


def test_lines_are_drawn_and_names_escaped():
    svg = draw("a < b", [Line("x & y", [(0.1, 0.2), (0.9, 0.8)])], diagonal=True)
    assert svg.startswith("<svg") and "a &lt; b" in svg and "x &amp; y" in svg and "polyline" in svg
