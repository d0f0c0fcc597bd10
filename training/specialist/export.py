"""Turn a checkpoint into the folder that `clarify.tools.specialist.Specialist` loads.

    python -m clarify.training.specialist.export --data PATH --checkpoint LAST.PT --made-by ...
    python -m clarify.training.specialist.export --data PATH --network TIMM_FOLDER --out FOLDER --no-test

The network goes to half precision; temperature, class offset, shortlist limits and scope head are fitted on
the train and validation sides with the very code that will run; the test side is opened once, for the model
card.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...tools import calibration, specialist, weights
from ...tools.scope import ScopeHead, describe
from ...tools.skin_tone import typology_angle
from .calibrate import (
    DEGRADED,
    degraded,
    fit_patient,
    fit_probabilities,
    fit_refinement,
    fit_scope,
    mild,
    negative_log_likelihood,
    negatives,
    prior_offset,
)
from .card import write_card
from .data import LABELS, Split, load_split
from .metrics import balanced_accuracy
from .networks import INPUT, NETWORKS, build

GUARDED = (LABELS.index("mel"),)
"""Melanoma must be on the shortlists of melanomas as often as the promise says."""


def write_network(checkpoint: Path, folder: Path) -> None:
    """Averaged weights as fp16 safetensors and timm's own config beside them.

    Args:
        checkpoint: what training saved.
        folder: where to write.
    """
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
    settings = saved["settings"]
    model = build(settings["network"])
    model.load_state_dict(saved["ema"])
    folder.mkdir(parents=True, exist_ok=True)
    weights.save_half(model, folder / "model.safetensors")
    data = {k: INPUT[k] for k in ("mean", "std", "interpolation", "crop_pct")}
    data["input_size"] = [3, settings["height"], settings["width"]]
    config = {
        "architecture": "resnet18", "num_classes": len(LABELS),
        "num_features": int(model.num_features), "model_args": NETWORKS[settings["network"]],
        "pretrained_cfg": {**data, "crop_mode": "squash", "label_names": list(LABELS)},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


class Reader:
    """Runs a bare network the way the specialist will, without calibration.

    Attributes:
        model: the network.
    """

    def __init__(self, folder: Path) -> None:
        """Load the network of a folder that need not have a calibration yet."""
        self.model, self._transform = specialist.load_network(folder)

    def logits(self, image: Image.Image, second: bool) -> np.ndarray:
        """Mean logits of the first or second look, (classes,)."""
        seen = specialist.second_views(image) if second else specialist.views(image)
        return specialist.run_network(self.model, [self._transform(v) for v in seen])[0].mean(0)

    def features(self, images: list[Image.Image]) -> np.ndarray:
        """Scope features (n, f): pooled features of the picture as it is, then the plain measurements."""
        rows = []
        for start in range(0, len(images), 16):
            part = [specialist.upright(image) for image in images[start : start + 16]]
            _, deep = specialist.run_network(self.model, [self._transform(image) for image in part])
            rows.append(np.concatenate([deep, np.stack([describe(image) for image in part])], 1))
        return np.concatenate(rows)


def looks(reader: Reader, side: Split) -> tuple[np.ndarray, np.ndarray]:
    """Logits of both looks at a side, each (n, classes)."""
    images = [Image.fromarray(pixels) for pixels in side.images]
    both = np.stack(
        [np.stack([reader.logits(image, second) for second in (False, True)]) for image in images]
    )
    return both[:, 0], both[:, 1]


def choose_power(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """How far to go back to real class frequencies: the best accuracy plus balanced accuracy on validation.

    Args:
        logits: (n, classes) of the first look.
        labels: (n,).
        counts: training pictures of each class.
    """
    tried = {}
    for power in (0.0, 0.25, 0.5, 0.75, 1.0):
        offset = prior_offset(counts, power)
        fitted = fit_probabilities(logits, logits, labels, offset)
        probs = calibration.probabilities(logits, fitted["temperature"], offset)
        accuracy, balanced = float((probs.argmax(1) == labels).mean()), balanced_accuracy(probs, labels)
        report = {"accuracy": accuracy, "balanced": balanced, "nll": negative_log_likelihood(probs, labels)}
        print(
            json.dumps({"power": power, **{f"val_{k}": round(v, 4) for k, v in report.items()}}), flush=True
        )
        tried[power] = accuracy + balanced
    return max(tried, key=lambda power: tried[power])


def scope_head(reader: Reader, train: Split, val: Split, pictures: int, each: int, seed: int) -> ScopeHead:
    """Fit the scope head.

    Inside are ``pictures`` of the train side, twice each; outside ``each`` drawn ones a family and twice as
    many pictures of the train side spoilt in each way.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(train.labels))[:pictures]
    plain = [Image.fromarray(train.images[row]) for row in rows]
    inside = reader.features(plain + [mild(image, rng) for image in plain])
    spoilt = [
        degraded(Image.fromarray(train.images[row]), kind, rng)
        for kind in DEGRADED
        for row in rng.permutation(len(train.labels))[: 2 * each]
    ]
    outside = reader.features(negatives(train.images, each, seed) + spoilt)
    held = reader.features([Image.fromarray(pixels) for pixels in val.images])
    return fit_scope(inside, outside, held)


