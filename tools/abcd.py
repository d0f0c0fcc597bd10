"""Asymmetry, border, colours and diameter of a marked lesion: measures, no diagnosis.

After the ABCD rule of dermoscopy (Stolz et al. 1994, Eur J Dermatol 4:521-527), computed with scikit-image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .segmenter import Mask

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255), "red": (255, 0, 0), "light brown": (205, 133, 63),
    "dark brown": (101, 67, 33), "blue-grey": (0, 134, 139), "black": (0, 0, 0),
}  # fmt: skip
"""The rule's six colours; sRGB values as Kasmi and Mokrani use them (2016, IET Image Process 10:448)."""
LEAST_SHARE = 0.05
"""Share of the lesion from which a colour counts as present."""
_WIDEST = 400


@dataclass(frozen=True)
class Abcd:
    """What is measured of one lesion; the fields of `clarify segment`.

    Attributes:
        area_fraction: Share of the picture that is lesion, 0..1.
        asymmetry: Share of the lesion that does not fall on itself when folded along its two main axes,
            mean of both, 0 (symmetric) to 1 (Stoecker et al. 1992, Comput Med Imaging Graph 16:191).
        border_irregularity: Perimeter squared over 4 pi times area: 1 for a circle, more for a ragged border
            (Golston et al. 1992, Comput Med Imaging Graph 16:199).
        colours: Those of the rule's six that cover at least 5 % of it, the widest first.
        diameter_px: Largest distance between two points of its border, in pixels of the picture.
        diameter_mm: The same in millimetres where the scale is known.
    """

    area_fraction: float
    asymmetry: float | None
    border_irregularity: float | None
    colours: list[str]
    diameter_px: float
    diameter_mm: float | None = None


def measure(image: Image.Image, mask: Mask, mm_per_px: float | None = None) -> Abcd:
    """Measures a lesion.

    Args:
        image: RGB.
        mask: (height, width), true on the lesion, in one piece.
        mm_per_px: Millimetres that a pixel of the picture is wide, where that is known.

    Returns:
        The measures; of an empty mask there is neither asymmetry nor border.

    Raises:
        ValueError: The mask is of another size than the picture.
    """
    from skimage.measure import perimeter_crofton, regionprops

    if mask.shape != (image.height, image.width):
        raise ValueError(f"a mask of {mask.shape} does not fit a picture of {image.height} x {image.width}")
    if not mask.any():
        return Abcd(0.0, None, None, [], 0.0, None if mm_per_px is None else 0.0)
    region = regionprops(np.pad(mask, 1).astype(np.uint8))[0]
    around = float(perimeter_crofton(np.pad(mask, 1), directions=4))
    diameter = float(region.feret_diameter_max)
    return Abcd(
        area_fraction=float(mask.mean()),
        asymmetry=asymmetry(mask),
        border_irregularity=around**2 / (4 * math.pi * float(region.area)),
        colours=colours(np.asarray(image.convert("RGB")), mask),
        diameter_px=diameter,
        diameter_mm=None if mm_per_px is None else diameter * mm_per_px,
    )


def asymmetry(mask: Mask) -> float:
    """Folds a mask along its main axes: mean share of it that falls beside itself, 0..1."""
    from skimage.measure import regionprops
    from skimage.transform import SimilarityTransform, warp

    scale = min(1.0, _WIDEST / max(mask.shape))
    region = regionprops(mask.astype(np.uint8))[0]
    side = math.ceil(2 * scale * math.hypot(*mask.shape)) | 1
    row, column = region.centroid
    middle = SimilarityTransform(translation=(-(side - 1) / 2, -(side - 1) / 2))
    turned = SimilarityTransform(scale=1 / scale, rotation=-region.orientation)
    back = middle + turned + SimilarityTransform(translation=(column, row))
    upright = warp(mask.astype(np.float64), back, output_shape=(side, side), order=1) > 0.5
    area = max(1, int(upright.sum()))
    beside = [int((upright & ~np.flip(upright, axis)).sum()) / area for axis in (0, 1)]
    return float(np.mean(beside))


def colours(pixels: NDArray[np.uint8], mask: Mask) -> list[str]:
    """Names the colours of a lesion: each pixel's nearest of `COLOURS` in CIELAB, by its share."""
    from skimage.color import rgb2lab

    lesion = pixels[mask]
    lesion = lesion[:: max(1, len(lesion) // 20000)]
    reference = rgb2lab(np.array(list(COLOURS.values()), np.uint8)[None])[0]
    lab = rgb2lab(lesion[None])[0]
    nearest = np.linalg.norm(lab[:, None] - reference[None], axis=-1).argmin(1)
    shares = np.bincount(nearest, minlength=len(COLOURS)) / len(nearest)
    names = list(COLOURS)
    return [names[i] for i in np.argsort(-shares, kind="stable") if shares[i] >= LEAST_SHARE]
