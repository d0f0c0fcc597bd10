"""What each part of MAKE brings, and what the released code's indexing costs.

    python -m clarify.bench.make_ablation --data HAM10000 [--seeds 3] [--epochs 5] [--jobs 2]

Trains every row of `training.make.train.ROWS` from the same seeds, each for the same steps, and measures
val (the test side is for the shipped weights): plain CLIP on raw captions; all aspects; with the local
alignment; with the weights; the published formulas to the letter; the same with the released indexing.
Printed are means over seeds with the 95 % interval of Student's t, and of each row less the one before it, by
seed. `--jobs` runs train side by side, each with `--threads`: about six minutes each, an hour on two cores
for three seeds. A run that is there is not run again, so a stopped bench goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from ..tools.concepts.concepts import Concepts
from ..tools.concepts.encoder import DualEncoder
from ..training.make.calibrate import vectors
from ..training.make.data import Pictures, drawn, ham
from ..training.make.train import ROWS
from ..training.specialist.data import LABELS
from .make import by_name, captions_of, concept_areas, pointing, retrieval

ORDER = ("raw", "aspects", "local", "make", "published", "released")
BEFORE = {"aspects": "raw", "local": "aspects", "make": "local", "released": "published"}
"""The row that differs by one part."""


def run(row: str, seed: int, args: argparse.Namespace) -> Path:
    """Trains one row from one seed, unless it is there; returns its folder."""
    folder: Path = args.out / f"{row}_{seed}_{args.epochs}"
    if not (folder / "weights" / "manifest.json").exists():
        command = [sys.executable, "-m", "clarify.training.make.train", "--data", str(args.data)]
        command += ["--parts", row, "--seed", str(seed), "--epochs", str(args.epochs), "--every", "1000"]
        command += ["--checkpoints", str(folder), "--out", str(folder / "weights")]
        command += ["--threads", str(args.threads)]
        subprocess.run([*command, "--cache", str(args.cache)], check=True)
    return folder / "weights"


def score(weights: Path, side: Pictures, lesions: Pictures) -> dict[str, float]:
    """The figures of one run."""
    encoder = DualEncoder.load(weights)
    concepts, images = Concepts(encoder), vectors(encoder, side.pixels)
    labels = np.array([LABELS.index(known.label) for known in side.known], np.int64)
    named = by_name(concepts, images, labels, {})
    found = retrieval(encoder, images, captions_of(side.known))
    painted = concept_areas(concepts, vectors(encoder, lesions.pixels), lesions.known)
    return {
        "accuracy": named["accuracy"]["value"],
        "balanced accuracy": named["balanced accuracy"]["value"],
        "concepts, HAM10000": concept_areas(concepts, images, side.known)["mean"]["value"],
        "concepts, drawn": painted["mean"]["value"],
        "picture to text R@10": found["picture to text R@10"]["value"],
        "text to picture R@10": found["text to picture R@10"]["value"],
        "pointing": pointing(encoder, side)["hit"]["value"],
    }


def interval(values: np.ndarray) -> str:
    """Mean and 95 % interval of Student's t of (seeds,)."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/make/ablation"))
    parser.add_argument("--cache", type=Path, default=Path("runs/make/cache"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    assert set(ORDER) == set(ROWS)
    side, lesions = ham(args.data, "val", args.cache), drawn(200, 3, args.cache)
    table: dict[str, list[dict[str, float]]] = {row: [] for row in ORDER}
    runs = [(row, seed) for seed in range(args.seeds) for row in ORDER]
    with ThreadPoolExecutor(args.jobs) as pool:
        folders = list(pool.map(lambda one: run(*one, args), runs))
    for (row, seed), folder in zip(runs, folders, strict=True):
        found = score(folder, side, lesions)
        table[row].append(found)
        print(json.dumps({"row": row, "seed": seed, **found}), flush=True)
    for name in table["raw"][0]:
        print(name)
        values = {row: np.array([found[name] for found in table[row]]) for row in ORDER}
        for row in ORDER:
            more = interval(values[row] - values[BEFORE[row]]) if row in BEFORE else ""
            print(f"  {row:10s} {interval(values[row])}" + (f"   less {BEFORE[row]}: {more}" if more else ""))


if __name__ == "__main__":
    main()
