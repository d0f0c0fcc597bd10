"""A parametric renderer of dermoscopy-like pictures whose lesion, colours and structures are known.

No patient is behind a drawn picture. Each is a pure function of a `LesionSpec` and a seed, and comes with
the lesion mask and the attributes that were drawn, so that programs which measure them have something exact
to be tested on. The vocabulary follows the dermoscopic consensus (Kittler et al. 2016,
doi:10.1016/j.jaad.2015.12.038); the look does not claim more than to be plausible.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

Array = NDArray[Any]

COLOURS: dict[str, tuple[float, float, float]] = {
    "light brown": (0.68, 0.45, 0.32),
    "dark brown": (0.38, 0.20, 0.14),
    "black": (0.13, 0.09, 0.10),
    "blue-grey": (0.45, 0.43, 0.49),
    "red": (0.74, 0.30, 0.30),
    "white": (0.90, 0.83, 0.84),
}
SKINS: dict[str, tuple[float, float, float]] = {
    "fair": (0.86, 0.70, 0.70),
    "pink": (0.84, 0.60, 0.60),
    "grey": (0.74, 0.66, 0.69),
    "tan": (0.76, 0.60, 0.50),
    "brown": (0.55, 0.40, 0.34),
}
STRUCTURES: tuple[str, ...] = ("network", "dots", "veil", "vessels", "scale", "cysts", "hair")


@dataclass(frozen=True)
class LesionSpec:
    """What to draw.

    Attributes:
        skin: a key of ``SKINS``.
        colours: keys of ``COLOURS``; the first fills the lesion, the rest lie in patches.
        radius: mean radius as a fraction of the picture's height, about 0.1 to 0.42.
        elongation: long axis over short axis, 1 is round.
        border_irregularity: 0 smooth to 1 deeply notched.
        asymmetry: 0 mirrored outline and colours to 1 lopsided.
        sharpness: 0 fading border to 1 cut-off border.
        contrast: 0 barely visible to 1 full colour.
        structures: any of ``STRUCTURES``.
        vignette: dark corners, as of a round contact plate.
    """

    skin: str = "fair"
    colours: tuple[str, ...] = ("light brown",)
    radius: float = 0.25
    elongation: float = 1.2
    border_irregularity: float = 0.2
    asymmetry: float = 0.2
    sharpness: float = 0.5
    contrast: float = 0.85
    structures: tuple[str, ...] = ()
    vignette: bool = False


@dataclass(frozen=True)
class DrawnLesion:
    """A drawn picture and everything known about it.

    Attributes:
        picture: RGB.
        mask: uint8 (h, w), 255 inside the lesion.
        spec: what was asked for.
        seed: seed of the drawing.
        area_fraction: lesion pixels over all pixels.
        measured_asymmetry: 1 minus the overlap of the mask with its mirror image, as `fold_asymmetry`.
        compactness: 4 pi area / perimeter squared, 1 for a disc.
        regions: mask of every patch and structure by its name, bool (h, w).
    """

    picture: Image.Image
    mask: NDArray[np.uint8]
    spec: LesionSpec
    seed: int
    area_fraction: float
    measured_asymmetry: float
    compactness: float
    regions: dict[str, NDArray[np.bool_]] = field(repr=False)


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3) -> Array:
    """Smooth noise of zero mean and unit spread; ``cell`` is the coarsest feature in pixels."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(1.0, cell / 2**octave)
        rows, columns = int(height / step) + 3, int(width / step) + 3
        grid = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) * 0.5**octave
    return (total - total.mean()) / (total.std() + 1e-6)


def blur(plane: Array, sigma: float) -> Array:
    """Gaussian blur of one plane; ``sigma`` in pixels."""
    blurred: Array = gaussian_filter(plane.astype(np.float32), sigma, truncate=3)
    return blurred


