"""What a segmenter is measured by, beside the specialist's box rule, which knows no masks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...tools.segmenter import Segmenter
from ...tools.specialist import lesion_box
from .data import load_pairs

Figures = dict[str, dict[str, Any]]


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """Dice coefficient of two masks, 0..1; 1 when both are empty."""
    total = int(found.sum()) + int(true.sum())
    return 2 * int((found & true).sum()) / total if total else 1.0


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(1000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def box(image: Image.Image) -> np.ndarray:
    """The baseline's mask: the ellipse within the specialist's lesion box, half as wide and high."""
    left, top, right, bottom = lesion_box(image)
    ys, xs = np.mgrid[0 : image.height, 0 : image.width] + 0.5
    y, x = (top + bottom) / 2, (left + right) / 2
    return np.asarray(np.hypot((ys - y) / ((bottom - top) / 4), (xs - x) / ((right - left) / 4)) < 1)


def measure(segmenter: Segmenter, data: Path, split: str = "test") -> Figures:
    """Mean Dice and Jaccard of network and baseline, shares of poor masks, milliseconds a picture."""
    pixels, masks = load_pairs(data, split)
    images = [Image.fromarray(picture) for picture in pixels]
    start = time.perf_counter()
    found = [segmenter.segment(image) for image in images]
    ms = 1000 * (time.perf_counter() - start) / len(images)
    ours = np.array([dice(f, m) for f, m in zip(found, masks, strict=True)])
    rule = np.array([dice(box(image), m) for image, m in zip(images, masks, strict=True)])
    rows = {
        "Dice": ours,
        "Jaccard": ours / (2 - ours),
        "share of pictures with Dice below 0.7": (ours < 0.7).astype(float),
        "Dice of the box rule": rule,
    }
    figures: Figures = {
        name: {"value": float(values.mean()), "interval": interval(values), "n": len(values)}
        for name, values in rows.items()
    }
    return {**figures, "milliseconds a picture": {"value": ms, "interval": None, "n": len(images)}}


def table(figures: Figures) -> str:
    """The figures as Markdown."""
    lines = ["| on the test side | value | 95 % | n |", "|---|---|---|---|"]
    for name, entry in figures.items():
        low_high = "{:.3f} to {:.3f}".format(*entry["interval"]) if entry["interval"] else ""
        lines.append(f"| {name} | {entry['value']:.3f} | {low_high} | {entry['n']} |")
    return "\n".join(lines)
