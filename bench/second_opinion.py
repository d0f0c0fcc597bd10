"""Does the dual encoder help where both looks of the specialist leave a picture open?

    python -m clarify.bench.second_opinion --data HAM10000 [--weights FOLDER] [--encoder FOLDER]

The cases are pictures that both looks together leave unsure (`bench.gate`) with more than one name on the
shortlist, which the encoder compares by names and signs as `reclassify` does. Its shares q join the
specialist's p as p * q ** w; w is chosen on validation by log-likelihood and judged on test, with the 95 %
interval of the paired difference. Also printed: how often the likeliest is right where both agree and where
they differ, which is what an answer tells.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agent.context import DEFAULT as CONTEXT
from ..tools.calibration import shortlist
from ..tools.concepts.concepts import Concepts
from ..tools.concepts.encoder import DEFAULT as ENCODER
from ..tools.specialist import DEFAULT
from ..training.make.calibrate import vectors
from ..training.make.captions import Captioner
from .looks import Floats, Looks, looks

WEIGHTS = np.round(np.arange(0.0, 2.05, 0.1), 1)


@dataclass(frozen=True)
class Open:
    """Pictures that are left open.

    Attributes:
        specialist: Probabilities of both looks together, those off the shortlist 0, (n, classes).
        encoder: Shares by names and signs on the shortlist, 0 off it, (n, classes).
        labels: (n,).
    """

    specialist: Floats
    encoder: Floats
    labels: NDArray[np.int64]

    def together(self, weight: float) -> Floats:
        """Brings p * q ** w to a sum of 1."""
        mixed = self.specialist * np.where(self.encoder > 0, self.encoder, 1.0) ** weight
        return np.asarray(mixed / mixed.sum(1, keepdims=True))

    def likelihood(self, weight: float) -> float:
        """Mean log-probability of the truth; one that is off the shortlist counts as one in a hundred."""
        right = self.together(weight)[np.arange(len(self.labels)), self.labels]
        return float(np.log(right.clip(0.01)).mean())


def left_open(side: Looks, concepts: Concepts, threshold: float) -> Open:
    """Picks the cases of a side and compares them."""
    expert = side.expert
    first, second = side.shares(), side.shares(second=True)
    both = (first + second) / 2
    listed = np.zeros_like(both, dtype=bool)
    for again, shares in enumerate((first, second)):
        limits = expert.fitted.limits(second=bool(again)).conformal
        for row, found in enumerate(shares):
            listed[row, shortlist(found, limits)] = True
    listed[np.arange(len(both)), both.argmax(1)] = True
    rows = np.flatnonzero((both.max(1) < threshold) & (listed.sum(1) > 1))
    known = Captioner().labels
    names = {label: [expert.names[label]] for label in expert.labels}
    signs = {label: known[label].signs for label in expert.labels}
    shares = concepts.compare(vectors(concepts.encoder, side.side.images[rows]), names, signs)
    shares = np.where(listed[rows], shares, 0.0)
    kept = np.where(listed[rows], both[rows], 0.0)
    return Open(kept, shares / shares.sum(1, keepdims=True), side.side.labels[rows])


def change(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> str:
    """Right before and after, and the paired difference with its interval."""
    gained, lost, n = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    middle, half = (gained - lost) / n, 1.96 * np.sqrt(gained + lost) / n
    return (
        f"right {100 * before.mean():.1f} %, with it {100 * after.mean():.1f} %, change {100 * middle:+.1f} "
        f"[{100 * (middle - half):+.1f}, {100 * (middle + half):+.1f}] (gained {gained}, lost {lost})"
    )


def agreement(cases: Open) -> str:
    """How often the specialist is right where the encoder agrees and where it differs."""
    said, other = cases.specialist.argmax(1), cases.encoder.argmax(1)
    agree, right = said == other, said == cases.labels
    return (
        f"agrees on {agree.sum()} of {len(agree)}: the specialist is right in "
        f"{100 * right[agree].mean():.1f} % of those, and in {100 * right[~agree].mean():.1f} % where they "
        f"differ (the encoder in {100 * (other == cases.labels)[~agree].mean():.1f} %)"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--encoder", type=Path, default=ENCODER)
    args = parser.parse_args()
    concepts = Concepts.load(args.encoder)
    best: float | None = None
    for split in ("val", "test"):
        cases = left_open(looks(args.weights, args.data, split), concepts, CONTEXT.confidence_threshold)
        best = max(WEIGHTS, key=cases.likelihood) if best is None else best
        before, after = (cases.together(w).argmax(1) == cases.labels for w in (0.0, best))
        print(f"{split}: {len(cases.labels)} left open, weight {best} (best on validation)")
        print(f"  {change(before, after)}")
        print(f"  log-likelihood {cases.likelihood(0.0):.3f}, with it {cases.likelihood(best):.3f}")
        print(f"  {agreement(cases)}")


if __name__ == "__main__":
    main()
