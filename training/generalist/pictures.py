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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import BadInput
from ...tools.concepts.encoder import DualEncoder
from ...tools.specialist import Specialist
from ..specialist.scenes import LEARNT, draw_many
from ..synthetic import draw_lesion, random_spec
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
        what: What each shows: the name of the lesion's label, or the family of the scene.
        seen: What an encoder made of each at full size, unit vectors (n, d): the tower is pretrained on it.
    """

    pixels: np.ndarray
    kind: np.ndarray
    split: np.ndarray
    probabilities: np.ndarray
    names: list[str]
    what: np.ndarray
    seen: np.ndarray

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
        """Reads a bank written by `main`.

        Raises:
            BadInput: An older version wrote it.
        """
        with np.load(path) as held:
            if missing := {field.name for field in fields(cls)} - set(held):
                raise BadInput(
                    f"{path} lacks {', '.join(sorted(missing))}",
                    hint="Write it again with clarify.training.generalist.pictures.",
                )
            columns = {field.name: held[field.name] for field in fields(cls)}
        return cls(**columns | {"names": list(map(str, columns["names"]))})

    def save(self, path: Path) -> None:
        """Writes what `load` reads."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{field.name: np.asarray(getattr(self, field.name)) for field in fields(self)})

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


class Shown(NamedTuple):
    """One picture of the bank to be, what it shows, and what the specialist said where it was asked."""

    image: Image.Image
    kind: Kind
    split: Split
    what: str
    judged: Sequence[float]


def lesions(ham10000: Path, specialist: Specialist) -> Iterator[Shown]:
    """HAM10000; what the specialist did not learn from, it judges."""
    labels = list(specialist.names)
    archive = zipfile.ZipFile(ham10000 / "images_200x150.zip")
    members = {Path(name).stem: name for name in archive.namelist()}
    with (ham10000 / "metadata.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            image = Image.open(io.BytesIO(archive.read(members[row["image_id"]]))).convert("RGB")
            found = specialist.classify(image).probabilities if row["clean_split"] != "train" else {}
            judged = [found.get(label, float("nan")) for label in labels]
            split: Split = "test" if row["clean_split"] == "test" else "train"
            yield Shown(image, "lesion", split, specialist.names[row["dx"]], judged)


def drawings(each: int, seed: int, labels: int) -> Iterator[Shown]:
    """Drawn scenes, `each` of a family, and twice as many drawn lesions; one in five is for test."""
    blank = [float("nan")] * labels
    for family, drawn in draw_many(LEARNT, each, seed).items():
        kind: Kind = "skin_other" if family in SKIN else "not_skin"
        for number, picture in enumerate(drawn):
            yield Shown(Image.fromarray(picture), kind, _side(number), family, blank)
    rng = np.random.default_rng(seed)
    for number in range(2 * each):
        picture = draw_lesion(random_spec(rng), seed=seed + number, size=(150, 200)).picture
        yield Shown(picture, "lesion", _side(number), "drawn lesion", blank)


def _side(number: int) -> Split:
    return "test" if number % 5 == 0 else "train"


def encoder_of(name: str, specialist: Specialist) -> Callable[[list[Image.Image]], np.ndarray]:
    """What the tower is pretrained on: `make` is the dual encoder, `specialist` the classifier's features.

    Returns:
        From pictures to unit vectors (n, d).
    """
    if name == "make":
        dual = DualEncoder.load()
        return lambda images: dual.pictures(images, turned=True)

    def features(images: list[Image.Image]) -> np.ndarray:
        found = specialist.logits_and_features(images)[1]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    return features


def main() -> None:
    """Builds the bank."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ham10000", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/pictures.npz"))
    parser.add_argument(
        "--drawn", type=int, default=150, help="drawn pictures of each scene; one in five is for test"
    )
    parser.add_argument("--encoder", choices=("make", "specialist"), default="make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    specialist = Specialist.load()
    encoder = encoder_of(args.encoder, specialist)
    shown = chain(lesions(args.ham10000, specialist), drawings(args.drawn, args.seed, len(specialist.names)))
    rows, seen = [], []
    while some := list(islice(shown, 64)):
        rows += [(small(one.image), *one[1:]) for one in some]
        seen.append(encoder([one.image for one in some]).astype(np.float16))
    pixels, kinds, splits, what, judged = map(np.array, zip(*rows, strict=True))
    names = list(specialist.names.values())
    bank = PictureBank(pixels, kinds, splits, judged.astype(np.float32), names, what, np.concatenate(seen))
    bank.save(args.out)
    counts = {str(kind): int((kinds == kind).sum()) for kind in np.unique(kinds)}
    print(counts, "judged", int((~np.isnan(judged[:, 0])).sum()))


if __name__ == "__main__":
    main()
