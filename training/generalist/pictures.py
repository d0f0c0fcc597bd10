"""The pictures of the training dialogues, at nano's 64 x 64, with what the specialist really said about them.

    python -m clarify.training.generalist.pictures --ham10000 FOLDER --out runs/pictures.npz

Lesions are HAM10000 (`clean_split`: train and val for training dialogues, test for test dialogues);
everything that is
not a lesion is drawn by `clarify.training.synthetic`. The specialist is run on val and test alone: on its
own training
pictures it is right far too often to teach doubt.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .dialogues import Kind
from .model import PICTURE_SIZE, image_processor
from .world import Split

SKIN = ("rash", "bare limb", "face")
"""Scenes of `clarify.training.specialist.scenes` that show skin, though not through a dermatoscope."""


@dataclass
class PictureBank:
    """Pictures by kind and split.

    Attributes:
        pixels: uint8, (n, 3, 64, 64).
        kind, split: One word for each picture.
        probabilities: The specialist's calibrated probabilities, (n, labels), NaN where it was not run.
        names: Display names of its labels.
    """

    pixels: np.ndarray
    kind: np.ndarray
    split: np.ndarray
    probabilities: np.ndarray
    names: list[str]

    def __post_init__(self) -> None:
        self._index = {
            (k, s): np.flatnonzero((self.kind == k) & (self.split == s))
            for k in ("lesion", "skin_other", "not_skin")
            for s in ("train", "test")
        }
        known = ~np.isnan(self.probabilities[:, 0])
        self._judged = {
            s: np.flatnonzero(known & (self.kind == "lesion") & (self.split == s)) for s in ("train", "test")
        }

    @classmethod
    def load(cls, path: Path) -> PictureBank:
        """Reads a bank written by `main`."""
        with np.load(path) as held:
            return cls(
                held["pixels"],
                held["kind"],
                held["split"],
                held["probabilities"],
                list(map(str, held["names"])),
            )

    def draw(self, rng: random.Random, kind: Kind, split: Split) -> tuple[int, Mapping[str, float] | None]:
        """Draws a picture of a kind; a lesion is one the specialist judged half the time."""
        pool = self._index[(kind, split)]
        if kind == "lesion" and len(self._judged[split]) and rng.random() < 0.5:
            pool = self._judged[split]
        index = int(pool[rng.randrange(len(pool))])
        row = self.probabilities[index]
        if np.isnan(row[0]):
            return index, None
        return index, {name: float(p) for name, p in zip(self.names, row, strict=True)}

    def tensor(self, indices: Sequence[int]) -> Tensor:
        """Returns normalised pictures, float32 in -1..1, (n, 3, 64, 64)."""
        return torch.from_numpy(self.pixels[list(indices)]).float().div_(127.5).sub_(1)


def small(image: Image.Image) -> np.ndarray:
    """Shrinks a picture exactly as the processor does at inference; uint8, (3, 64, 64)."""
    pixels = image_processor()(images=[[image.convert("RGB")]], return_tensors="pt")["pixel_values"][0, 0]
    assert tuple(pixels.shape) == (3, PICTURE_SIZE, PICTURE_SIZE), pixels.shape
    return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def main() -> None:
    """Builds the bank."""
    from ...tools.specialist import Specialist
    from ..specialist.scenes import LEARNT, draw_many
    from ..synthetic import draw_lesion, random_spec

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ham10000", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/pictures.npz"))
    parser.add_argument(
        "--drawn", type=int, default=150, help="drawn pictures of each scene; one in five is for test"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    specialist = Specialist.load()
    labels = list(specialist.names)
    rows: list[tuple[np.ndarray, str, str, list[float]]] = []
    blank = [float("nan")] * len(labels)
    archive = zipfile.ZipFile(args.ham10000 / "images_200x150.zip")
    members = {Path(name).stem: name for name in archive.namelist()}
    with (args.ham10000 / "metadata.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            image = Image.open(io.BytesIO(archive.read(members[row["image_id"]]))).convert("RGB")
            judged = blank
            if row["clean_split"] != "train":
                found = specialist.classify(image).probabilities
                judged = [found[label] for label in labels] if found else blank
            rows.append((small(image), "lesion", "test" if row["clean_split"] == "test" else "train", judged))
    for family, drawn in draw_many(LEARNT, args.drawn, args.seed).items():
        kind = "skin_other" if family in SKIN else "not_skin"
        for number, picture in enumerate(drawn):
            rows.append(
                (small(Image.fromarray(picture)), kind, "test" if number % 5 == 0 else "train", blank)
            )
    rng = np.random.default_rng(args.seed)
    for number in range(2 * args.drawn):
        drawn_lesion = draw_lesion(random_spec(rng), seed=args.seed + number, size=(150, 200)).picture
        rows.append((small(drawn_lesion), "lesion", "test" if number % 5 == 0 else "train", blank))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pixels, kinds, splits, probabilities = zip(*rows, strict=True)
    np.savez(
        args.out,
        pixels=np.stack(pixels),
        kind=np.array(kinds),
        split=np.array(splits),
        probabilities=np.array(probabilities, dtype=np.float32),
        names=np.array([specialist.names[label] for label in labels]),
    )
    print(
        {k: kinds.count(k) for k in set(kinds)},
        "judged",
        int((~np.isnan(np.array(probabilities)[:, 0])).sum()),
    )


if __name__ == "__main__":
    main()
