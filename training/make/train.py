"""Pretrains a dual encoder by MAKE (arXiv 2505.09372) on HAM10000 and drawn lesions.

    python -m clarify.training.make.train --data HAM10000 --minutes 45
    torchrun --nproc-per-node 2 -m clarify.training.make.train --data HAM10000 --minutes 45 --threads 1
    torchrun --nproc-per-node 8 -m clarify.training.make.train --table train.csv --model ViT-B-16 --epochs 15

Of HAM10000 only the train side of ``clean_split`` is learnt from; val is printed; the test side is for
`clarify.bench.make`. ``--table`` trains on a training table of your own instead (`prepare`, `tables`), and
``--model`` begins with any model of open_clip. ``last.pt`` holds all that is needed to go on after a stop.
With torchrun the batch is shared by several processes (`gather`), each with a GPU where there are any; their
weights stay equal, statistics of batch norms are those of the first. A GPU learns faster than one process
prepares batches: give it ``--workers``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...errors import BadInput
from ...tools.concepts.encoder import DEFAULT, encode_patches, pixel_statistics
from ...tools.concepts.prompts import prompts
from ..checkpoints import write_checkpoint
from ..device import best_device, loader
from ..specialist.data import LABELS, colour_jitter, random_affine, resize
from ..specialist.train import one_cycle, parameter_groups
from .aspects import TEXTS
from .batches import Batch, Steps, Texts, rows_of_epoch
from .calibrate import calibrate
from .captions import Captioner
from .data import Pictures, drawn, ham
from .gather import gather
from .losses import Losses, Parts, make_loss
from .model import LOCAL, Towers, begin_named, begin_small, encode_texts
from .sides import Made, Side, Tabled
from .tables import mask_order, read_training

ROWS: dict[str, Parts] = {
    "raw": Parts(multi_aspect=False, same_text="ignored"),
    "aspects": Parts(local=False, weights=False, same_text="ignored"),
    "local": Parts(weights=False, same_text="ignored", local_length="unit"),
    "make": Parts(same_text="ignored", local_length="unit"),
    "published": Parts(),
    "released": Parts(released_indexing=True, masked="negative"),
}
"""The rows of the ablation. Up to `make`, each has one part more; texts that are true of a picture are no
negatives of it there, which made-up captions need: two moles on the back would push each other away."""


_TOKENIZED = 20_000
"""Most rows of a table that a new tokenizer is trained on."""


def step_loss(
    model: nn.Module,
    pixels: Tensor,
    batch: Batch,
    parts: Parts,
    texts_used: int = TEXTS,
) -> Losses:
    """The losses of one batch.

    Args:
        model: Of open_clip.
        pixels: Prepared pictures, (B, 3, h, w).
        batch: From `Texts.batch`.
        parts: What is on.
        texts_used: The first so many texts of each picture; 1 for the raw caption alone.
    """
    ids, which, mask, numbers, also = (tensor.to(pixels.device) for tensor in batch)
    which, mask, numbers = (tensor[:, :texts_used] for tensor in (which, mask, numbers))
    used, which = torch.unique(which, return_inverse=True)
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16):
        images, patches = encode_patches(model, pixels)
        found = encode_texts(model, ids[used])
    texts = found.float()[which]
    scale = model.logit_scale.exp()  # type: ignore[operator]
    seen = gather(images.float(), texts, mask, numbers, also) if dist.is_initialized() else None
    return make_loss(images.float(), patches.float(), texts, mask, scale, parts, numbers, seen, also)


@torch.no_grad()
def by_name(model: nn.Module, texts: Texts, pixels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and balanced accuracy of naming pictures by the labels' display names alone."""
    captioner, model, device = Captioner(), model.eval(), next(model.parameters()).device
    size = model.visual.image_size  # type: ignore[union-attr]
    classes = []
    for label in LABELS:
        found = model.encode_text(
            texts.ids(prompts().for_disease(captioner.labels[label].names[:1])).to(device), normalize=True
        )  # type: ignore[operator]
        classes.append(nn.functional.normalize(found.mean(0), dim=-1))
    images = torch.cat(
        [
            encode_patches(model, normalised(model, resize(part, size).to(device)))[0]
            for part in np.array_split(pixels, 8)
        ]
    )
    said = (images @ torch.stack(classes).T).argmax(1).cpu().numpy()
    recalls = [float((said[labels == k] == k).mean()) for k in np.unique(labels)]
    return {"accuracy": float((said == labels).mean()), "balanced": float(np.mean(recalls))}


