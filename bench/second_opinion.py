"""Does the dual encoder help where both looks of the specialist leave a picture open?

    python -m clarify.bench.second_opinion --data HAM10000 [--weights FOLDER] [--encoder FOLDER]

The cases are pictures in scope that the first look and then both together leave unsure (`bench.gate`), with
more than one name on the shortlist, which the encoder compares by names and the graph's signs as `reclassify`
does. Its shares q join the specialist's p as p * q ** w; w is chosen on validation by log-likelihood and
judged on test, with the 95 % interval of the paired difference. Also printed: how often the likeliest is
right where both agree and where they differ, which is what an answer tells.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agent.context import DEFAULT as CONTEXT
from ..agent.deps import default_deps
from ..errors import BadInput
from ..tools.calibration import shortlist
from ..tools.concepts.concepts import Concepts
from ..tools.concepts.encoder import DEFAULT as ENCODER
from ..tools.concepts.signs import signs_of
from ..tools.knowledge import Knowledge
from ..tools.specialist import DEFAULT
from ..training.make.calibrate import vectors
from ..training.specialist.metrics import share
from .gate import paired
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
        mixed = self.specialist * self.encoder**weight
        return np.asarray(mixed / mixed.sum(1, keepdims=True))

    def likelihood(self, weight: float) -> float:
        """Mean log-probability of the truth; one that is off the shortlist counts as one in a hundred."""
        right = self.together(weight)[np.arange(len(self.labels)), self.labels]
        return float(np.log(right.clip(0.01)).mean())


def left_open(side: Looks, concepts: Concepts, knowledge: Knowledge, threshold: float) -> Open:
    """Picks the cases of a side and compares them.

    Raises:
        BadInput: No picture is left open.
    """
    expert = side.expert
    first, second = side.shares(), side.shares(second=True)
    both = (first + second) / 2
    listed = np.zeros_like(both, dtype=bool)
    for again, shares in enumerate((first, second)):
        limits = expert.fitted.limits(second=bool(again)).conformal
        for row, found in enumerate(shares):
            listed[row, shortlist(found, limits)] = True
    listed[np.arange(len(both)), both.argmax(1)] = True
    unsure = (first.max(1) < threshold) & (both.max(1) < threshold)
    rows = np.flatnonzero((side.scope >= expert.scope.threshold) & unsure & (listed.sum(1) > 1))
    if not len(rows):
        raise BadInput("No picture is left open.", hint="Compare at a higher threshold.")
    names = {label: [expert.names[label]] for label in expert.labels}
    signs = signs_of(knowledge, expert.curies)
    shares = concepts.compare(vectors(concepts.encoder, side.side.images[rows]), names, signs)
    shares = np.where(listed[rows], shares, 0.0)
    kept = np.where(listed[rows], both[rows], 0.0)
    return Open(kept, shares / shares.sum(1, keepdims=True), side.side.labels[rows])


def agreement(cases: Open) -> str:
    """How often the specialist is right where the encoder agrees and where it differs."""
    said, other = cases.specialist.argmax(1), cases.encoder.argmax(1)
    agree, right, instead = said == other, said == cases.labels, other == cases.labels
    return (
        f"agrees on {int(agree.sum())} of {len(agree)}: the specialist is right in {_per_cent(right[agree])} "
        f"of those, and in {_per_cent(right[~agree])} where they differ (the encoder in "
        f"{_per_cent(instead[~agree])})"
    )


def _per_cent(flags: NDArray[np.bool_]) -> str:
    found = share(flags)
    return "{:.1f} % [{:.1f}, {:.1f}]".format(*(100 * v for v in (found["value"], *found["interval"])))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--encoder", type=Path, default=ENCODER)
    args = parser.parse_args()
    concepts, knowledge = Concepts.load(args.encoder), default_deps().knowledge()
    best: float | None = None
    for split in ("val", "test"):
        side = looks(args.weights, args.data, split)
        cases = left_open(side, concepts, knowledge, CONTEXT.confidence_threshold)
        best = max(WEIGHTS, key=cases.likelihood) if best is None else best
        before, after = (cases.together(w).argmax(1) == cases.labels for w in (0.0, best))
        print(f"{split}: {len(cases.labels)} left open, weight {best} (best on validation)")
        print(f"  {paired(before, after, 'with it')}")
        print(f"  log-likelihood {cases.likelihood(0.0):.3f}, with it {cases.likelihood(best):.3f}")
        print(f"  {agreement(cases)}")


if __name__ == "__main__":
    main()
