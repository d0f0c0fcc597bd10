"""Train the specialist, or a larger network that teaches it, from nothing on HAM10000.

    python -m clarify.training.specialist.train --data PATH [--epochs 60] [--minutes 42]
    python -m clarify.training.specialist.train --data PATH --network teacher --seed 1 --out runs/teacher1
    python -m clarify.training.specialist.train --data PATH --teachers runs/teacher1/last.pt ... --minutes 30

Only the train side of ``clean_split`` is learnt from, the val side is printed, the test side is never opened
here. Pictures, masks and network live on the GPU where there is one. With ``--minutes`` the learning-rate
cycle follows whichever is further, steps or the clock, so that a busy machine still ends with an annealed
model. The last checkpoint holds all that is needed to go on after a stop.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...errors import BadInput
from ...hashing import file_sha256
from ...tools.specialist import load_network
from ..checkpoints import same_training, write_checkpoint
from ..device import best_device
from ..segmenter.data import load_masks
from .data import LABELS, augment, load_split, resize
from .lessons import Pupil, Targets, Teacher, Teachers, targets
from .networks import INPUT, NETWORKS, build, normalise


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
    pairs = list(zip(ema.state_dict().values(), model.state_dict().values(), strict=True))
    moving = [(old, new) for old, new in pairs if old.dtype.is_floating_point]
    average: Any = get_ema_multi_avg_fn(decay)
    average([old for old, _ in moving], [new for _, new in moving], 0)
    for old, new in pairs:
        if not old.dtype.is_floating_point:
            old.copy_(new)


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro AUC of a network on (n, 3, h, w) pictures in 0..1."""
    model.eval()
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        logits = torch.cat([model(normalise(part)).float() for part in images.split(128)]).cpu()
    probabilities = logits.softmax(1).numpy()
    guess = probabilities.argmax(1)
    return {
        "accuracy": float((guess == labels).mean()),
        "balanced": float(balanced_accuracy_score(labels, guess)),
        "auc": float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")),
        "loss": float(F.cross_entropy(logits, torch.from_numpy(labels))),
    }


SETTINGS = "network height width batch lr decay ema mixup colour smoothing mask patient taught seed".split()
"""Arguments that a resumed training must repeat."""


class Run:
    """All that a training is made of, and its checkpoint.

    Args:
        args: The command line.
        sites: How many sites the pictures name.
        device: Where it runs.

    Raises:
        BadInput: The checkpoint is of a training with other settings.

    Attributes:
        settings: What a run must have in common with its checkpoint; stays in it for the model card.
        epoch: Epochs done.
        step: Steps done.
        spent: Seconds spent.
    """

    def __init__(self, args: argparse.Namespace, sites: int, device: torch.device) -> None:
        self.args, self.last = args, args.out / "last.pt"
        self.settings = {name: getattr(args, name) for name in SETTINGS}
        self.settings["started_from"] = file_sha256(args.start) if args.start else ""
        self.settings["teachers"] = [
            file_sha256(path / "model.safetensors" if path.is_dir() else path) for path in args.teachers
        ]
        self.generator = torch.Generator().manual_seed(args.seed)
        self.model = build(args.network).to(device, memory_format=torch.channels_last)
        self.pupil = Pupil(self.model, sites).to(device)
        self.ema = copy.deepcopy(self.model).requires_grad_(False).eval()
        groups = parameter_groups(self.pupil, args.decay)
        self.optimiser = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.99), fused=True)
        self.epoch, self.step, self.spent = 0, 0, 0.0
        if self.last.exists():
            self._load(device)
        elif args.start:  # a warm restart (Loshchilov and Hutter 2017, arXiv:1608.03983)
            shipped = load_file(args.start)
            self.model.load_state_dict(shipped)
            self.ema.load_state_dict(shipped)

    def learnt(self, loss: Tensor, rate: float) -> None:
        """One step down a loss at a learning rate, and of the averaged weights after it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        take_step(self.pupil, self.optimiser, loss)
        self.step += 1
        update_ema(self.ema, self.model, min(self.args.ema, (1 + self.step) / (10 + self.step)))

    def save(self) -> None:
        """Writes ``last.pt`` in one go."""
        state = {part: getattr(self, part).state_dict() for part in ("pupil", "ema", "optimiser")}
        state |= {name: getattr(self, name) for name in ("epoch", "step", "spent", "settings")}
        state |= {"generator": self.generator.get_state(), "chance": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda_chance"] = torch.cuda.get_rng_state()
        write_checkpoint(self.last, state)

    def _load(self, device: torch.device) -> None:
        saved = torch.load(self.last, weights_only=True, map_location=device)
        same_training(self.last, saved["settings"], self.settings)
        for part in ("pupil", "ema", "optimiser"):
            getattr(self, part).load_state_dict(saved[part])
        self.generator.set_state(saved["generator"].cpu())
        torch.set_rng_state(saved["chance"].cpu())
        if "cuda_chance" in saved and torch.cuda.is_available():
            torch.cuda.set_rng_state(saved["cuda_chance"].cpu())
        for name in ("epoch", "step", "spent"):
            setattr(self, name, saved[name])


def load_teachers(those: Sequence[Path], weight: float, device: torch.device) -> Teachers | None:
    """The averaged weights of finished trainings, or exported folders; None of none.

    Raises:
        BadInput: A folder is of a network with other labels or units.
    """
    teachers = []
    for path in those:
        if path.is_dir():
            network, _ = load_network(path)
            known = json.loads((path / "config.json").read_text())["pretrained_cfg"]
            mine = {"mean": INPUT["mean"], "std": INPUT["std"], "label_names": [*LABELS]}
            if any(known[name] != value for name, value in mine.items()):
                raise BadInput(
                    f"{path} has other labels, or takes pictures in other units",
                    hint="A teacher must be trained with this command.",
                )
            size = (known["input_size"][1], known["input_size"][2])
        else:
            saved = torch.load(path, weights_only=True, map_location=device)
            settings = saved["settings"]
            network, size = build(settings["network"]), (settings["height"], settings["width"])
            network.load_state_dict(saved["ema"])
        teachers.append(Teacher(network.to(device, memory_format=torch.channels_last), size))
    return Teachers(teachers, weight) if teachers else None


def train(args: argparse.Namespace) -> None:
    """Run or resume the training that ``args`` describe; writes ``args.out/last.pt`` every few epochs."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device, size = best_device(), (args.height, args.width)
    side, val = load_split(args.data, "train"), load_split(args.data, "val")
    val_images = resize(val.images, size).to(device)
    counts = np.bincount(side.labels, minlength=len(LABELS))
    odds = torch.from_numpy(1 / np.sqrt(counts[side.labels]))
    wanted = targets(side, load_masks(args.data, side), args.smoothing).to(device)
    pixels = torch.from_numpy(side.images).to(device)
    args.out.mkdir(parents=True, exist_ok=True)
    run, teachers = Run(args, wanted.site.shape[1], device), load_teachers(args.teachers, args.taught, device)
    size_of_it = sum(p.numel() for p in run.model.parameters())
    print(
        json.dumps({"parameters": size_of_it, "counts": counts.tolist(), "from_epoch": run.epoch}), flush=True
    )
    steps, start = len(side.labels) // args.batch, time.monotonic() - run.spent
    while run.epoch < args.epochs:
        run.pupil.train()
        rows = torch.multinomial(odds, steps * args.batch, replacement=True, generator=run.generator)
        total = torch.zeros((), device=device)
        for chunk in rows.to(device).split(args.batch):
            progress = run.step / (steps * args.epochs)
            if args.minutes:
                progress = max(progress, (time.monotonic() - start) / (60 * args.minutes))
            loss = step_loss(
                run.pupil, pixels[chunk], wanted.rows(chunk), size, args, run.generator, teachers
            )
            run.learnt(loss, one_cycle(progress, args.lr))
            total += loss.detach()
        run.epoch, run.spent = run.epoch + 1, time.monotonic() - start
        done = run.epoch == args.epochs or progress >= 1
        line: dict[str, Any] = {"epoch": run.epoch, "loss": round(float(total) / steps, 4)}
        line |= {"progress": round(progress, 3), "seconds": round(run.spent)}
        if done or run.epoch % args.every == 0:
            for name, network in (("val_ema", run.ema), ("val_raw", run.model)):
                line[name] = {k: round(v, 4) for k, v in evaluate(network, val_images, val.labels).items()}
            run.save()
        print(json.dumps(line), flush=True)
        if done:
            break


