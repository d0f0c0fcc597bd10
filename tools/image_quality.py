"""Measured reasons why a picture may be too poor to judge. Plain rules on pixels, no model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SMALLEST_SIDE = 100
TOO_DARK = 0.18
TOO_BRIGHT = 0.96
LEAST_CONTRAST = 0.05
LEAST_DETAIL = 0.13
MOST_HAIR = 0.03
MOST_CUT = 0.2


def quality(image: Image.Image) -> list[str]:
    """Judge a picture.

    Detail is the energy that a small blur removes over the energy that a wide blur leaves, both on a copy
    200 pixels wide, so that neither the size of the picture nor its contrast decides. Each limit flags fewer
    than one in forty HAM10000 validation pictures.

    Args:
        image: RGB, any size.

    Returns:
        Any of ``too small``, ``too dark``, ``too bright``, ``too little contrast``, ``blurred``, ``hair``;
        empty when fine.
    """
    reasons = ["too small"] if min(image.size) < SMALLEST_SIDE else []
    small = small_grey(image)
    grey = np.asarray(small, np.float32) / 255
    light, contrast = float(np.median(grey)), float(np.percentile(grey, 98) - np.percentile(grey, 2))
    if light < TOO_DARK:
        reasons.append("too dark")
    if light > TOO_BRIGHT:
        reasons.append("too bright")
    if contrast < LEAST_CONTRAST:
        reasons.append("too little contrast")
    elif detail(small) < LEAST_DETAIL:
        reasons.append("blurred")
    elif hair(grey) > MOST_HAIR:
        reasons.append("hair")
    return reasons


def cut_off(mask: NDArray[np.bool_]) -> list[str]:
    """``lesion cut off`` where the frame makes up more than a fifth of a lesion's outline.

    Args:
        mask: (height, width), true on the lesion.
    """
    if not mask.any():
        return []
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    frame = int(mask[[0, -1]].sum() + mask[1:-1, [0, -1]].sum())
    edge = int(mask[1:-1, 1:-1].sum() - inner.sum()) + frame
    return ["lesion cut off"] if frame / edge > MOST_CUT else []


def hair(grey: NDArray[np.floating[Any]]) -> float:
    """Share of a picture that is dark hair: long thin dark lines, after DullRazor (Lee et al. 1997).

    A closing along a line fills a hair that crosses it and leaves one that lies along it, while it fills a
    dot either way; what is left is hair where it hangs together over an eighth of the picture's width.

    Args:
        grey: (h, 200), 0..1.
    """
    from scipy.ndimage import find_objects, grey_closing, label

    flat = np.zeros((9, 9), bool)
    flat[4] = True
    lines = (np.eye(9, dtype=bool), np.eye(9, dtype=bool)[::-1], flat, flat.T)
    filled = np.stack([grey_closing(grey, footprint=line) for line in lines])
    dark = filled.max(0) - filled.min(0) > 0.07
    pieces, count = label(dark, np.ones((3, 3)))
    area = np.bincount(pieces.ravel(), minlength=count + 1)
    total = 0
    for number, (rows, columns) in enumerate(find_objects(pieces), 1):
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        long = float(np.hypot(high, wide))
        filled_most = 0.4 if long >= 180 else 0.12  # a net over the whole frame, or a few hairs that cross
        if long >= 25 and area[number] <= max(3 * long, filled_most * high * wide):
            total += int(area[number])
    return total / grey.size


def small_grey(image: Image.Image) -> Image.Image:
    """A greyscale copy 200 pixels wide."""
    size = (200, max(1, round(200 * image.height / image.width)))
    return image.convert("L").resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)


def detail(small: Image.Image) -> float:
    """Share of fine structure of a greyscale picture 200 pixels wide; 0 for a flat or wholly blurred one."""
    planes = [
        np.asarray(small.filter(ImageFilter.GaussianBlur(radius)) if radius else small, np.float32)
        for radius in (0.0, 1.0, 4.0)
    ]
    fine, coarse = (planes[0] - planes[1]).std(), (planes[1] - planes[2]).std()
    return float(fine / (coarse + 0.3))
