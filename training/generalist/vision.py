"""Stage 1, vision pretraining: nano's tower learns to see pictures as a larger encoder does.

    python -m clarify.training.generalist.vision --pictures runs/pictures.npz --out runs/tower --minutes 10
    python -m clarify.training.generalist.train --stage align --tower runs/tower/tower.safetensors ...

What the encoder (MAKE's, or the specialist's: `pictures --encoder`) made of each picture at full size is in
the bank. The tower, at 64 x 64 and with another width, cannot equal it; it learns which pictures are alike:
its loss is 1 - CKA of the two similarities in a batch (linear centred kernel alignment, Kornblith et al.
2019, arXiv 1905.00414, equation 3), which needs no head that would be thrown away.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checkpoints import same_training, write_checkpoint
from ..device import best_device
from .model import PICTURE_SIZE, config
from .pictures import PictureBank
from .train import rate


def cka(a: Tensor, b: Tensor) -> Tensor:
    """Linear centred kernel alignment of two views of the same n things, 0 to 1, a scalar.

    Args:
        a: (n, d).
        b: (n, e).
    """
    a, b = a - a.mean(0), b - b.mean(0)
    shared = (a.T @ b).square().sum()
    return shared / ((a.T @ a).norm() * (b.T @ b).norm()).clamp_min(1e-12)


def see(tower: nn.Module, pictures: Tensor) -> Tensor:
    """The tower's mean patch of normalised pictures (n, 3, 64, 64): (n, width)."""
    side = PICTURE_SIZE // 8
    patches = torch.ones((len(pictures), side, side), dtype=torch.bool, device=pictures.device)
    seen: Tensor = tower(pixel_values=pictures, patch_attention_mask=patches).last_hidden_state
    return seen.mean(1)


def disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Flips pictures (n, 3, h, w) in -1..1 and shifts their colours a little, each its own way."""
    n = len(pictures)
    for axis in (2, 3):
        turned = torch.rand(n, generator=generator) < 0.5
        pictures = torch.where(turned.view(-1, 1, 1, 1).to(pictures.device), pictures.flip(axis), pictures)
    gain = 1 + 0.15 * torch.randn((n, 3, 1, 1), generator=generator)
    shift = 0.1 * torch.randn((n, 3, 1, 1), generator=generator)
    return (pictures * gain.to(pictures.device) + shift.to(pictures.device)).clamp(-1, 1)


def nearest_right(tower: nn.Module, bank: PictureBank, device: torch.device) -> dict[str, float]:
    """How the tower does on held-back pictures: its CKA, and whose nearest train picture shows the same."""
    with torch.inference_mode():
        vectors = torch.cat(
            [
                see(tower, bank.tensor(rows.tolist()).to(device)).float().cpu()
                for rows in torch.arange(len(bank.kind)).split(256)
            ]
        )
    train, test = (np.flatnonzero(bank.split == side) for side in ("train", "test"))
    alike = cka(vectors[test], torch.from_numpy(bank.seen[test]).float())
    centred = nn.functional.normalize(vectors - vectors[train].mean(0), dim=1)
    nearest = (centred[test] @ centred[train].T).argmax(1).numpy()
    right = bank.what[test] == bank.what[train][nearest]
    return {"cka": round(float(alike), 4), "nearest_shows_the_same": round(float(right.mean()), 4)}


def train(args: argparse.Namespace) -> None:
    """Runs or resumes the training that `args` describe; writes `checkpoint.pt` and `tower.safetensors`.

    Raises:
        BadInput: The checkpoint is of another training.
    """
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device, bank = best_device(), PictureBank.load(args.pictures)
    args.out.mkdir(parents=True, exist_ok=True)
    tower = new_tower().to(device)
    optim = torch.optim.AdamW(
        tower.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    checkpoint, generator = args.out / "checkpoint.pt", torch.Generator().manual_seed(args.seed)
    begun = {"batch": args.batch, "lr": args.lr, "seed": args.seed}
    used, step = 0.0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        same_training(checkpoint, state["begun"], begun)
        tower.load_state_dict(state["tower"])
        optim.load_state_dict(state["optim"])
        generator.set_state(state["chance"].cpu())
        used, step = state["used"], state["step"]
    rows = torch.from_numpy(np.flatnonzero(bank.split == "train"))
    seen, last = torch.from_numpy(bank.seen).float(), time.time()
    while (progress := used / (60 * args.minutes)) < 1 and step < args.steps:
        chosen = rows[torch.randint(len(rows), (args.batch,), generator=generator)]
        pictures = disturbed(bank.tensor(chosen.tolist()).to(device), generator)
        with torch.autocast(device.type, torch.bfloat16):
            mine = see(tower, pictures)
        loss = 1 - cka(mine.float(), seen[chosen].to(device))
        for group in optim.param_groups:
            group["lr"] = args.lr * rate(progress)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optim.step()
        step, used, last = step + 1, used + time.time() - last, time.time()
        if step % 100 == 0:
            line = {"step": step, "minutes": round(used / 60, 1), "loss": round(float(loss.detach()), 4)}
            print(json.dumps(line | nearest_right(tower, bank, device)), flush=True)
            save(checkpoint, tower, optim, generator, {"begun": begun, "used": used, "step": step})
    print(json.dumps({"step": step, **nearest_right(tower, bank, device)}), flush=True)
    save(checkpoint, tower, optim, generator, {"begun": begun, "used": used, "step": step})
    save_file(
        {k: v.contiguous().cpu() for k, v in tower.state_dict().items()}, args.out / "tower.safetensors"
    )


def new_tower() -> nn.Module:
    """The tower of nano with fresh weights."""
    from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionTransformer

    shape: Any = config(64, 8, 0, 5).vision_config
    shape._attn_implementation = "eager"
    return Idefics3VisionTransformer(shape)


def save(
    path: Path,
    tower: nn.Module,
    optim: torch.optim.Optimizer,
    generator: torch.Generator,
    facts: dict[str, Any],
) -> None:
    """Writes a checkpoint."""
    state = {"tower": tower.state_dict(), "optim": optim.state_dict(), "chance": generator.get_state()}
    write_checkpoint(path, state | facts)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/tower"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    train(arguments().parse_args())
