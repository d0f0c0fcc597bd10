import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clarify.tools.calibration import (
    ALWAYS,
    calibration_error,
    conformal_limits,
    probabilities,
    raps_scores,
    shortlist,
)
from clarify.training.specialist.calibrate import fit_temperature, prior_offset
from clarify.training.specialist.metrics import wilson

logits = arrays(np.float64, (5, 7), elements=st.floats(-30, 30))


@given(logits, st.floats(0.05, 20))
def test_probabilities_sum_to_one_and_keep_the_order(values, temperature):
    probs = probabilities(values, temperature)
    assert np.allclose(probs.sum(1), 1)
    assert (probs >= 0).all()
    for row, out in zip(values, probs, strict=True):
        assert out[row.argmax()] == out.max()


@given(logits, st.floats(0.5, 5), st.floats(-100, 100))
def test_a_common_shift_changes_nothing(values, temperature, shift):
    assert np.allclose(
        probabilities(values, temperature), probabilities(values + shift, temperature), atol=1e-9
    )


@given(logits, st.floats(0.2, 5))
def test_hotter_is_never_more_confident(values, temperature):
    hotter = probabilities(values, temperature * 1.5).max(1)
    assert (hotter <= probabilities(values, temperature).max(1) + 1e-12).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_temperature_is_refused(bad):
    with pytest.raises(ValueError, match="temperature"):
        probabilities([0.0, 1.0], bad)


def _draw(rng, n, sharpness=1.5):
    scores = rng.normal(0, sharpness, (n, 7))
    probs = probabilities(scores, 1.0)
    labels = np.array([rng.choice(7, p=row) for row in probs])
    return scores, probs, labels


def test_the_fitted_temperature_recovers_a_known_one():
    scores, _, labels = _draw(np.random.default_rng(0), 6000)
    assert fit_temperature((scores * 2.5).astype(np.float32), labels) == pytest.approx(2.5, rel=0.08)
    assert calibration_error(probabilities(scores * 2.5, 2.5), labels) < 0.025
    assert calibration_error(probabilities(scores * 2.5, 1.0), labels) > 0.05


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.8, 0.9, 0.95]))
def test_shortlists_cover_what_they_promise(seed, coverage):
    rng = np.random.default_rng(seed)
    _, probs, labels = _draw(rng, 600)
    limits = conformal_limits(probs, labels, coverage)
    _, fresh, truth = _draw(rng, 1500)
    covered = np.mean([label in shortlist(row, limits) for row, label in zip(fresh, truth, strict=True)])
    # beta-binomial spread of 600 calibration and 1500 fresh cases, five standard errors
    assert covered >= coverage - 5 * np.sqrt(coverage * (1 - coverage) * (1 / 600 + 1 / 1500))


def test_too_few_cases_promise_nothing_but_everything():
    probs = np.full((5, 7), 1 / 7)
    assert conformal_limits(probs, np.zeros(5, int), 0.9) == [ALWAYS] * 7
    assert len(shortlist(probs[0], [ALWAYS] * 7)) == 7


def test_a_guarded_class_does_not_pay_for_the_others():
    """Class 3 is rare and seldom recognised: only its own limit covers its cases as promised."""
    rng = np.random.default_rng(0)

    def draw(n):
        labels = np.where(rng.random(n) < 0.08, 3, rng.integers(0, 3, n))
        scores = rng.normal(0, 1, (n, 7)) + 3 * np.eye(7)[np.where(labels == 3, 0, labels)]
        scores[labels == 3, 3] += 1.5
        return probabilities(scores, 1.0), labels

    (probs, labels), (fresh, truth) = draw(4000), draw(4000)
    covered = {}
    for guarded in ((), (3,)):
        limits = conformal_limits(probs, labels, 0.9, guarded)
        hit = np.array([k in shortlist(row, limits) for row, k in zip(fresh, truth, strict=True)])
        covered[guarded] = hit.mean(), hit[truth == 3].mean()
    assert covered[()][1] < 0.8 < 0.86 < covered[(3,)][1]
    assert min(covered[()][0], covered[(3,)][0]) > 0.88


@given(logits, st.lists(st.floats(0, 2), min_size=7, max_size=7))
def test_a_shortlist_is_never_empty_and_starts_with_the_likeliest(values, limits):
    row = probabilities(values[0], 1.0)
    listed = shortlist(row, limits)
    assert row[listed[0]] == row.max() and len(set(listed)) == len(listed)
    assert [row[k] for k in listed] == sorted((row[k] for k in listed), reverse=True)
    longer = shortlist(row, [limit + 0.3 for limit in limits])
    assert set(listed) <= set(longer)


@given(logits)
def test_scores_grow_down_the_ranked_list(values):
    row = probabilities(values[0], 1.0)
    scores = raps_scores(row)
    assert scores.min() == pytest.approx(row.max()) and scores.max() == pytest.approx(1 + 0.1 * 6)
    assert np.all(np.diff(scores[np.argsort(-row, kind="stable")]) > 0)


def test_prior_offset_favours_the_frequent_class_and_vanishes_at_power_zero():
    counts = np.array([100, 10, 1])
    offset = prior_offset(counts, 1.0)
    assert list(offset) == sorted(offset, reverse=True)
    assert offset[0] - offset[1] == pytest.approx(0.5 * np.log(10))
    assert not prior_offset(counts, 0.0).any()


def test_wilson_interval_of_a_known_case():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))
