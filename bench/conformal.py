"""Do the shortlists hold what they promise, also for melanoma, and what happens on another archive?

    python -m clarify.bench.conformal --data HAM10000 [--external ISIC] [--weights FOLDER] [--splits 20]

Validation and test sides of ``clean_split`` are put together and parted in two halves, again and again (a
lesion's pictures stay together): one half calibrates, the other is covered. Printed are mean coverage with
the beta-binomial interval of one such split, and the mean size of the lists, for four ways to make them. The
shipped limits are then taken to melanomas and nevi of another archive, where no promise holds.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from ..tools.calibration import ALWAYS, PENALTY, conformal_limits, raps_scores
from ..tools.specialist import DEFAULT, Specialist
from ..training.intervals import share
from .looks import Floats, archive, looks

Ints = NDArray[np.int64]
Lists = Callable[[Floats, Ints, Floats], NDArray[np.bool_]]
"""Calibration probabilities and labels, then fresh probabilities; which classes are listed, (n, classes)."""


def _by_raps(guarded: tuple[int, ...]) -> Lists:
    def lists(probs: Floats, labels: Ints, fresh: Floats) -> NDArray[np.bool_]:
        return np.asarray(raps_scores(fresh) <= np.asarray(conformal_limits(probs, labels, 0.9, guarded)))

    return lists


def _by_score(score: Callable[[Floats], Floats]) -> Lists:
    """One limit for all classes on any score."""

    def lists(probs: Floats, labels: Ints, fresh: Floats) -> NDArray[np.bool_]:
        own = np.sort(score(probs)[np.arange(len(labels)), labels])
        rank = math.ceil((len(own) + 1) * 0.9)
        return np.asarray(score(fresh) <= (ALWAYS if rank > len(own) else own[rank - 1]))

    return lists


def ways(melanoma: int) -> dict[str, Lists]:
    """The ways that are compared; the first is the shipped one."""
    return {
        "RAPS, melanoma guarded": _by_raps((melanoma,)),
        "RAPS": _by_raps(()),
        "APS": _by_score(lambda p: raps_scores(p) - PENALTY * _places(p)),
        "least ambiguous": _by_score(lambda p: 1 - p),
    }


def _places(probs: Floats) -> Floats:
    """Each class's place in its row, 0 for the likeliest."""
    return np.asarray(np.argsort(np.argsort(-probs, 1, kind="stable"), 1), np.float64)


def interval(calibrated: int, covered: int, coverage: float = 0.9) -> tuple[float, float]:
    """The 95 % beta-binomial interval of coverage on a split (Angelopoulos and Bates 2021, 2107.07511)."""
    least = math.floor((calibrated + 1) * (1 - coverage))
    law = betabinom(covered, calibrated + 1 - least, least)
    return float(law.ppf(0.025)) / covered, float(law.ppf(0.975)) / covered


def resplit(
    probs: Floats, labels: Ints, groups: list[str], melanoma: int, lists: Lists, splits: int
) -> tuple[float, float, float, tuple[float, float], tuple[float, float]]:
    """Mean coverage, mean coverage of melanomas, mean size; the intervals of both coverages."""
    names = sorted(set(groups))
    of = np.array([names.index(group) for group in groups])
    rows = []
    for seed in range(splits):
        half = np.random.default_rng(seed).permutation(len(names)) < len(names) // 2
        one, two = half[of], ~half[of]
        listed = lists(probs[one], labels[one], probs[two])
        listed[np.arange(len(listed)), probs[two].argmax(1)] = True
        hit, mel = listed[np.arange(len(listed)), labels[two]], labels[two] == melanoma
        rows.append((hit.mean(), hit[mel].mean(), listed.sum(1).mean(), one.sum(), two.sum()))
    covered, of_mel, size, calibrated, fresh = np.mean(rows, 0)
    part = float((labels == melanoma).mean())
    return (
        float(covered), float(of_mel), float(size),
        interval(round(calibrated), round(fresh)), interval(round(part * calibrated), round(part * fresh)),
    )  # fmt: skip


def shifted(expert: Specialist, data: Path) -> None:
    """Prints what the shipped shortlists cover on another archive."""
    hits: dict[str, list[bool]] = {}
    for picture, label in archive(data):
        found = expert.classify(picture)
        if found.in_scope:
            hits.setdefault(label, []).append(label in found.prediction_set)
    for label, each in sorted(hits.items()):
        print(f"another archive, {label:4} {share(sum(each), len(each))}  n = {len(each)}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--external", type=Path)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--splits", type=int, default=20)
    args = parser.parse_args()
    sides = [looks(args.weights, args.data, split) for split in ("val", "test")]
    with (args.data / "metadata.csv").open(newline="") as handle:
        group = {row["image_id"]: row["group_id"] for row in csv.DictReader(handle)}
    labels = np.concatenate([side.side.labels for side in sides])
    groups = [group[name] for side in sides for name in side.side.ids]
    melanoma = sides[0].expert.labels.index("mel")
    head = f"n = {len(labels)}, {args.splits} splits"
    print(f"{head:38} covered  [beta-binomial]  melanoma  [beta-binomial]  size")
    for patient in (False, True):
        probs = np.concatenate([side.shares(patient=patient) for side in sides])
        for name, lists in ways(melanoma).items():
            covered, of_mel, size, near, near_mel = resplit(
                probs, labels, groups, melanoma, lists, args.splits
            )
            said = f"{name}{', patient known' if patient else ''}"
            print(
                f"{said:38} {covered:.3f}  [{near[0]:.3f}, {near[1]:.3f}]   "
                f"{of_mel:.3f}  [{near_mel[0]:.3f}, {near_mel[1]:.3f}]   {size:.2f}"
            )
    if args.external:
        shifted(sides[0].expert, args.external)


if __name__ == "__main__":
    main()
