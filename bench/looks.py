"""Both looks of the specialist at a side of HAM10000, computed once for all benches of sight."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..tools.calibration import probabilities
from ..tools.specialist import Specialist
from ..training.specialist.card import read_side
from ..training.specialist.data import Split, load_split

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """What the specialist gave for every picture of a side, whether in scope or not.

    Attributes:
        expert: Whose looks they are.
        side: The pictures, labels and patients.
        first: Mean logits of `Specialist.classify`, (n, classes).
        second: Mean logits of `Specialist.second_look`, (n, classes).
        scope: Scope scores, (n,).
    """

    expert: Specialist
    side: Split
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    scope: NDArray[np.float32]

    def shares(self, *, second: bool = False, patient: bool = False) -> Floats:
        """Calibrated probabilities of one look, perhaps with what is known of the patients, (n, classes)."""
        fitted = self.expert.fitted
        offset: Any = np.asarray(fitted.offset)
        if patient and fitted.patient is not None:
            offset = offset + fitted.patient.shifts(self.side.patients)
        logits = self.second if second else self.first
        return probabilities(logits, fitted.limits(second=second).temperature, offset)


def archive(data: Path) -> Iterator[tuple[Image.Image, str]]:
    """Pictures of the other archive with their label, ``mel`` or ``nv``, in the order of their names.

    Args:
        data: The folder with ``images_180.zip`` and ``labels.csv``.
    """
    with (data / "labels.csv").open(newline="") as handle:
        truth = {row["image_id"]: row["dx"] for row in csv.DictReader(handle)}
    with zipfile.ZipFile(data / "images_180.zip") as pictures:
        for name in sorted(n for n in pictures.namelist() if Path(n).stem in truth):
            with Image.open(io.BytesIO(pictures.read(name))) as picture:
                yield picture.convert("RGB"), truth[Path(name).stem]


def looks(folder: Path, data: Path, split: str, kept: Path = Path("runs/looks")) -> Looks:
    """Reads a side, or what was kept of an earlier reading with the same weights.

    Args:
        folder: Exported weights.
        data: The HAM10000 folder.
        split: ``val`` or ``test`` of ``clean_split``.
        kept: Folder for the logits, by the hash of the weights and of the scope head.
    """
    from ..hashing import file_sha256

    expert, side = Specialist.load(folder), load_split(data, split)
    name = f"{split}-{expert.sha256[:12]}-{file_sha256(folder / 'scope.safetensors')[:12]}.npz"
    if not (kept / name).exists():
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(kept / name, **dict(zip(("first", "second", "scope"), read_side(expert, side), strict=True)))
    with np.load(kept / name) as file:
        return Looks(expert, side, file["first"], file["second"], file["scope"])
