"""Measured reasons why a picture may be too poor to judge. Plain rules on pixels, no model."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

SMALLEST_SIDE = 100
TOO_DARK = 0.18
TOO_BRIGHT = 0.96
LEAST_CONTRAST = 0.05
LEAST_DETAIL = 0.13


def quality(image: Image.Image) -> list[str]:
    """Judge a picture.

    Detail is the energy that a small blur removes over the energy that a wide blur leaves, both on a copy
    200 pixels wide, so that neither the size of the picture nor its contrast decides. The limits flag fewer
    than one in fifty HAM10000 validation pictures.

    Args:
        image: RGB, any size.

    Returns:
        Any of ``too small``, ``too dark``, ``too bright``, ``too little contrast``, ``blurred``; empty when
        fine.
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
    return reasons


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