def smooth_step(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, a cubic between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def mix(base: Array, colour: tuple[float, float, float] | Array, amount: Array) -> Array:
    """Blend a colour over (h, w, 3) by (h, w) amounts in 0..1."""
    return base + (np.asarray(colour, np.float32) - base) * amount[..., None]


def curves(
    rng: np.random.Generator, shape: tuple[int, int], count: int, length: float, width: float, bend: float
) -> Array:
    """Anti-aliased random curves (hairs, vessels) as coverage in 0..1; lengths and widths in pixels."""
    height, columns = shape
    canvas = Image.new("L", (columns * 2, height * 2))
    pen = ImageDraw.Draw(canvas)
    for _ in range(count):
        x, y = rng.uniform(0, columns), rng.uniform(0, height)
        heading, turn = rng.uniform(0, 2 * math.pi), rng.normal(0, bend)
        points = [(2 * x, 2 * y)]
        steps = int(length * rng.uniform(0.5, 1.3) / 6)
        for _ in range(steps):
            heading += turn + rng.normal(0, bend)
            x, y = x + 6 * math.cos(heading), y + 6 * math.sin(heading)
            points.append((2 * x, 2 * y))
        pen.line(points, fill=255, width=max(1, round(2 * width * rng.uniform(0.7, 1.2))), joint="curve")
    return np.asarray(canvas.resize((columns, height), Image.Resampling.BOX), np.float32) / 255


def cells(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Array:
    """Distance to the nearest wall of an irregular honeycomb, in pixels; ``size`` is the width of a hole."""
    height, width = shape
    grid: Array = np.mgrid[-1 : height / size + 1, -1 : width / size + 1]
    seeds = np.stack([grid[0] + 0.5 * (grid[1] % 2), grid[1]], -1).reshape(-1, 2)
    seeds = (seeds + rng.uniform(-0.45, 0.45, seeds.shape)) * size
    pixels = np.moveaxis(np.mgrid[0:height, 0:width], 0, -1).reshape(-1, 2)
    near, _ = cKDTree(seeds).query(pixels, k=2)
    return (0.5 * (near[:, 1] - near[:, 0])).reshape(shape).astype(np.float32)


def dots(rng: np.random.Generator, where: Array, count: int, radius: float) -> Array:
    """Round spots inside ``where`` > 0.6, as coverage in 0..1."""
    height, width = where.shape
    canvas = Image.new("L", (width * 2, height * 2))
    pen = ImageDraw.Draw(canvas)
    inside = np.argwhere(where > 0.6)
    for y, x in inside[rng.integers(0, len(inside), count)] if len(inside) else ():
        r = 2 * radius * rng.uniform(0.6, 1.4)
        pen.ellipse((2 * x - r, 2 * y - r, 2 * x + r, 2 * y + r), fill=255)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32) / 255


def outline(rng: np.random.Generator, spec: LesionSpec, shape: tuple[int, int]) -> Array:
    """Signed depth below the border in units of the radius: above 0 is inside. (h, w)."""
    height, width = shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    y = (ys - height * rng.uniform(0.45, 0.55)) / height
    x = (xs - width * rng.uniform(0.45, 0.55)) / height
    turn = rng.uniform(0, math.pi)
    u = (x * math.cos(turn) + y * math.sin(turn)) / math.sqrt(spec.elongation)
    v = (y * math.cos(turn) - x * math.sin(turn)) * math.sqrt(spec.elongation)
    angle = np.arctan2(v, u)
    radius = np.full(shape, spec.radius, np.float32)
    for k in range(1, 4):  # odd and low waves make the lesion lopsided, high ones notch its border
        radius *= 1 + spec.asymmetry * 0.16 / math.sqrt(k) * np.cos(k * angle + rng.uniform(0, 2 * math.pi))
    for k in range(4, 13):
        size = spec.border_irregularity * 0.085 / math.sqrt(k / 4) * rng.uniform(0.4, 1.2)
        radius *= 1 + size * np.cos(k * angle + rng.uniform(0, 2 * math.pi))
    ragged = noise(rng, shape, height * 0.06, 5) * (0.02 + 0.06 * spec.border_irregularity)
    return (1 - np.hypot(u, v) / radius + ragged).astype(np.float32)


def draw_skin(rng: np.random.Generator, spec: LesionSpec, shape: tuple[int, int]) -> Array:
    """Skin with uneven light, fine furrows and a few small vessels; float (h, w, 3) in 0..1."""
    height = shape[0]
    skin = np.broadcast_to(np.asarray(SKINS[spec.skin], np.float32), (*shape, 3)).copy()
    skin += rng.normal(0, 0.012, 3).astype(np.float32)
    skin *= 1 + 0.05 * noise(rng, shape, height * 0.7, 2)[..., None]
    skin += 0.016 * noise(rng, shape, height * 0.06, 4)[..., None] * np.array([0.8, 1.1, 1.0], np.float32)
    furrows = np.exp(-cells(rng, shape, height * 0.045) / (height * 0.006))
    furrows *= 0.5 + 0.5 * noise(rng, shape, height * 0.2)
    skin -= 0.018 * blur(furrows, height * 0.004)[..., None]
    flush = smooth_step(0.2, 2.6, noise(rng, shape, height * 0.12, 5))
    return mix(skin, (0.78, 0.45, 0.47), 0.25 * flush)


def pigment(
    rng: np.random.Generator, spec: LesionSpec, depth: Array, regions: dict[str, NDArray[np.bool_]]
) -> Array:
    """Colour of the lesion itself, (h, w, 3); notes each colour's patch in ``regions``."""
    height, shape = depth.shape[0], depth.shape
    lean = np.mgrid[0 : shape[0], 0 : shape[1]][1].astype(np.float32) / shape[1] - 0.5
    tone = np.broadcast_to(np.asarray(COLOURS[spec.colours[0]], np.float32), (*shape, 3)).copy()
    regions[spec.colours[0]] = depth > 0
    for name in spec.colours[1:]:
        field_ = noise(rng, shape, height * spec.radius * 0.8, 5)
        field_ += spec.asymmetry * 3.0 * rng.choice([-1, 1]) * lean
        inside = field_[depth > 0]
        edge = float(np.quantile(inside, rng.uniform(0.5, 0.75))) if inside.size else 0.0
        patch = smooth_step(edge - 0.45, edge + 0.75, field_)
        tone = mix(tone, COLOURS[name], patch * 0.85)
        regions[name] = (patch > 0.5) & (depth > 0)
    tone *= 1 - 0.16 * smooth_step(0.0, 0.7, depth)[..., None]
    grain = 0.055 * noise(rng, shape, height * 0.035, 4) + 0.035 * noise(rng, shape, height * 0.12, 2)
    return tone * (1 + grain[..., None])


def _network(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    lines = np.exp(-((cells(rng, body.shape, height * 0.030) / (height * 0.0055)) ** 2))
    amount = lines * body * np.clip(0.55 + 0.35 * noise(rng, body.shape, height * 0.15), 0.1, 1)
    return mix(image, (0.24, 0.12, 0.08), 0.55 * blur(amount, height * 0.0022)), amount


def _dots(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    amount = dots(rng, body, int(rng.integers(25, 70)), height * 0.006)
    return mix(image, (0.14, 0.08, 0.07), 0.8 * blur(amount, height * 0.0025)), amount


def _veil(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    amount = smooth_step(0.2, 1.2, noise(rng, body.shape, height * 0.22, 2)) * body
    return mix(image, (0.50, 0.53, 0.64), 0.65 * amount), amount


def _vessels(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    amount = curves(rng, body.shape, 42, height * 0.22, height * 0.0045, 0.16) * np.clip(body * 1.5, 0.08, 1)
    return mix(image, (0.70, 0.13, 0.16), 0.7 * blur(amount, height * 0.0022)), amount


def _scale(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    amount = smooth_step(0.9, 1.5, noise(rng, body.shape, height * 0.06, 4)) * body
    return mix(image, (0.93, 0.87, 0.78), 0.7 * amount), amount


def _cysts(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    amount = dots(rng, body, int(rng.integers(10, 24)), height * 0.009)
    return mix(image, (0.93, 0.87, 0.72), 0.7 * blur(amount, height * 0.004)), amount


def _hair(rng: np.random.Generator, image: Array, body: Array, height: int) -> tuple[Array, Array]:
    amount = curves(rng, body.shape, int(rng.integers(6, 18)), height * 0.5, height * 0.0055, 0.02)
    return mix(image, (0.16, 0.11, 0.10), 0.85 * amount), amount


_DRAW: dict[str, Callable[[np.random.Generator, Array, Array, int], tuple[Array, Array]]] = {
    "network": _network, "dots": _dots, "veil": _veil, "vessels": _vessels,
    "scale": _scale, "cysts": _cysts, "hair": _hair,
}  # fmt: skip


def fold_asymmetry(mask: NDArray[np.bool_]) -> float:
    """1 minus the overlap of a mask with its mirror image about its worse principal axis, 0 (none) to 1."""
    points = np.argwhere(mask).astype(np.float64)
    if len(points) < 16:
        return 0.0
    centre = points.mean(0)
    _, axes = np.linalg.eigh(np.cov((points - centre).T))
    worst = 0.0
    for axis in axes.T:
        other = points - 2 * ((points - centre) @ axis)[:, None] * axis
        y, x = np.rint(other).astype(int).T
        ok = (y >= 0) & (y < mask.shape[0]) & (x >= 0) & (x < mask.shape[1])
        worst = max(worst, 1 - float(mask[y[ok], x[ok]].sum()) / len(points))
    return worst


def draw_lesion(spec: LesionSpec, seed: int, size: tuple[int, int] = (450, 600)) -> DrawnLesion:
    """Draw one lesion.

    Args:
        spec: what to draw.
        seed: all chance comes from it.
        size: (height, width) in pixels.

    Returns:
        The picture with its mask and attributes.
    """
    rng = np.random.default_rng(seed)
    height = size[0]
    regions: dict[str, NDArray[np.bool_]] = {}
    image = draw_skin(rng, spec, size)
    depth = outline(rng, spec, size)
    fade = 0.30 - 0.26 * spec.sharpness
    body = smooth_step(-fade, fade, depth) * np.clip(0.92 + 0.12 * noise(rng, size, height * 0.1), 0, 1)
    image = mix(image, pigment(rng, spec, depth, regions), spec.contrast * body)
    for name in sorted(set(spec.structures), key=STRUCTURES.index):
        image, amount = _DRAW[name](rng, image, body, height)
        regions[name] = amount > 0.3
    if spec.vignette:
        ys, xs = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
        away = np.hypot(xs * size[1] / height / 1.25, ys * 0.88).astype(np.float32)
        image = image * (1 - smooth_step(1.02, 1.12, away))[..., None]
    image = np.stack([blur(image[..., c], height * 0.0022) for c in range(3)], -1)
    image += rng.normal(0, 0.008, image.shape)
    mask = depth > 0
    border = mask ^ (np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MinFilter(3))) > 0)
    perimeter = max(1.0, float(border.sum()) * 1.12)
    return DrawnLesion(
        picture=Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)),
        mask=(mask * 255).astype(np.uint8), spec=spec, seed=seed, area_fraction=float(mask.mean()),
        measured_asymmetry=fold_asymmetry(mask[::3, ::3]),
        compactness=min(1.0, 4 * math.pi * float(mask.sum()) / perimeter**2), regions=regions,
    )  # fmt: skip


def random_spec(rng: np.random.Generator) -> LesionSpec:
    """A spec from anywhere in the renderer's range."""
    odds = [0.34, 0.3, 0.08, 0.08, 0.14, 0.06]
    pick = rng.choice(list(COLOURS), size=int(rng.integers(1, 4)), replace=False, p=odds)
    return LesionSpec(
        skin=str(rng.choice(list(SKINS), p=[0.4, 0.25, 0.2, 0.1, 0.05])),
        colours=tuple(str(c) for c in pick), radius=float(rng.uniform(0.13, 0.40)),
        elongation=float(rng.uniform(1, 1.7)), border_irregularity=float(rng.uniform(0, 1)),
        asymmetry=float(rng.uniform(0, 1)), sharpness=float(rng.uniform(0.1, 1)),
        contrast=float(rng.uniform(0.5, 1)),
        structures=tuple(s for s in STRUCTURES if rng.random() < 0.25), vignette=bool(rng.random() < 0.15),
    )  # fmt: skip
