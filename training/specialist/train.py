"""Train the specialist from nothing on HAM10000.

    python -m clarify.training.specialist.train --data PATH [--epochs 60] [--minutes 42]

A ResNet-18 shape with a deep stem and 4.4 M parameters; the recipe was settled before this run. Only the
train side of ``clean_split`` is learnt from, the val side is printed, the test side is never opened here.
With ``--minutes`` the learning-rate cycle follows whichever is further, steps or the clock, so that a busy
machine still ends with an annealed model. The last checkpoint holds all that is needed to go on after a stop.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from ...hashing import file_sha256
from ..segmenter.data import load_pairs
from .data import LABELS, augment, load_split, resize
from .lessons import Pupil, Targets, targets

ARCHITECTURE: dict[str, Any] = {
    "architecture": "resnet18",
    "model_args": {"channels": [40, 80, 160, 320], "stem_type": "deep", "stem_width": 32},
    "num_classes": len(LABELS),
    "input_size": [3, 120, 160],
    "mean": [0.76, 0.55, 0.57],
    "std": [0.14, 0.15, 0.17],
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}


def build() -> nn.Module:
    """The network of ``ARCHITECTURE`` with random weights, to be trained."""
    model: nn.Module = timm.create_model(
        ARCHITECTURE["architecture"], num_classes=len(LABELS), **ARCHITECTURE["model_args"]
    )
    return model


def normalise(images: Tensor) -> Tensor:
    """0..1 to the network's units; (n, 3, h, w) either way, channels last in memory."""
    mean = torch.tensor(ARCHITECTURE["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(ARCHITECTURE["std"]).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def one_cycle(progress: float, peak: float, warm: float = 0.15, floor: float = 0.002) -> float:
    """Learning rate at ``progress`` in 0..1: a cosine up, a cosine down (Smith 2018, arXiv:1803.09820)."""
    if progress < warm:
        return peak * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / warm)))
    return peak * (
        floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1, (progress - warm) / (1 - warm))))
    )


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and filters, none on biases and norms."""
    named = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in named if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and of the norm statistics."""
    for old, new in zip(ema.state_dict().values(), model.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro AUC of a network on (n, 3, h, w) pictures in 0..1."""
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = torch.cat([model(normalise(part)).float() for part in images.split(128)])
    probabilities = logits.softmax(1).numpy()
    guess = probabilities.argmax(1)
    return {
        "accuracy": float((guess == labels).mean()),
        "balanced": float(balanced_accuracy_score(labels, guess)),
        "auc": float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")),
        "loss": float(F.cross_entropy(logits, torch.from_numpy(labels))),
    }


def train(args: argparse.Namespace) -> None:
    """Run or resume the training that ``args`` describe; writes ``args.out/last.pt`` every epoch."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(args.seed)
    size = (args.height, args.width)
    side, val = load_split(args.data, "train"), load_split(args.data, "val")
    val_images = resize(val.images, size)
    counts = np.bincount(side.labels, minlength=len(LABELS))
    weights = torch.from_numpy(1 / np.sqrt(counts[side.labels]))
    args.out.mkdir(parents=True, exist_ok=True)
    masks = load_pairs(args.data, "train")[1]
    wanted = targets(side, masks, args.smoothing)
    model = build().to(memory_format=torch.channels_last)
    pupil = Pupil(model, wanted.site.shape[1])
    ema = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(parameter_groups(pupil, args.decay), lr=args.lr, betas=(0.9, 0.99))
    steps = len(side.labels) // args.batch
    first, step, spent = 0, 0, 0.0
    last = args.out / "last.pt"
    started_from = ""
    if args.start and not last.exists():  # a warm restart (Loshchilov and Hutter 2017, arXiv:1608.03983)
        shipped = load_file(args.start)
        model.load_state_dict(shipped)
        ema.load_state_dict(shipped)
        started_from = file_sha256(args.start)
    if last.exists():
        saved = torch.load(last, weights_only=True)
        pupil.load_state_dict(saved["pupil"])
        ema.load_state_dict(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        generator.set_state(saved["generator"])
        first, step, spent = saved["epoch"], saved["step"], saved["spent"]
        started_from = saved["started_from"]
    print(
        json.dumps(
            {
                "parameters": sum(p.numel() for p in model.parameters()),
                "counts": counts.tolist(),
                "pictures": len(side.labels),
                "from_epoch": first,
            }
        ),
        flush=True,
    )
    start = time.monotonic() - spent
    progress = 0.0
    for epoch in range(first, args.epochs):
        pupil.train()
        rows = torch.multinomial(weights, steps * args.batch, replacement=True, generator=generator).numpy()
        total = 0.0
        for chunk in rows.reshape(steps, args.batch):
            progress = step / (steps * args.epochs)
            if args.minutes:
                progress = max(progress, (time.monotonic() - start) / (60 * args.minutes))
            for group in optimiser.param_groups:
                group["lr"] = one_cycle(progress, args.lr)
            total += train_step(
                pupil, optimiser, side.images[chunk], wanted.rows(chunk), size, args, generator
            )
            step += 1
            update_ema(ema, model, min(args.ema, (1 + step) / (10 + step)))
        spent = time.monotonic() - start
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": round(total / steps, 4),
            "progress": round(progress, 3),
            "seconds": round(spent),
        }
        done = epoch + 1 == args.epochs or progress >= 1
        if done or (epoch + 1) % args.every == 0:
            line["val_ema"] = {k: round(v, 4) for k, v in evaluate(ema, val_images, val.labels).items()}
            line["val_raw"] = {k: round(v, 4) for k, v in evaluate(model, val_images, val.labels).items()}
        print(json.dumps(line), flush=True)
        torch.save(
            {
                "model": model.state_dict(),
                "pupil": pupil.state_dict(),
                "ema": ema.state_dict(),
                "optimiser": optimiser.state_dict(),
                "generator": generator.get_state(),
                "epoch": epoch + 1,
                "step": step,
                "spent": spent,
                "started_from": started_from,
                "seed": args.seed,
                "size": size,
            },
            last.with_suffix(".tmp"),
        )
        last.with_suffix(".tmp").replace(last)
        if done:
            break


def train_step(
    pupil: Pupil,
    optimiser: torch.optim.Optimizer,
    pixels: np.ndarray,
    wanted: Targets,
    size: tuple[int, int],
    args: argparse.Namespace,
    generator: torch.Generator,
) -> float:
    """One step with mixup (Zhang et al. 2018, arXiv:1710.09412); returns the loss.

    Args:
        pupil: the network with its training heads, in training mode.
        optimiser: with its learning rate already set.
        pixels: uint8 (n, h, w, 3).
        wanted: their targets; the masks follow the augmentation.
        size: (height, width) of the network's input.
        args: ``mixup`` (the Beta parameter), ``mask`` and ``patient`` (weights of the two further losses).
        generator: source of chance for the augmentation.
    """
    images, masks = augment(pixels, wanted.mask, size, generator)
    images = normalise(images)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(args.mixup, args.mixup))
    images = share * images + (1 - share) * images.flip(0)
    wanted = replace(wanted, mask=masks).mixed(share)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pupil.loss(images, wanted, args.mask, args.patient)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(pupil.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the HAM10000 archive")
    parser.add_argument("--out", type=Path, default=Path("runs/specialist"))
    parser.add_argument("--start", type=Path, help="an export's model.safetensors: one more cycle")
    parser.add_argument("--height", type=int, default=ARCHITECTURE["input_size"][1])
    parser.add_argument("--width", type=int, default=ARCHITECTURE["input_size"][2])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="end by this many minutes of training; 0: no limit"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--ema", type=float, default=0.997)
    parser.add_argument("--mixup", type=float, default=0.2)
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--mask", type=float, default=0.3, help="weight of the loss of the lesion's mask")
    parser.add_argument("--patient", type=float, default=0.05, help="weight of the losses of age and site")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=3, help="epochs between looks at val")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