def normalised(model: nn.Module, images: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) in 0..1 in the tower's units."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in pixel_statistics(model))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def look(model: nn.Module, pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A training batch: any rotation and flip, some zoom, nearly all colours, which captions name."""
    size = model.visual.image_size  # type: ignore[union-attr]
    images = pixels.permute(0, 3, 1, 2).float().div_(255)
    images = random_affine(images, size, generator, zoom=(0.75, 0.3), shift=0.08)
    return normalised(model, colour_jitter(images, generator, 0.9))


def joined(first: Pictures, second: Pictures) -> Pictures:
    """Two sets of pictures as one."""
    return Pictures(
        np.concatenate([first.pixels, second.pixels]),
        np.concatenate([first.masks, second.masks]),
        (*first.known, *second.known),
        (*first.ids, *second.ids),
    )


def side_of(args: argparse.Namespace) -> Side:
    """The pictures and texts that ``args`` name."""
    if args.table:
        rows = list(read_training(args.table, args.pictures, order=mask_order(args.table)))
        return Tabled(rows, args.size)
    known = joined(ham(args.data, "train", args.cache), drawn(args.drawn, 1, args.cache))
    return Made(known, Captioner(args.hide))


def towers_of(args: argparse.Namespace, side: Side) -> Towers:
    """The model that ``args`` begin with; a small new one learns its tokens from the side's texts."""
    if args.model:
        return begin_named(args.model, args.pretrained)
    rng, rows = random.Random(args.seed), np.arange(min(len(side.groups), _TOKENIZED))
    return begin_small(text for _ in range(8) for one in side.aspects(rows, rng) for text in one.texts())


