"""Where should the gate stand? Coverage against risk for every threshold, and the one that costs least.

    python -m clarify.bench.gate --data HAM10000 [--weights FOLDER] [--patient] [--svg FILE]

A case is answered by the first look when its confidence reaches the threshold, else by both looks together
when theirs does, else not at all: the differential is told and a dermatologist is asked for. Costs: a wrong
answer 1, a missed melanoma 10, no answer 0.5. The threshold is chosen on validation and judged on test.
AUGRC is the area under the generalised risk-coverage curve (Traub et al. 2024, arXiv:2407.01032) with these
costs, on confidence alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agent.context import DEFAULT as CONTEXT
from ..tools.specialist import DEFAULT
from .looks import Floats, Looks, looks
from .svg import Line, draw

WRONG, MISSED, UNANSWERED = 1.0, 10.0, 0.5
FIRST_MS, SECOND_MS = 1.0, 2.0
"""Times in first looks: a second look passes twice as many views through the network."""
THRESHOLDS = np.round(np.arange(0.40, 0.985, 0.02), 2)


@dataclass(frozen=True)
class Point:
    """What one threshold does, as shares of all cases.

    Attributes:
        threshold: Of confidence.
        first: Answered by the first look.
        second: Answered by both looks together.
        wrong: Wrong answers.
        missed: Melanomas answered as something else.
        cost: Mean cost.
        time: Mean time in first looks.
    """

    threshold: float
    first: float
    second: float
    wrong: float
    missed: float
    cost: float
    time: float

    @property
    def coverage(self) -> float:
        """Share of cases that get an answer."""
        return self.first + self.second


def costs(guess: NDArray[np.int64], labels: NDArray[np.int64], melanoma: int) -> Floats:
    """What each answer costs, (n,)."""
    missed = (labels == melanoma) & (guess != melanoma)
    return np.where(missed, MISSED, np.where(guess != labels, WRONG, 0.0))


def sweep(one: Floats, both: Floats, labels: NDArray[np.int64], melanoma: int) -> list[Point]:
    """Every threshold on probabilities of the first look and of both together, (n, classes) each."""
    points = []
    for threshold in THRESHOLDS:
        first = one.max(1) >= threshold
        second = ~first & (both.max(1) >= threshold)
        guess = np.where(first, one.argmax(1), both.argmax(1))
        answered, each = first | second, costs(guess, labels, melanoma)
        points.append(
            Point(
                float(threshold),
                float(first.mean()),
                float(second.mean()),
                float((answered & (guess != labels)).mean()),
                float((answered & (each == MISSED)).mean()),
                float(np.where(answered, each, UNANSWERED).mean()),
                float(np.where(first, FIRST_MS, FIRST_MS + SECOND_MS).mean()),
            )  # fmt: skip
        )
    return points


def augrc(probs: Floats, labels: NDArray[np.int64], melanoma: int) -> float:
    """Area under generalised risk (cost of what is answered, over all cases) against coverage."""
    each = costs(probs.argmax(1), labels, melanoma)[np.argsort(-probs.max(1), kind="stable")]
    risk = np.r_[0.0, np.cumsum(each) / len(each)]
    return float(np.trapezoid(risk, dx=1 / len(each)))


def helped(side: Looks, one: Floats, both: Floats, threshold: float) -> str:
    """Whether the second look helps where the first is unsure: right before, right after, the difference."""
    labels = side.side.labels
    unsure = one.max(1) < threshold
    before, after = (p.argmax(1)[unsure] == labels[unsure] for p in (one, both))
    return f"unsure at first {len(before)}: {paired(before, after, 'after a second look')}"


def paired(before: NDArray[np.bool_], after: NDArray[np.bool_], what: str) -> str:
    """Right before and after, and the paired difference with its 95 % interval (McNemar)."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    change = (gained - lost) / max(1, len(before))
    half = 1.96 * np.sqrt(gained + lost) / max(1, len(before))
    return (
        f"right {100 * before.mean():.1f} %, {what} {100 * after.mean():.1f} %, change {100 * change:+.1f} "
        f"[{100 * (change - half):+.1f}, {100 * (change + half):+.1f}] (gained {gained}, lost {lost})"
    )


def show(points: list[Point], marks: dict[float, str]) -> None:
    """Prints the sweep."""
    print("threshold  first  second  none   wrong of answered  missed melanomas  cost   time")
    for p in points:
        risk = p.wrong / p.coverage if p.coverage else 0.0
        print(
            f"{p.threshold:9.2f}  {p.first:5.3f}  {p.second:6.3f}  {1 - p.coverage:5.3f}  {risk:17.3f}"
            f"  {p.missed:16.4f}  {p.cost:.3f}  {p.time:.2f}  {marks.get(p.threshold, '')}"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--patient", action="store_true", help="with age, sex and site where they are known")
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    lines, least = [], 0.0
    for split in ("val", "test"):
        side = looks(args.weights, args.data, split)
        melanoma, labels = side.expert.labels.index("mel"), side.side.labels
        one = side.shares(patient=args.patient)
        both = (one + side.shares(second=True, patient=args.patient)) / 2
        points = sweep(one, both, labels, melanoma)
        least = least or min(points, key=lambda p: p.cost).threshold
        print(f"{split}, n = {len(labels)}; AUGRC {augrc(one, labels, melanoma):.4f}, "
              f"of both looks {augrc(both, labels, melanoma):.4f}")  # fmt: skip
        show(points, {least: "costs least on validation"} | {CONTEXT.confidence_threshold: "shipped"})
        print(helped(side, one, both, CONTEXT.confidence_threshold))
        lines.append(Line(split, [(p.coverage, p.wrong / p.coverage if p.coverage else 0.0) for p in points]))
    if args.svg:
        title = "Wrong answers among the answered"
        args.svg.write_text(draw(title, lines, across="share answered", up="share wrong"), encoding="utf-8")


if __name__ == "__main__":
    main()
