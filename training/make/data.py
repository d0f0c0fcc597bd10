"""Pictures to pretrain on: HAM10000 with what its masks say, and drawn lesions whose attributes are known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...tools.abcd import COLOURS, measure
from ..segmenter.data import load_masks
from ..specialist.data import LABELS, load_split
from ..synthetic import STRUCTURES, draw_lesion, random_spec

SIZE = (150, 200)
ASYMMETRY = (0.057, 0.082)
"""Tertiles of the train side: below the first a lesion is called symmetric, above the second asymmetric."""
BORDER = (1.12, 1.22)
AREA = (0.15, 0.31)
STRUCTURE_NAMES = dict(
    zip(
        STRUCTURES,
        (
            "pigment network",
            "dots or globules",
            "blue-white veil",
            "vessels",
            "scale",
            "milia-like cysts",
            "hair",
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Known:
    """What is known of one picture.

    Attributes:
        label: The specialist's label, or an empty string for a drawn picture.
        patient: Any of `age`, `sex`, `site`.
        concepts: Visual concept -> whether it is there; what is neither clearly there nor clearly absent is
            left out.
        area: Share of the picture that is lesion.
    """

    label: str
    patient: dict[str, Any]
    concepts: dict[str, bool]
    area: float


@dataclass(frozen=True)
class Pictures:
    """Pictures uint8 (n, 150, 200, 3), lesion masks bool (n, 150, 200), what is known, and their names."""

    pixels: np.ndarray
    masks: np.ndarray
    known: tuple[Known, ...]
    ids: tuple[str, ...]


def shape_concepts(area: float, asymmetry: float, border: float) -> dict[str, bool]:
    """Concepts of the outline; a lesion between the tertiles is neither."""
    found: dict[str, bool] = {}
    for name, opposite, value, (low, high) in (
        ("asymmetry", "symmetry", asymmetry, ASYMMETRY),
        ("irregular border", "regular border", border, BORDER),
    ):
        if not low < value < high:
            found[name], found[opposite] = value >= high, value <= low
    return found


def colour_concepts(colours: list[str]) -> dict[str, bool]:
    """Concepts of the ABCD rule's six colours."""
    return {**{name: name in colours for name in COLOURS}, "several colours": len(colours) >= 3}


def ham(data: Path, split: str, cache: Path | None = None) -> Pictures:
    """One side of `clean_split` with what its masks say.

    Args:
        data: Folder of HAM10000.
        split: `train`, `val` or `test`.
        cache: Folder that keeps the measures, which take a minute.
    """
    side = load_split(data, split)
    pixels, masks = side.images, load_masks(data, side)
    measures = _measures(pixels, masks, cache / f"{split}.npz" if cache else None)
    known = []
    for row, label in enumerate(side.labels):
        area, asymmetry, border, *present = measures[row]
        colours = [name for name, there in zip(COLOURS, present, strict=True) if there]
        concepts = shape_concepts(area, asymmetry, border) | colour_concepts(colours)
        known.append(Known(LABELS[label], side.patients[row], concepts, float(area)))
    return Pictures(pixels, masks, tuple(known), side.ids)


def _measures(pixels: np.ndarray, masks: np.ndarray, file: Path | None) -> np.ndarray:
    """Area, asymmetry, border irregularity and the six colours of every picture, (n, 9)."""
    if file is not None and file.is_file():
        with np.load(file) as kept:
            return np.asarray(kept["measures"])
    rows = []
    for picture, mask in zip(pixels, masks, strict=True):
        found = measure(Image.fromarray(picture), mask)
        shape = [found.area_fraction, found.asymmetry or 0.0, found.border_irregularity or 1.0]
        rows.append([*shape, *(name in found.colours for name in COLOURS)])
    measures = np.array(rows, np.float64)
    if file is not None:
        _keep(file, measures=measures)
    return measures


def _keep(file: Path, **arrays: np.ndarray) -> None:
    """Writes arrays in one go: another process sees all of them or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{os.getpid()}_{file.name}")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(file)


def drawn(n: int, seed: int, cache: Path | None = None) -> Pictures:
    """Drawn lesions: no diagnosis, but every concept for certain.

    Args:
        n: How many.
        seed: Of the whole set; another seed is another set.
        cache: Folder that keeps the pictures, which take minutes.
    """
    file = cache / f"drawn_{seed}_{n}.npz" if cache else None
    rng = np.random.default_rng([seed, 77])
    specs = [random_spec(rng) for _ in range(n)]
    if file is not None and file.is_file():
        with np.load(file) as kept:
            pixels, masks, measures = kept["pixels"], kept["masks"], kept["measures"]
    else:
        pictures = [
            draw_lesion(spec, seed * 1_000_003 + i, (2 * SIZE[0], 2 * SIZE[1]))
            for i, spec in enumerate(specs)
        ]
        small = [p.picture.resize(SIZE[::-1], Image.Resampling.BILINEAR) for p in pictures]
        pixels = np.stack([np.asarray(p) for p in small])
        masks = np.stack(
            [
                np.asarray(Image.fromarray(p.mask).resize(SIZE[::-1], Image.Resampling.BILINEAR)) >= 128
                for p in pictures
            ]
        )
        measures = _measures(pixels, masks, None)
        if file is not None:
            _keep(file, pixels=pixels, masks=masks, measures=measures)
    known = []
    for spec, (area, asymmetry, border, *_) in zip(specs, measures, strict=True):
        concepts = shape_concepts(area, asymmetry, border) | colour_concepts(list(spec.colours))
        concepts |= {STRUCTURE_NAMES[name]: name in spec.structures for name in STRUCTURES}
        known.append(Known("", {}, concepts, float(area)))
    return Pictures(pixels, masks, tuple(known), tuple(f"drawn_{seed}_{i}" for i in range(n)))
