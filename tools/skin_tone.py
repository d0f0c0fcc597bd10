"""How light the skin of a picture is: the individual typology angle around the lesion.

ITA = arctan((L* - 50) / b*) in degrees (Chardon et al. 1991, Int J Cosmet Sci 13:191): above 55 very light,
41 to 55 light, 28 to 41 intermediate, 10 to 28 tan, -30 to 10 brown, below dark. Dermoscopes light and
colour skin each in their own way, so the angle of a picture says little by itself; that it lies outside what
a classifier was trained on says that its figures do not hold there.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

OUTSIDE = "skin tone outside the training range"
Box = tuple[int, int, int, int]
_LEAST_PIXELS = 40


def typology_angle(image: Image.Image, lesion: Box) -> float | None:
    """Measures the skin beside a lesion.

    Args:
        image: RGB, any size.
        lesion: (left, top, right, bottom) in its pixels; what lies inside is left out, as are dark corners.

    Returns:
        The median angle in degrees, -90 to 90; None where too little skin is seen.
    """
    from skimage.color import rgb2lab

    small = image.convert("RGB").resize((80, 60), Image.Resampling.BOX, reducing_gap=3.0)
    ys, xs = np.mgrid[0:60, 0:80] + 0.5
    left, top, right, bottom = (
        edge * n / full
        for edge, n, full in zip(lesion, (80, 60, 80, 60), (*image.size, *image.size), strict=True)
    )
    inside = (xs > left) & (xs < right) & (ys > top) & (ys < bottom)
    seen = ~inside & (np.hypot((ys - 30) / 30, (xs - 40) / 40) < 1)
    lab = rgb2lab(np.asarray(small))[seen]
    lab = lab[(lab[:, 0] > 10) & (lab[:, 0] < 97)]  # neither hair and gel bubbles' shade nor glare
    if len(lab) < _LEAST_PIXELS:
        return None
    light, yellow = float(np.median(lab[:, 0])), float(np.median(lab[:, 2]))
    return float(np.degrees(np.arctan2(light - 50, max(yellow, 1e-3))))


def outside(angle: float | None, trained: tuple[float, float]) -> list[str]:
    """The reason to distrust a picture whose skin is lighter or darker than any that was learnt from."""
    low, high = trained
    return [] if angle is None or low <= angle <= high else [OUTSIDE]
