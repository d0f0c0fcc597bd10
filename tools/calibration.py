"""From logits to probabilities one can act on: temperature, conformal shortlists, calibration error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
PENALTY = 0.1
"""Of RAPS; its lists were the shortest on validation among 0.01 to 0.5, from first, second or third place."""
ALWAYS = 1e9
"""A limit that every score is within."""


def probabilities(logits: ArrayLike, temperature: float, offset: ArrayLike = 0.0) -> Array:
    """Temperature-scaled softmax (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: (..., classes).
        temperature: above 1 flattens, below 1 sharpens; the order of the classes does not change.
        offset: (classes,) added after scaling, for a change of class frequencies between training and use.

    Returns:
        (..., classes), each row sums to 1.

    Raises:
        ValueError: The temperature is not a positive finite number.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive and finite, not {temperature}")
    scaled = np.asarray(logits, np.float64) / temperature + np.asarray(offset, np.float64)
    scaled -= scaled.max(-1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def raps_scores(probs: ArrayLike) -> Array:
    """How far down a ranked list each class is: RAPS (Angelopoulos et al. 2021, arXiv:2009.14193).

    The mass of all classes down to this one, plus `PENALTY` for each place below the first. Without the
    randomisation of the paper: the same picture always gets the same list.

    Args:
        probs: (..., classes).

    Returns:
        (..., classes).
    """
    table = np.asarray(probs, np.float64)
    order = np.argsort(-table, -1, kind="stable")
    mass = np.cumsum(np.take_along_axis(table, order, -1), -1) + PENALTY * np.arange(table.shape[-1])
    scores = np.empty_like(table)
    np.put_along_axis(scores, order, mass, -1)
    return scores


def conformal_limits(
    probs: ArrayLike, labels: ArrayLike, coverage: float, guarded: Sequence[int] = ()
) -> list[float]:
    """The largest score with which each class is on the shortlist, split conformal.

    A guarded class has a limit of its own, fitted on its own cases (label-conditional: Vovk 2012,
    arXiv:1209.2673), so that its cases are covered as often as all others together.

    Args:
        probs: (n, classes) of calibration pictures, not learnt from.
        labels: (n,) true classes.
        coverage: wanted share of shortlists with the true class in them, below 1.
        guarded: classes that must not pay for the others.

    Returns:
        Finite-sample corrected quantiles, one per class: a new exchangeable picture is covered with at least
        ``coverage``. `ALWAYS` (the class is on every list) where there are too few pictures for that promise.
    """
    scores, truth = raps_scores(probs), np.asarray(labels, np.int64)
    own = scores[np.arange(len(truth)), truth]
    rest = np.isin(truth, list(guarded), invert=True)
    limits = np.full(scores.shape[-1], _quantile(own[rest], coverage))
    for k in guarded:
        limits[k] = _quantile(own[truth == k], coverage)
    return [float(limit) for limit in limits]


def _quantile(scores: Array, coverage: float) -> float:
    rank = math.ceil((len(scores) + 1) * coverage)
    return ALWAYS if rank > len(scores) else float(np.sort(scores)[rank - 1])


def shortlist(probs: ArrayLike, limits: ArrayLike) -> list[int]:
    """Classes within their `conformal_limits`, likeliest first; the likeliest is always on it."""
    row = np.asarray(probs, np.float64)
    order = [int(k) for k in np.argsort(-row, kind="stable")]
    near = raps_scores(row) <= np.asarray(limits, np.float64)
    return [k for place, k in enumerate(order) if place == 0 or near[k]]


def calibration_error(probs: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the top class, equal-width bins (Guo et al. 2017, equation 3), 0..1."""
    table, truth = np.asarray(probs, np.float64), np.asarray(labels, np.int64)
    confidence, right = table.max(1), (table.argmax(1) == truth).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[place == b].sum() - right[place == b].sum()))
        for b in range(bins)
        if (place == b).any()
    ]
    return sum(gaps) / len(truth)
