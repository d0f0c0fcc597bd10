"""From logits to probabilities one can act on: temperature, conformal shortlists, calibration error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


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


def lac_threshold(probs: ArrayLike, labels: ArrayLike, coverage: float) -> float:
    """Probability a class must reach to be on the shortlist.

    Least ambiguous sets (Sadinle et al. 2019, doi:10.1080/01621459.2017.1395341), split conformal.

    Args:
        probs: (n, classes) of calibration pictures, not learnt from.
        labels: (n,) true classes.
        coverage: wanted share of shortlists with the true class in them, below 1.

    Returns:
        The finite-sample corrected quantile: a new exchangeable picture is covered with at least
        ``coverage``. 0 (everything is on the list) when there are too few pictures for that promise.
    """
    table, truth = np.asarray(probs, np.float64), np.asarray(labels, np.int64)
    scores = np.sort(1 - table[np.arange(len(truth)), truth])
    rank = math.ceil((len(truth) + 1) * coverage)
    return 0.0 if rank > len(truth) else float(1 - scores[rank - 1])


def shortlist(probs: ArrayLike, threshold: float) -> list[int]:
    """Classes at or above ``threshold``, likeliest first; never empty: the likeliest is always on it."""
    row = np.asarray(probs, np.float64)
    order = [int(k) for k in np.argsort(-row, kind="stable")]
    return [k for place, k in enumerate(order) if place == 0 or row[k] >= threshold]


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