def tone_range(side: Split) -> tuple[float, float]:
    """Typology angles between which all but one in a hundred pictures of a side lie, in degrees."""
    images = [Image.fromarray(pixels) for pixels in side.images]
    angles = [typology_angle(image, specialist.lesion_box(image)) for image in images]
    low, high = np.quantile([angle for angle in angles if angle is not None], [0.005, 0.995])
    return float(low), float(high)


def write_manifest(folder: Path) -> None:
    """Record the SHA-256 of every file that is loaded."""
    weights.write_manifest(folder, specialist.FILES)


def export(args: argparse.Namespace) -> None:
    """Write the folder that ``args`` describe."""
    torch.set_num_threads(args.threads)
    folder: Path = args.out
    folder.mkdir(parents=True, exist_ok=True)
    if args.network:
        for name in ("model.safetensors", "config.json", "labels.json"):
            if args.network != folder:
                (folder / name).write_bytes((args.network / name).read_bytes())
    else:
        write_network(args.checkpoint, folder)
        if not (folder / "labels.json").exists():
            (folder / "labels.json").write_bytes((specialist.DEFAULT / "labels.json").read_bytes())
    train, val = load_split(args.data, "train"), load_split(args.data, "val")
    reader = Reader(folder)
    first, second = looks(reader, val)
    counts = np.bincount(train.labels, minlength=len(LABELS))
    power = choose_power(first, val.labels, counts) if args.power is None else args.power
    fitted: dict[str, Any] = fit_probabilities(
        first, second, val.labels, prior_offset(counts, power), GUARDED
    )
    prior = fit_patient(train.patients, train.labels, len(LABELS))
    fitted |= fit_refinement(prior, fitted, (first, second), val.patients, val.labels, GUARDED)
    fitted["skin_tone"] = tone_range(train)
    (folder / "calibration.json").write_text(json.dumps(fitted, indent=2) + "\n")
    scope_head(reader, train, val, args.pictures, args.negatives, args.seed).save(
        folder / "scope.safetensors"
    )
    write_manifest(folder)
    print(json.dumps({"power": power, **fitted}), flush=True)
    if not args.no_test:
        write_card(folder, args.data, args.checkpoint if not args.network else None, args.made_by, args.seed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the HAM10000 archive")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/specialist/last.pt"))
    parser.add_argument("--network", type=Path, help="folder with a timm model instead of a checkpoint")
    parser.add_argument("--out", type=Path, default=specialist.DEFAULT)
    parser.add_argument("--power", type=float, help="class offset power; chosen on validation when absent")
    parser.add_argument("--pictures", type=int, default=2500)
    parser.add_argument("--negatives", type=int, default=150, help="drawn pictures of each family")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-test", action="store_true", help="do not open the test side, write no card")
    parser.add_argument("--made-by", default="", help="the commands that trained it, for the model card")
    args = parser.parse_args()
    if not args.no_test and not args.made_by:
        parser.error("the model card needs --made-by; --no-test writes none")
    export(args)


if __name__ == "__main__":
    main()
