"""How well the scope score tells dermoscopy from everything else.

    python -m clarify.bench.scope --data HAM10000 [--weights FOLDER] [--n 400]

Inside are pictures of the test side. Outside are drawn families the head learnt from, families it never saw,
the photographs that come with scikit-image and scikit-learn (never seen either), and the test pictures
themselves spoilt by blur, a heavy crop, or wrong colours. Printed are areas under the curve with bootstrap
intervals, and the share refused at the shipped threshold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from ..tools.specialist import DEFAULT, Specialist
from ..training.intervals import share
from ..training.specialist.calibrate import DEGRADED, degraded
from ..training.specialist.card import scope_scores
from ..training.specialist.data import load_split
from ..training.specialist.scenes import HELD_BACK, LEARNT, draw_many
from .specialist import photographs


def area(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """Area under the curve of scope scores."""
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    return float(roc_auc_score(truth, np.r_[inside, outside]))


def line(name: str, inside: NDArray[np.float64], outside: NDArray[np.float64], threshold: float) -> str:
    """One row of the table."""
    rng = np.random.default_rng(0)
    drawn = [area(rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(300)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    refused = share(int((outside < threshold).sum()), len(outside))
    return (
        f"{name:24} AUROC {area(inside, outside):.4f} [{low:.4f}, {high:.4f}]  refused {refused}  "
        f"n = {len(outside)}"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--n", type=int, default=400)
    args = parser.parse_args()
    expert, side, rng = Specialist.load(args.weights), load_split(args.data, "test"), np.random.default_rng(0)
    rows = rng.permutation(len(side.labels))
    inside = scope_scores(expert, [Image.fromarray(side.images[row]) for row in rows[: args.n]])
    kept = share(int((inside >= expert.scope.threshold).sum()), len(inside))
    print(f"dermoscopy in scope      {kept}  n = {len(inside)}")
    for name, families in (("drawn, learnt kinds", LEARNT), ("drawn, unseen kinds", HELD_BACK)):
        drawn = [Image.fromarray(p) for each in draw_many(families, 40, 2000).values() for p in each]
        print(line(name, inside, scope_scores(expert, drawn), expert.scope.threshold))
    print(
        line(
            "photographs", inside, scope_scores(expert, list(photographs().values())), expert.scope.threshold
        )
    )
    spoilt = []
    for kind in DEGRADED:
        images = [degraded(Image.fromarray(side.images[row]), kind, rng) for row in rows[-args.n // 2 :]]
        found = scope_scores(expert, images)
        spoilt.append(found)
        print(line(f"spoilt: {kind}", inside, found, expert.scope.threshold))
    print(line("spoilt, all", inside, np.concatenate(spoilt), expert.scope.threshold))


if __name__ == "__main__":
    main()
