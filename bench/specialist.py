"""Print the specialist's figures.

    python -m clarify.bench.specialist --data PATH [--weights FOLDER] [--external PATH] [--json]

``--data`` is the HAM10000 folder; its ``clean_split`` test side is used, with a row where the pictures are
shuffled among the cases. ``--external`` adds melanoma against nevus on another archive (``images_180.zip``,
``labels.csv``).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from ..tools.specialist import DEFAULT, Specialist
from ..training.specialist.card import measure
from ..training.specialist.metrics import share

PHOTOGRAPHS = (
    "astronaut camera chelsea coffee rocket retina immunohistochemistry page text coins moon brick grass "
    "gravel horse clock cell logo hubble_deep_field colorwheel"
)


def external(folder: Path, data: Path) -> dict[str, Any]:
    """Melanoma against nevus on dermoscopy from other clinics: AUC of P(mel), share in scope."""
    expert = Specialist.load(folder)
    with (data / "labels.csv").open(newline="") as handle:
        truth = {row["image_id"]: row["dx"] for row in csv.DictReader(handle)}
    scores, labels, inside = [], [], []
    with zipfile.ZipFile(data / "images_180.zip") as archive:
        for name in sorted(archive.namelist()):
            if Path(name).stem in truth:
                with Image.open(io.BytesIO(archive.read(name))) as picture:
                    found = expert.classify(picture.convert("RGB"))
                inside.append(found.in_scope)
                if found.in_scope:
                    scores.append(found.probabilities["mel"])
                    labels.append(truth[Path(name).stem] == "mel")
    area = round(float(roc_auc_score(labels, scores)), 4)
    return {"in_scope": share(np.array(inside)), "melanoma_auc_in_scope": {"value": area, "n": len(labels)}}


def photographs(folder: Path) -> dict[str, Any]:
    """Share of ordinary photographs that are refused; those that come with scikit-image and scikit-learn."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    pictures = {name: np.asarray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS.split()}
    pictures |= {f"sample {i}": image for i, image in enumerate(load_sample_images().images)}
    expert = Specialist.load(folder)
    inside = {}
    for name, pixels in pictures.items():
        values = (pixels * 255).astype(np.uint8) if pixels.dtype == bool else pixels.astype(np.uint8)
        inside[name] = expert.classify(Image.fromarray(values).convert("RGB")).in_scope
    return {
        "refused": share(~np.array(list(inside.values()))),
        "let through": [n for n, ok in inside.items() if ok],
    }


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
    args = parser.parse_args()
    figures = measure(args.weights, args.data, args.seed)
    figures["photographs"] = photographs(args.weights)
    if args.external:
        figures["external"] = external(args.weights, args.external)
    figures["speed"] = speed(args.weights)
    if args.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