def step_loss(
    pupil: Pupil,
    pixels: Tensor,
    wanted: Targets,
    size: tuple[int, int],
    args: argparse.Namespace,
    generator: torch.Generator,
    teachers: Teachers | None = None,
) -> Tensor:
    """The loss of one batch with mixup (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        pupil: the network with its training heads, in training mode.
        pixels: uint8 (n, h, w, 3).
        wanted: their targets; the masks follow the augmentation.
        size: (height, width) of the network's input.
        args: ``mixup`` (the Beta parameter), ``colour`` (strength of the jitter), ``mask`` and ``patient``
            (weights of the two further losses).
        generator: source of chance for the augmentation.
        teachers: judge the pictures as the pupil sees them.
    """
    images, masks = augment(pixels, wanted.mask, size, generator, args.colour)
    images = normalise(images)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(args.mixup, args.mixup))
    images = share * images + (1 - share) * images.flip(0)
    wanted = replace(wanted, mask=masks).mixed(share)
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        taught = teachers.judge(images) if teachers else None
        return pupil.loss(images, wanted, args.mask, args.patient, taught)


def take_step(pupil: Pupil, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(pupil.parameters(), 5.0)
    optimiser.step()


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the HAM10000 archive")
    parser.add_argument("--out", type=Path, default=Path("runs/specialist"))
    parser.add_argument("--network", choices=sorted(NETWORKS), default="specialist")
    parser.add_argument(
        "--teachers", type=Path, nargs="*", default=[], help="last.pt of trainings, or exports"
    )
    parser.add_argument("--taught", type=float, default=0.7, help="weight of the teachers beside the label")
    parser.add_argument("--start", type=Path, help="an export's model.safetensors: one more cycle")
    parser.add_argument("--height", type=int, default=INPUT["input_size"][1])
    parser.add_argument("--width", type=int, default=INPUT["input_size"][2])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="end by this many minutes of training; 0: no limit"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--ema", type=float, default=0.997)
    parser.add_argument("--mixup", type=float, default=0.2)
    parser.add_argument("--colour", type=float, default=1.0, help="strength of the jitter of colours")
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--mask", type=float, default=0.3, help="weight of the loss of the lesion's mask")
    parser.add_argument("--patient", type=float, default=0.05, help="weight of the losses of age and site")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=3, help="epochs between looks at val and checkpoints")
    return parser


if __name__ == "__main__":
    train(arguments().parse_args())
