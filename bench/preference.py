"""Whether a stage of training changed the generalist: two models play the same held-back dialogues.

    python -m clarify.bench.preference --before runs/nano/full --after runs/preferred/full \
        --data SHARED_DATA --pictures runs/pictures.npz --n 300

Made for stage 5 (`training.generalist.prefer`); it holds for any two folders of weights. Both play
free-running, as in `bench.generalist`, whose figures these are: turns with the right calls, cited statements
that say their row, rows that are said. Printed for each: before, after, and the difference in points with its
95 % percentile bootstrap interval over the dialogues, which are drawn in pairs (Efron 1979).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..graph_schema.folding import normalise
from ..training.generalist.dialogues import DialogueMaker
from ..training.generalist.pictures import PictureBank
from ..training.generalist.world import load_names
from ..training.intervals import resampled, share
from .generalist import cites, play_in, play_part, scripts, statements
from .generalist_player import Player

Counts = dict[str, tuple[int, int]]


def counts(player: Player) -> Counts:
    """What a dialogue adds to each figure: hits, and out of how many."""
    said = covered = wanted = right = 0
    for prose, message, calls in player.answers:
        rows = {r.fact_id: r for c in calls for r in c.rows}
        judged = [ok for _, ok, _ in statements(prose, message, rows)]
        said, right = said + len(judged), right + sum(judged)
        due = cites(message.text)
        wanted, covered = wanted + len(due), covered + len(due & cites(prose))
    good = sum(good for _, good, _, _, _ in player.results)
    return {
        "right tool and arguments": (good, len(player.results)),
        "statements that say their row": (right, said),
        "rows said": (covered, wanted),
    }


def difference(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """The difference of two shares in points, with its interval; entries are of the same dialogues."""

    def figure(hits: np.ndarray, n: np.ndarray, hits_after: np.ndarray, n_after: np.ndarray) -> float:
        return 100 * float(hits_after.sum() / max(n_after.sum(), 1) - hits.sum() / max(n.sum(), 1))

    (hits, n), (hits_after, n_after) = zip(*before, strict=True), zip(*after, strict=True)
    return resampled(figure, hits, n, hits_after, n_after)


def report(before: Sequence[Counts], after: Sequence[Counts]) -> dict[str, dict[str, list[float]]]:
    """Prints each figure of both, and the difference; returns the same."""
    table = {}
    for name in before[0]:
        pairs = [[one[name] for one in side] for side in (before, after)]
        totals = [[sum(column) for column in zip(*side, strict=True)] for side in pairs]
        change, low, high = difference(*pairs)
        print(f"{name}\n  before {share(*totals[0])}  n = {totals[0][1]}")
        print(f"  after  {share(*totals[1])}  n = {totals[1][1]}")
        print(f"  change {change:+.2f} points [{low:+.2f}, {high:+.2f}]", flush=True)
        table[name] = {"before": totals[0], "after": totals[1], "change": [change, low, high]}
    return table


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="exported folder")
    parser.add_argument("--after", type=Path, required=True, help="exported folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1, help="another one than the bench of the generalist's")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bank = PictureBank.load(args.pictures) if args.pictures else None
    names = load_names(args.data)
    lexicon = {normalise(name) for name in names["disease"]}
    maker = DialogueMaker("test", names, [], bank.names if bank else [], bank)
    made = list(scripts(maker, args.n, args.seed))
    sides = []
    for weights in (args.before, args.after):
        part = partial(play_part, weights, args.pictures, {}, args.batch, lexicon)
        sides.append([counts(player) for player in play_in(args.processes, part, made)])
    print(f"held-back dialogues, n = {len(made)}")
    table = report(*sides)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
