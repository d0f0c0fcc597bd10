"""Train the segmenter from nothing on the HAM10000 masks, and write the folder that is shipped.

    python -m clarify.training.segmenter.train --data PATH [--epochs 24] [--minutes 15]

A U-Net (Ronneberger et al. 2015) with a small MobileNetV3 encoder. Only the train side of ``clean_split`` is
learnt from; val is printed; the test side is opened once, for the model card. ``last.pt`` holds all that is
needed to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ...tools.segmenter import DEFAULT, FILES, Segmenter, build, prepare
from ...tools.weights import save_half, write_manifest
from ..checkpoints import write_checkpoint
from ..specialist.train import one_cycle, parameter_groups
from .data import augment, load_pairs
from .metrics import dice, measure, table

CONFIG: dict[str, Any] = {
    "encoder": "tu-mobilenetv3_small_075", "decoder_channels": [48, 40, 32, 24, 16], "input_size": [96, 128],
    "mean": [0.76, 0.55, 0.57], "std": [0.14, 0.15, 0.17],
}  # fmt: skip
CARD = Path(__file__).with_name("card.md")


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus one minus the soft Dice coefficient of each picture (Milletari et al. 2016)."""
    shares = logits.sigmoid()
    overlap = (shares * masks).sum((1, 2, 3))
    dice = (2 * overlap + 1) / ((shares + masks).sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice.mean()


def score(segmenter: Segmenter, pixels: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Dice of every picture at its full size, (n,), with the very code that will run."""
    pairs = zip(pixels, masks, strict=True)
    return np.array([dice(segmenter.segment(Image.fromarray(picture)), mask) for picture, mask in pairs])


def step(model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, masks: Tensor) -> float:
    """One step on a batch of prepared pictures; returns the loss."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images)
    loss = loss_of(logits.float(), masks)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def train(args: argparse.Namespace) -> nn.Module:
    """Runs or resumes the training that ``args`` describe; writes ``args.run/last.pt`` every epoch."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(args.seed)
    pixels, masks = load_pairs(args.data, "train")
    held, held_masks = (part[: args.val] for part in load_pairs(args.data, "val"))
    size = (CONFIG["input_size"][0], CONFIG["input_size"][1])
    model = build(CONFIG).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.02), lr=args.lr)
    last, first, spent = args.run / "last.pt", 0, 0.0
    args.run.mkdir(parents=True, exist_ok=True)
    if last.exists():
        saved = torch.load(last, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        generator.set_state(saved["generator"])
        first, spent = saved["epoch"], saved["spent"]
    start, steps, progress = time.monotonic() - spent, len(pixels) // args.batch, 0.0
    for epoch in range(first, args.epochs):
        model.train()
        order = torch.randperm(len(pixels), generator=generator).numpy()[: steps * args.batch]
        total = 0.0
        for number, rows in enumerate(order.reshape(steps, args.batch)):
            progress = (epoch + number / steps) / args.epochs
            if args.minutes:
                progress = max(progress, (time.monotonic() - start) / (60 * args.minutes))
            for group in optimiser.param_groups:
                group["lr"] = one_cycle(min(1.0, progress), args.lr)
            images, targets = augment(pixels[rows], masks[rows], size, generator)
            total += step(model, optimiser, prepare(images, CONFIG), targets)
        spent = time.monotonic() - start
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}
        write_checkpoint(last, {**state, "generator": generator.get_state(), "spent": spent})
        line = {"epoch": epoch + 1, "loss": round(total / steps, 4), "seconds": round(spent)}
        line["val_dice"] = round(float(score(Segmenter(model, CONFIG, ""), held, held_masks).mean()), 4)
        print(json.dumps(line), flush=True)
        if progress >= 1:
            break
    return model


def export(model: nn.Module, folder: Path) -> None:
    """Writes the network in half precision, its configuration and their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_half(model, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    write_manifest(folder, FILES)


def write_card(folder: Path, args: argparse.Namespace) -> None:
    """Reads the test side once and writes what was measured beside the weights."""
    figures = measure(Segmenter.load(folder), args.data)
    (folder / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    command = "python -m clarify.training.segmenter.train --data HAM10000"
    command += f" --epochs {args.epochs} --minutes {args.minutes:g} --lr {args.lr:g} --seed {args.seed}"
    text = CARD.read_text(encoding="utf-8").replace("{table}", table(figures)).replace("{command}", command)
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the HAM10000 archive and masks")
    parser.add_argument("--run", type=Path, default=Path("runs/segmenter"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=DEFAULT, help="the folder to ship")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=0.0, help="end by this many minutes; 0: no limit")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--val", type=int, default=300, help="val pictures looked at after each epoch")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    model = train(args)
    export(model, args.out)
    write_card(args.out, args)


if __name__ == "__main__":
    main()
