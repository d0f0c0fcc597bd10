"""Does the specialist need the places that are marked as where it looked?

    python -m clarify.bench.attention --data HAM10000 [--weights FOLDER] [--n 300] [--share 0.2]

Of each picture of the test side the fifth that `tools.where` marks most is painted over with the colour of
the picture's rim, and the same shape elsewhere, chosen by chance. Printed is how much the probability of the
label falls each way, and the share of pictures in which the marked place counts more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..tools.calibration import probabilities
from ..tools.specialist import DEFAULT, Specialist, views
from ..tools.where import where
from ..training.intervals import share
from ..training.specialist.data import load_split


def shares(specialist: Specialist, image: Image.Image) -> NDArray[np.float64]:
    """Calibrated probabilities of a picture, in scope or not."""
    logits, _ = specialist.logits_and_features(views(image))
    return probabilities(logits.mean(0), specialist.fitted.temperature, specialist.fitted.offset)


def painted(pixels: NDArray[np.uint8], place: NDArray[np.bool_]) -> Image.Image:
    """A picture with a place painted in the median colour of its rim."""
    out = pixels.copy()
    rim = np.concatenate([pixels[:6].reshape(-1, 3), pixels[-6:].reshape(-1, 3)])
    out[place] = np.median(rim, 0).astype(np.uint8)
    return Image.fromarray(out)


def elsewhere(place: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The same shape moved by chance, around the edges of the picture."""
    down, across = rng.integers(0, place.shape[0]), rng.integers(0, place.shape[1])
    return np.roll(place, (int(down), int(across)), (0, 1))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--share", type=float, default=0.2, help="share of the picture that is painted over")
    args = parser.parse_args()
    expert, side = Specialist.load(args.weights), load_split(args.data, "test")
    rng = np.random.default_rng(0)
    falls = []
    for row in rng.permutation(len(side.labels))[: args.n]:
        pixels = side.images[row]
        before = shares(expert, Image.fromarray(pixels))
        at = int(before.argmax())
        heat = where(expert, Image.fromarray(pixels), expert.labels[at])
        marked = heat >= np.quantile(heat, 1 - args.share)
        moved = elsewhere(marked, rng)
        after = [shares(expert, painted(pixels, place))[at] for place in (marked, moved)]
        falls.append([before[at] - p for p in after])
    table = np.array(falls)
    for name, values in (("marked place", table[:, 0]), ("same shape elsewhere", table[:, 1]),
                         ("difference", table[:, 0] - table[:, 1])):  # fmt: skip
        half = 1.96 * values.std() / np.sqrt(len(values))
        print(f"probability falls, {name:22} {values.mean():+.3f} [{values.mean() - half:+.3f}, "
              f"{values.mean() + half:+.3f}]  n = {len(values)}")  # fmt: skip
    wins = int((table[:, 0] > table[:, 1]).sum())
    print(f"the marked place counts more     {share(wins, len(table))}  n = {len(table)}")


if __name__ == "__main__":
    main()
