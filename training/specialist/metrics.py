"""Figures with their intervals, shared by the export and the bench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ...tools.calibration import calibration_error, raps_scores
from ..intervals import wilson

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


def sensitivity_at(probs: Floats, labels: Ints, specificity: float = 0.9) -> float:
    """Share of class 1 of (n, 2) that scores above all but ``1 - specificity`` of class 0."""
    limit = np.quantile(probs[labels == 0, 1], specificity)
    return float((probs[labels == 1, 1] > limit).mean())


def melanoma(probs: Floats, labels: Ints, names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Melanoma against all else: area, and sensitivity at a specificity of 0.90; empty without melanomas."""
    if "mel" not in names or not (labels == names.index("mel")).any():
        return {}
    at = names.index("mel")
    two, truth = np.stack([1 - probs[:, at], probs[:, at]], 1), (labels == at).astype(np.int64)
    return {
        "melanoma_auc": bootstrap(lambda p, y: float(roc_auc_score(y, p[:, 1])), two, truth, 200, seed),
        "melanoma_sensitivity_at_0.90": bootstrap(sensitivity_at, two, truth, 200, seed),
    }


def summary(
    probs: Floats, labels: Ints, names: tuple[str, ...], limits: Sequence[float], seed: int = 0
) -> dict[str, Any]:
    """Everything the model card states about calibrated probabilities.

    Args:
        probs: (n, classes).
        labels: (n,).
        names: class labels.
        limits: conformal limits, one per class.
        seed: of the bootstrap.
    """
    right = probs.argmax(1) == labels
    listed = raps_scores(probs) <= np.asarray(limits)
    listed[np.arange(len(labels)), probs.argmax(1)] = True
    return {
        "accuracy": share(right),
        "balanced_accuracy": bootstrap(balanced_accuracy, probs, labels, seed=seed),
        "macro_auc": bootstrap(macro_auc, probs, labels, 200, seed),
        "ece_15": bootstrap(calibration_error, probs, labels, seed=seed),
        **melanoma(probs, labels, names, seed),
        "recall": {name: share(right[labels == k]) for k, name in enumerate(names)},
        "coverage": share(listed[np.arange(len(labels)), labels]),
        "coverage_each": {
            name: share(listed[labels == k, k]) for k, name in enumerate(names) if (labels == k).any()
        },
        "shortlist_size": round(float(listed.sum(1).mean()), 3),
        "confident_0.8": share(probs.max(1) >= 0.8),
        "accuracy_when_confident_0.8": share(right[probs.max(1) >= 0.8]),
    }
