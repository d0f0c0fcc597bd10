"""Draws the pictures of `examples/`.

python -m clarify.training.examples --out examples
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .specialist.scenes import LEARNT
from .synthetic import draw_lesion, random_spec

SURE, UNSURE, LANDSCAPE, RASH = 383, 74, 3, 10


def write_examples(folder: Path) -> None:
    """Draw the pictures of ``examples/``; seeds were picked so that the specialist is sure or unsure."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in (("sure", SURE), ("unsure", UNSURE)):
        drawn = draw_lesion(random_spec(np.random.default_rng(seed)), seed)
        drawn.picture.save(folder / f"{name}.png", optimize=True)
    for name, family, seed in (("out_of_scope", "landscape", LANDSCAPE), ("rash_photo", "rash", RASH)):
        LEARNT[family](np.random.default_rng(seed), (450, 600)).save(folder / f"{name}.png", optimize=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    write_examples(parser.parse_args().out)


if __name__ == "__main__":
    main()