def train(args: argparse.Namespace) -> Towers:
    """Runs or resumes the training that ``args`` describe; writes ``last.pt`` every epoch.

    Raises:
        BadInput: The pictures make no batch, or ``last.pt`` is of a training with other texts.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = best_device()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    side, parts = side_of(args), ROWS[args.parts]
    towers = towers_of(args, side)
    texts, model = Texts(towers.tokenize), towers.model.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), lr=args.lr, betas=(0.9, 0.98))
    steps = len(side.groups) // (args.batch * world)
    if not steps:
        raise BadInput(f"{len(side.groups)} pictures make no batch", hint="Give more, or a smaller --batch.")
    args.checkpoints.mkdir(parents=True, exist_ok=True)
    last, tokens = args.checkpoints / "last.pt", towers.tokens()
    epoch, spent = resumed(last, tokens, model, optimiser, device)
    start = time.monotonic() - spent

    def progress(done: float) -> float:
        """Share of the epochs or of the minutes, whichever is greater; the same in all processes."""
        share = torch.tensor(max(done / args.epochs, (time.monotonic() - start) / (60 * args.minutes)))
        if dist.is_initialized():
            dist.broadcast(share := share.to(device), 0)
        return min(1.0, float(share))

    named = validation(args, model, texts) if args.data else None
    while progress(epoch) < 1:
        model.train()
        chance = np.random.default_rng([args.seed, epoch])
        generator = torch.Generator().manual_seed(1000 * args.seed + world * epoch + rank)
        rows = rows_of_epoch(side.groups, steps * args.batch * world, args.power, chance)[rank::world]
        total = 0.0
        made = Steps(side, texts, rows.reshape(steps, args.batch), f"{args.seed}/{epoch}")
        for number, (seen, batch) in enumerate(loader(made, args.workers)):
            for group in optimiser.param_groups:
                group["lr"] = one_cycle(progress(epoch + number / steps), args.lr)
            pixels = look(model, seen.to(device), generator)
            used = TEXTS if parts.multi_aspect else 1
            loss = step_loss(model, pixels, batch, parts, used).total
            take_step(model, optimiser, loss)
            total += float(loss.detach())
        epoch, reached = epoch + 1, progress(epoch + 1)
        if rank == 0:
            spent = time.monotonic() - start
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "tokens": tokens}
            write_checkpoint(last, {**state, "epoch": epoch, "spent": spent})
            line: dict[str, Any] = {"epoch": epoch, "loss": round(total / steps, 4), "seconds": round(spent)}
            if named and (epoch % args.every == 0 or reached >= 1):
                line["val"] = {key: round(value, 3) for key, value in named().items()}
            print(json.dumps(line), flush=True)
    return towers


def resumed(
    last: Path, tokens: str, model: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device
) -> tuple[int, float]:
    """Loads a checkpoint, if there is one; returns the epochs done and the seconds spent.

    Raises:
        BadInput: It was made with other tokens: the texts have changed.
    """
    if not last.exists():
        return 0, 0.0
    saved = torch.load(last, weights_only=True, map_location=device)
    if saved["tokens"] != tokens:
        raise BadInput(
            f"{last} was made with other texts", hint="Name another folder with --checkpoints to begin anew."
        )
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["epoch"], saved["spent"]


def take_step(model: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of all processes; the scale stays at most 100 (as in CLIP)."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(model)
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(100))  # type: ignore[operator]


def validation(args: argparse.Namespace, model: nn.Module, texts: Texts) -> Callable[[], dict[str, float]]:
    """What names the val side of HAM10000."""
    held = ham(args.data, "val", args.cache)
    labels = np.array([LABELS.index(known.label) for known in held.known])
    return lambda: by_name(model, texts, held.pixels, labels)


def average_gradients(model: nn.Module) -> None:
    """The mean of all processes' gradients."""
    if dist.is_initialized():
        for parameter in model.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of HAM10000")
    source.add_argument("--table", type=Path, help="a training table")
    parser.add_argument("--pictures", type=Path, help="what the table's filenames are relative to")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(256, 256), help="pictures of a table are read so"
    )
    parser.add_argument(
        "--model", help="an architecture of open_clip, or local-dir:FOLDER; a small new one else"
    )
    parser.add_argument("--pretrained", help="weights of the architecture: a tag of open_clip, or a file")
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/make/run"), help="checkpoints")
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/make/cache"), help="measures, drawn pictures"
    )
    parser.add_argument("--out", type=Path, default=DEFAULT, help="the folder to ship")
    parser.add_argument("--parts", choices=sorted(ROWS), default="make")
    parser.add_argument(
        "--hide", nargs="*", default=[], choices=LABELS, help="labels that no caption tells of"
    )
    parser.add_argument("--drawn", type=int, default=1500, help="drawn lesions")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by this many minutes")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3, help="about 1e-4 for a pretrained ViT")
    parser.add_argument("--power", type=float, default=0.7, help="1: classes as they are; 0: all alike")
    parser.add_argument("--every", type=int, default=5, help="epochs between looks at val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="further processes that prepare batches")
    return parser


def main() -> None:
    """Trains and exports."""
    parser = arguments()
    args = parser.parse_args()
    if args.pretrained and (not args.model or args.model.startswith(LOCAL)):
        parser.error("--pretrained needs an architecture in --model")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        dist.init_process_group("nccl" if best_device().type == "cuda" else "gloo")
    towers = train(args)
    if int(os.environ.get("RANK", 0)) == 0:
        towers.export(args.out)
        if args.data:
            calibrate(args.out, args.data, args.cache)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
