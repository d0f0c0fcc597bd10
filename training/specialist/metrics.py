"""Figures with their intervals, shared by the export and the bench."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ...bench.intervals import wilson
from ...tools.calibration import calibration_error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def share(flags: NDArray[np.bool_]) -> dict[str, Any]:
    """A share with its n and Wilson interval."""
    hits, n = int(flags.sum()), len(flags)
    low, high = wilson(hits, n)
    return {"value": round(hits / max(1, n), 4), "interval": [round(low, 4), round(high, 4)], "n": n}


def bootstrap(
    figure: Callable[[Floats, Ints], float], probs: Floats, labels: Ints, rounds: int = 500, seed: int = 0
) -> dict[str, Any]:
    """A figure with its percentile bootstrap interval, resampling within each class so that none dies out."""
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    draws = []
    for _ in range(rounds):
        rows = np.concatenate([rng.choice(place, len(place)) for place in places])
        draws.append(figure(probs[rows], labels[rows]))
    low, high = np.quantile(draws, (0.025, 0.975))
    interval = [round(float(low), 4), round(float(high), 4)]
    return {"value": round(figure(probs, labels), 4), "interval": interval, "n": len(labels)}


def balanced_accuracy(probs: Floats, labels: Ints) -> float:
    """Mean recall over the classes that occur."""
    right = probs.argmax(1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def macro_auc(probs: Floats, labels: Ints) -> float:
    """One class against the rest, mean over classes."""
    return float(roc_auc_score(labels, probs, multi_class="ovr", average="macro"))


def summary(
    probs: Floats, labels: Ints, names: tuple[str, ...], threshold: float, seed: int = 0
) -> dict[str, Any]:
    """Everything the model card states about calibrated probabilities.

    Args:
        probs: (n, classes).
        labels: (n,).
        names: class labels.
        threshold: conformal limit on the probability.
        seed: of the bootstrap.
    """
    right = probs.argmax(1) == labels
    listed = probs >= threshold
    listed[np.arange(len(labels)), probs.argmax(1)] = True
    return {
        "accuracy": share(right),
        "balanced_accuracy": bootstrap(balanced_accuracy, probs, labels, seed=seed),
        "macro_auc": bootstrap(macro_auc, probs, labels, 200, seed),
        "ece_15": bootstrap(calibration_error, probs, labels, seed=seed),
        "recall": {name: share(right[labels == k]) for k, name in enumerate(names)},
        "coverage": share(listed[np.arange(len(labels)), labels]),
        "shortlist_size": round(float(listed.sum(1).mean()), 3),
        "confident_0.8": share(probs.max(1) >= 0.8),
        "accuracy_when_confident_0.8": share(right[probs.max(1) >= 0.8]),
    }
