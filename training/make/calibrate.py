"""Fits each concept's score to what is known of pictures that were not learnt from.

    python -m clarify.training.make.calibrate --data HAM10000 [--weights FOLDER]

Colours and outline are fitted on the val side of HAM10000 and drawn lesions together, structures, which no
mask knows, on drawn lesions alone: on photographs their scores are unproven.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ...tools.concepts.concepts import CALIBRATION, Concepts
from ...tools.concepts.encoder import DEFAULT, FILES, DualEncoder, Vectors
from ...tools.weights import write_manifest
from .data import Known, drawn, ham

DRAWN, SEED = 300, 3
LEARNT = 0.65
"""Least area under the curve of a concept that counts as learnt."""


def vectors(encoder: DualEncoder, pixels: np.ndarray, size: int = 64) -> Vectors:
    """Encodes pictures uint8 (n, h, w, 3) in batches, as `Concepts` does; unit vectors (n, d)."""
    starts = range(0, len(pixels), size)
    parts = [
        encoder.pictures([Image.fromarray(p) for p in pixels[i : i + size]], turned=True) for i in starts
    ]
    return np.concatenate(parts)


def truths(known: Sequence[Known], concept: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of which a concept is known, and whether it is there."""
    rows = np.array([i for i, one in enumerate(known) if concept in one.concepts], dtype=np.int64)
    return rows, np.array([known[i].concepts[concept] for i in rows], dtype=bool)


def fit(concepts: Concepts, images: Vectors, known: Sequence[Known]) -> dict[str, tuple[float, float]]:
    """Slope and offset of each concept's margin (Platt 1999), classes weighted alike.

    A score of 0.5 then parts pictures with and without a concept; how common it is in the fit says nothing
    of how common it is elsewhere. A concept that was not learnt (`LEARNT`) has 0.5 everywhere, which is never
    spoken of.
    """
    fitted = {}
    for concept, margins in concepts.margins(images).items():
        rows, there = truths(known, concept)
        model = LogisticRegression(class_weight="balanced").fit(margins[rows, None], there)
        learnt = roc_auc_score(there, margins[rows]) >= LEARNT
        fitted[concept] = (float(model.coef_[0, 0]), float(model.intercept_[0])) if learnt else (0.0, 0.0)
    return fitted


def calibrate(folder: Path, data: Path, cache: Path | None) -> None:
    """Writes `concepts.json` beside the weights and the manifest of all."""
    concepts = Concepts(DualEncoder.load(folder))
    sides = ham(data, "val", cache), drawn(DRAWN, SEED, cache)
    images = np.concatenate([vectors(concepts.encoder, side.pixels) for side in sides])
    fitted = fit(concepts, images, [one for side in sides for one in side.known])
    text = json.dumps({name: [round(v, 5) for v in pair] for name, pair in fitted.items()}, indent=1)
    (folder / CALIBRATION).write_text(text + "\n", encoding="utf-8")
    write_manifest(folder, [*FILES, CALIBRATION])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--cache", type=Path, default=Path("runs/make/cache"))
    args = parser.parse_args()
    calibrate(args.weights, args.data, args.cache)


if __name__ == "__main__":
    main()
