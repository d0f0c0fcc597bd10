"""HAM10000 pictures with their lesion masks, and augmentation of both alike."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..specialist.data import Split, colour_jitter, load_split, random_affine


def load_pairs(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one side of ``clean_split``.

    Args:
        data: Folder with ``images_200x150.zip``, ``masks_200x150.zip`` and ``metadata.csv``.
        split: ``train``, ``val`` or ``test``.

    Returns:
        Pictures uint8 (n, 150, 200, 3) and masks bool (n, 150, 200).
    """
    side = load_split(data, split)
    return side.images, load_masks(data, side)


def load_masks(data: Path, side: Split) -> np.ndarray:
    """Decodes the masks of pictures that are there already, bool (n, 150, 200)."""
    masks = np.empty(side.images.shape[:3], bool)
    with zipfile.ZipFile(data / "masks_200x150.zip") as archive:
        by_stem = {Path(name).stem: name for name in archive.namelist()}
        for i, name in enumerate(side.ids):
            with Image.open(io.BytesIO(archive.read(by_stem[name]))) as mask:
                masks[i] = np.asarray(mask.convert("L")) >= 128
    return masks


def augment(
    pixels: np.ndarray, masks: np.ndarray, size: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A training batch: full rotations, flips, scale and shift of picture and mask, colour of the picture.

    Args:
        pixels: uint8 (n, h, w, 3).
        masks: bool (n, h, w).
        size: (height, width) of the network's input.
        generator: Source of chance.

    Returns:
        Pictures float (n, 3, height, width) in 0..1, masks float (n, 1, height, width) in 0..1.
    """
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    both = torch.cat([images, torch.from_numpy(masks)[:, None].float()], 1)
    both = random_affine(both, size, generator, zoom=(0.9, 0.35), shift=0.2)
    return colour_jitter(both[:, :3], generator, 1.3), both[:, 3:]
