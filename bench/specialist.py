"""Print the specialist's figures.

    python -m clarify.bench.specialist --data PATH [--weights FOLDER] [--external PATH] [--svg FILE] [--json]

``--data`` is the HAM10000 folder; its ``clean_split`` test side is used, with a row where the pictures are
shuffled among the cases. ``--external`` adds melanoma against nevus on another archive (``images_180.zip``,
``labels.csv``).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from ..tools.calibration import calibration_error
from ..tools.specialist import DEFAULT, Specialist
from ..training.specialist.card import measure
from ..training.specialist.metrics import bootstrap, share
from .looks import Looks, archive, looks
from .svg import Line, draw

PHOTOGRAPHS = (
    "astronaut camera chelsea coffee rocket retina immunohistochemistry page text coins moon brick grass "
    "gravel horse clock cell logo hubble_deep_field colorwheel"
)


def external(folder: Path, data: Path) -> dict[str, Any]:
    """Melanoma against nevus on dermoscopy from other clinics, of what is in scope.

    Returns:
        The share in scope, and areas under the curve of P(mel), of P(mel) among the two, and of 1 - P(nv).
    """
    expert = Specialist.load(folder)
    scores, labels, inside = [], [], []
    for picture, label in archive(data):
        found = expert.classify(picture)
        inside.append(found.in_scope)
        if found.in_scope:
            mel, nv = found.probabilities["mel"], found.probabilities["nv"]
            scores.append((mel, mel / (mel + nv), 1 - nv))
            labels.append(label == "mel")
    areas: dict[str, Any] = {"in_scope": share(np.array(inside))}
    names = ("auc_of_melanoma", "auc_of_melanoma_among_the_two", "auc_of_not_a_nevus")
    is_melanoma = np.array(labels, np.int64)
    for name, column in zip(names, np.array(scores).T, strict=True):
        two = np.stack([1 - column, column], 1)
        areas[name] = bootstrap(lambda p, y: float(roc_auc_score(y, p[:, 1])), two, is_melanoma)
    return areas


def photographs() -> dict[str, Image.Image]:
    """Ordinary photographs: those that come with scikit-image and scikit-learn."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    pictures = {name: np.asarray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS.split()}
    pictures |= {f"sample {i}": image for i, image in enumerate(load_sample_images().images)}
    values = {n: p * 255 if p.dtype == bool else p for n, p in pictures.items()}
    return {n: Image.fromarray(v.astype(np.uint8)).convert("RGB") for n, v in values.items()}


def refused_photographs(folder: Path) -> dict[str, Any]:
    """Share of ordinary photographs that are refused."""
    expert = Specialist.load(folder)
    inside = {name: expert.classify(image).in_scope for name, image in photographs().items()}
    return {
        "refused": share(~np.array(list(inside.values()))),
        "let through": [n for n, ok in inside.items() if ok],
    }


def reliability(side: Looks, bins: int = 10) -> str:
    """The reliability diagram of the first look as SVG: how often it is right, by confidence."""
    lines = []
    for name, patient in (("picture alone", False), ("patient known", True)):
        probs = side.shares(patient=patient)
        confidence, right = probs.max(1), probs.argmax(1) == side.side.labels
        place = np.minimum((confidence * bins).astype(int), bins - 1)
        used = [b for b in range(bins) if (place == b).sum() >= 10]
        points = [(float(confidence[place == b].mean()), float(right[place == b].mean())) for b in used]
        error = calibration_error(probs, side.side.labels)
        lines.append(Line(f"{name}, ECE {error:.3f}", points))
    return draw("How often it is right", lines, across="confidence", up="right", diagonal=True)


def speed(folder: Path, rounds: int = 20) -> dict[str, float]:
    """Median milliseconds of one call on a 600 x 450 picture, with torch's own choice of threads."""
    expert = Specialist.load(folder)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (450, 600, 3), dtype=np.uint8))
    out = {}
    for name, call in (("classify_ms", expert.classify), ("second_look_ms", expert.second_look)):
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            call(picture)
            times.append(1000 * (time.perf_counter() - start))
        out[name] = round(float(np.median(times)), 1)
    return out


def show(figures: dict[str, Any], indent: int = 0) -> None:
    """Print nested figures, one a line."""
    for key, value in figures.items():
        if isinstance(value, dict) and "value" in value:
            low, high = value.get("interval", (float("nan"), float("nan")))
            print(f"{' ' * indent}{key:32} {value['value']:.4f}  [{low:.4f}, {high:.4f}]  n={value['n']}")
        elif isinstance(value, dict):
            print(f"{' ' * indent}{key}")
            show(value, indent + 2)
        else:
            print(f"{' ' * indent}{key:32} {value}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--external", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--svg", type=Path, help="where to write the reliability diagram")
    args = parser.parse_args()
    figures = measure(args.weights, args.data, args.seed)
    figures["photographs"] = refused_photographs(args.weights)
    if args.external:
        figures["external"] = external(args.weights, args.external)
    figures["speed"] = speed(args.weights)
    if args.svg:
        args.svg.write_text(reliability(looks(args.weights, args.data, "test")), encoding="utf-8")
    if args.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
