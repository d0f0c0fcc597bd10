"""Is this picture of the kind the specialist learnt from? A small head over deep and plain measurements."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file

from .image_quality import detail, small_grey

Array = NDArray[np.float32]
FRAME = (80, 60)


def describe(image: Image.Image) -> Array:
    """Plain measurements of colour, texture and layout, the same for every network.

    Args:
        image: RGB, any size.

    Returns:
        (70,): per opponent channel its mean, spread and five quantiles; channel correlations; log gradient
        energy, heaviness and direction at three scales; light and colour in rings from the centre outwards
        and in halves; a histogram of hue weighted by saturation; how sharp it is.
    """
    pixels = (
        np.asarray(image.convert("RGB").resize(FRAME, Image.Resampling.BOX, reducing_gap=3.0), np.float32)
        / 255
    )
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    light = pixels.mean(-1)
    planes = (light, red - green, (red + green) / 2 - blue)
    out: list[float] = []
    for plane in planes:
        out += [float(plane.mean()), float(plane.std())]
        out += [float(q) for q in np.quantile(plane, (0.02, 0.25, 0.5, 0.75, 0.98))]
    flat = pixels.reshape(-1, 3) + np.random.default_rng(0).normal(0, 1e-3, (light.size, 3))
    out += [float(c) for c in np.asarray(np.corrcoef(flat.T))[np.triu_indices(3, 1)]]
    scaled = light
    for _ in range(3):
        across, down = np.diff(scaled, axis=1), np.diff(scaled, axis=0)
        energy = float((across**2).mean() + (down**2).mean()) + 1e-7
        heavy = float((across**4).mean() + (down**4).mean()) / energy**2
        lean = float((across**2).mean() - (down**2).mean()) / energy
        out += [float(np.log(energy)), float(np.log(heavy + 1e-3)), lean]
        rows, columns = scaled.shape[0] // 2 * 2, scaled.shape[1] // 2 * 2
        scaled = scaled[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
    ys, xs = np.mgrid[-1 : 1 : FRAME[1] * 1j, -1 : 1 : FRAME[0] * 1j]
    ring = np.minimum(np.hypot(ys, xs) * 4, 4.99).astype(int)
    for plane in planes:
        out += [float(plane[ring == r].mean() - plane.mean()) for r in range(5)]
        out += [
            float(plane[ys < 0].mean() - plane[ys > 0].mean()),
            float(plane[xs < 0].mean() - plane[xs > 0].mean()),
        ]
    hue = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)
    weight = pixels.max(-1) - pixels.min(-1)
    counts, _ = np.histogram(hue, 24, (-np.pi, np.pi), weights=weight)
    out += [float(v) for v in np.sqrt(counts.reshape(12, 2).sum(1) / light.size)]
    out += [float(weight.mean()), float(weight.std()), float((light < 0.05).mean())]
    out += [float(np.log(detail(small_grey(image)) + 0.02))]
    return np.asarray(out, np.float32)


@dataclass(frozen=True)
class ScopeHead:
    """Two judges over the same features, and the stricter one counts.

    One is a logistic regression, dermoscopy against drawn pictures of other kinds. The other is the
    Mahalanobis distance to the training pictures in the leading principal directions (Lee et al. 2018,
    arXiv:1807.03888), which also speaks up for kinds that nobody drew.

    Attributes:
        mean: (f,) of the training features.
        scale: (f,) their spread.
        weights: (f,) of the logistic judge, on standardised features.
        bias: its constant, already moved so that 0 is the limit.
        axes: (f, k) whitening directions; distance is the root mean square of the projection.
        limit: distance at which the second judge says 0.
        slope: steepness of the second judge.
        threshold: score from which a picture is in scope.
    """

    mean: Array
    scale: Array
    weights: Array
    bias: float
    axes: Array
    limit: float
    slope: float
    threshold: float

    def standardise(self, features: ArrayLike) -> Array:
        """(..., f) to zero mean, unit spread, no value beyond 8."""
        z = (np.asarray(features, np.float32) - self.mean) / self.scale
        return np.asarray(np.clip(z, -8, 8), np.float32)

    def judges(self, features: ArrayLike) -> Array:
        """Both judges' margins, (..., 2): above 0 speaks for dermoscopy."""
        z = self.standardise(features)
        distance = np.sqrt(np.square(z @ self.axes).mean(-1))
        return np.stack([z @ self.weights + self.bias, (self.limit - distance) * self.slope], -1)

    def score(self, features: ArrayLike) -> Array:
        """(..., f) to (...) in 0..1."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.judges(features).min(-1), -30, 30))), np.float32)

    def save(self, path: Path) -> None:
        """Write as safetensors; numbers become arrays of one element, arrays half precision."""
        values = {f.name: np.atleast_1d(np.asarray(getattr(self, f.name))) for f in fields(self)}
        save_file({k: v.astype(np.float16 if v.size > 1 else np.float32) for k, v in values.items()}, path)

    @classmethod
    def load(cls, path: Path) -> ScopeHead:
        """Read what `save` wrote."""
        values = {k: v.astype(np.float32) for k, v in load_file(path).items()}
        return cls(**{k: v if v.size > 1 else float(v[0]) for k, v in values.items()})  # type: ignore[arg-type]
