"""HAM10000 pictures as one uint8 array, and augmentation done on whole batches."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

LABELS: tuple[str, ...] = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


@dataclass(frozen=True)
class Split:
    """One side of the split.

    Attributes:
        images: uint8 array, (n, 150, 200, 3), RGB.
        labels: int64 array, (n,), index into ``LABELS``.
        ids: the ``image_id`` of each row.
        patients: what is known of each row's patient: any of ``age`` in years, ``sex``, ``site``.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    patients: tuple[dict[str, Any], ...]


def load_split(data: Path, split: str, column: str = "clean_split") -> Split:
    """Decode every picture of one side of the split once.

    Args:
        data: folder with ``images_200x150.zip`` and ``metadata.csv``.
        split: ``train``, ``val`` or ``test``.
        column: which split of the metadata; ``clean_split`` has no lesion on two sides.

    Returns:
        The pictures in the order of the metadata.
    """
    with (data / "metadata.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row[column] == split]
    images = np.empty((len(rows), 150, 200, 3), dtype=np.uint8)
    with zipfile.ZipFile(data / "images_200x150.zip") as archive:
        by_stem = {Path(name).stem: name for name in archive.namelist()}
        for i, row in enumerate(rows):
            with Image.open(io.BytesIO(archive.read(by_stem[row["image_id"]]))) as picture:
                images[i] = np.asarray(picture.convert("RGB"))
    labels = np.array([LABELS.index(row["dx"]) for row in rows], dtype=np.int64)
    return Split(images, labels, tuple(row["image_id"] for row in rows), tuple(map(patient, rows)))


def patient(row: Mapping[str, str]) -> dict[str, Any]:
    """The patient of a row of the metadata; an age of 0 stands for an unknown one."""
    known: dict[str, Any] = {"sex": row["sex"], "site": row["localization"]}
    if float(row["age"] or 0) > 0:
        known["age"] = float(row["age"])
    return {name: value for name, value in known.items() if value != "unknown"}


def affine(
    images: Tensor, angle: Tensor, scale: Tensor, flip: Tensor, shift: Tensor, size: tuple[int, int]
) -> Tensor:
    """Rotate, scale, flip and shift a batch, resampling once into the network's frame.

    Args:
        images: float (n, 3, h, w).
        angle: radians, (n,).
        scale: zoom, (n,); above 1 shows less of the picture.
        flip: +1 or -1, (n,), left-right.
        shift: (n, 2), fractions of half the frame.
        size: (height, width) to return.

    Returns:
        float (n, 3, height, width); what lies outside is mirrored.
    """
    n, _, height, width = images.shape
    ratio = width / height
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = images.new_empty(n, 2, 3)
    theta[:, 0, 0] = cos * flip
    theta[:, 0, 1] = -sin / ratio
    theta[:, 1, 0] = sin * ratio * flip
    theta[:, 1, 1] = cos
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [n, 3, *size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_affine(
    images: Tensor, size: tuple[int, int], generator: torch.Generator, zoom: tuple[float, float], shift: float
) -> Tensor:
    """Any rotation and flip, some zoom and shift, each picture its own.

    Args:
        images: float (n, c, h, w).
        size: (height, width) to return.
        generator: source of chance.
        zoom: (least, width): the logarithm of the scale is drawn from (2 u - least) * width, u in 0..1.
        shift: largest, in fractions of half the frame.
    """
    uniform = torch.rand(len(images), 5, generator=generator).to(images.device)
    return affine(
        images,
        angle=uniform[:, 0] * 2 * math.pi,
        scale=torch.exp((2 * uniform[:, 1] - zoom[0]) * zoom[1]),
        flip=(uniform[:, 2] < 0.5).float() * 2 - 1,
        shift=(uniform[:, 3:5] * 2 - 1) * shift,
        size=size,
    )


def colour_jitter(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Brightness, contrast, saturation and white balance, each picture its own.

    Args:
        images: float (n, 3, h, w) in 0..1.
        generator: source of chance.
        strength: 1 is the strength used in training.

    Returns:
        The same shape, clamped to 0..1.
    """
    n = images.shape[0]

    def around_one(width: float, channels: int = 1) -> Tensor:
        drawn = torch.rand(n, channels, 1, 1, generator=generator).to(images.device)
        return 1 + strength * width * (2 * drawn - 1)

    images = images * around_one(0.2) * around_one(0.06, 3)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * around_one(0.2)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * around_one(0.25)
    return images.clamp_(0, 1)


def erase(images: Tensor, generator: torch.Generator, chance: float = 0.25) -> Tensor:
    """Random erasing (Zhong et al. 2017, arXiv:1708.04896), filled with the picture's mean colour."""
    n, _, height, width = images.shape
    draw = torch.rand(n, 5, generator=generator).to(images.device)
    area, aspect = (0.02 + 0.16 * draw[:, 1]) * height * width, 2.5 ** (2 * draw[:, 2] - 1)
    tall, wide = (area * aspect).sqrt().clamp(max=height - 1), (area / aspect).sqrt().clamp(max=width - 1)

    def inside(least: Tensor, length: Tensor, extent: int) -> Tensor:
        places = torch.arange(extent, device=images.device) + 0.5
        return (places > least[:, None]) & (places < (least + length)[:, None])

    rows, columns = (
        inside(draw[:, 3] * (height - tall), tall, height),
        inside(draw[:, 4] * (width - wide), wide, width),
    )
    hidden = rows[:, :, None] & columns[:, None] & (draw[:, 0] < chance)[:, None, None]
    return torch.where(hidden[:, None], images.mean((2, 3), keepdim=True), images)


def augment(
    pixels: Tensor, masks: Tensor, size: tuple[int, int], generator: torch.Generator, colour: float = 1.0
) -> tuple[Tensor, Tensor]:
    """A training batch: full rotations, flips, scale and shift of picture and mask; colour, erasing.

    Args:
        pixels: uint8 (n, h, w, 3).
        masks: (n, 1, h, w), true on the lesion.
        size: (height, width) of the network's input.
        generator: source of chance, on the CPU, wherever the pictures are.
        colour: strength of `colour_jitter`.

    Returns:
        Pictures float (n, 3, height, width) in 0..1, masks float (n, 1, height, width) in 0..1.
    """
    images = pixels.permute(0, 3, 1, 2).float().div_(255)
    both = torch.cat([images, masks.float()], 1)
    both = random_affine(both, size, generator, zoom=(0.75, 0.3), shift=0.08)
    return erase(colour_jitter(both[:, :3], generator, colour), generator), both[:, 3:]


def resize(pixels: np.ndarray, size: tuple[int, int]) -> Tensor:
    """The inference resize (antialiased bilinear by Pillow), as ``tools.specialist`` does it.

    Args:
        pixels: uint8 (n, h, w, 3).
        size: (height, width).

    Returns:
        float (n, 3, height, width) in 0..1.
    """
    out = np.empty((len(pixels), *size, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        out[i] = np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.from_numpy(out).permute(0, 3, 1, 2).float().div_(255)
