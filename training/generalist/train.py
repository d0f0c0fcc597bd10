"""Trains nano on made-up dialogues: stages 2 to 4 (`stages.py`); `vision.py` is the first.

    python -m clarify.training.generalist.train --data SHARED_DATA --pictures runs/pictures.npz --minutes 60
    torchrun --nproc-per-node 2 -m clarify.training.generalist.train ... --threads 1
    python -m clarify.training.generalist.train ... --tokens 32768 --workers 8 --minutes 9   (a GPU)

    python -m clarify.training.generalist.train --stage align --tower runs/tower/tower.safetensors ...
    python -m clarify.training.generalist.train --stage instruct --weights runs/align --out runs/instruct ...
    python -m clarify.training.generalist.train --stage experts --weights runs/instruct --out runs/nano ...

The second form averages the gradients of two processes: on a busy machine two processes that meet once a step
wait far less than two threads that meet in every operation. `--weights FOLDER` goes on from an exported model
or another run, with a new optimizer and a new cycle of the learning rate. The model is on the GPU where there
is one; it learns faster than one process makes dialogues, so give it `--workers`.

Dialogues follow from the seed and the number of their block; a resumed run begins with a block of which none
was seen.
The learning rate follows the share of `--minutes` used (warm-up, flat, linear to zero).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Idefics3ForConditionalGeneration, PreTrainedModel

from ..checkpoints import same_training, write_checkpoint
from ..device import best_device, loader
from .batches import Batch, Dialogues
from .encode import system_text
from .export import load_full, load_run
from .model import EMBEDDINGS, SMALLEST, Shape, answer_loss, build, grow, shape_of
from .pictures import PictureBank
from .stages import STAGES, Mixture, Source
from .tokenizer import COUNTED, LEAST, corpus, count_words, rows_of, train_tokenizer, without_rare


def optimizers(model: torch.nn.Module, lr: float, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon for the decoder's matrices, AdamW for the rest (Liu et al. 2025, arXiv 2502.16982)."""
    matrices, rest = [], []
    for name, parameter in ((n, p) for n, p in model.named_parameters() if p.requires_grad):
        inside = "text_model.layers" in name and parameter.ndim == 2 and muon
        (matrices if inside else rest).append(parameter)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    ]
    if matrices:
        made.append(torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
    return made


def rate(progress: float, warm: float = 0.02, decay_from: float = 0.5) -> float:
    """Warm-up, flat, linear to zero: the multiplier at a share of the run."""
    if progress < warm:
        return progress / warm
    return min(1.0, max(0.0, (1 - progress) / (1 - decay_from)))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with disease_ontology/ and hetionet_subset/"
    )
    parser.add_argument(
        "--pictures", type=Path, help="made by clarify.training.generalist.pictures; without it: text only"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/nano"))
    parser.add_argument("--stage", choices=list(STAGES), default="experts")
    parser.add_argument(
        "--weights", type=Path, help="exported folder, or run, to go on from with a new optimizer"
    )
    parser.add_argument("--tower", type=Path, help="tower.safetensors of clarify.training.generalist.vision")
    parser.add_argument("--compile", action="store_true", help="1.2 times as fast; needs a C++ compiler")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--tokens", type=int, default=8192, help="padded tokens a step")
    parser.add_argument(
        "--brief", type=float, default=0.7, help="share of dialogues with one short row a question"
    )
    parser.add_argument("--longest", type=int, default=1400)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--adamw", action="store_true", help="AdamW for every parameter")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument(
        "--layers",
        type=int,
        help=f"of the decoder: those of --weights, or {SMALLEST.layers}; more, and it is grown",
    )
    parser.add_argument("--width", type=int, help=f"in 64s: that of --weights, or {SMALLEST.width}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="further processes that make dialogues")
    parser.add_argument("--steps", type=int, default=10**9)
    return parser


def train(args: argparse.Namespace) -> None:
    """Runs or resumes the training that `args` describe; writes `checkpoint.pt`."""
    torch.set_num_threads(args.threads)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = best_device()
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    bank = PictureBank.load(args.pictures) if args.pictures else None
    stage, source = STAGES[args.stage], Source(args.data, bank, "train", args.brief)
    read, held_back = stage.reads(source), stage.reads(replace(source, split="test", brief=0.0))
    tokenizer = shared_tokenizer(args, source, rank, world)
    model = begin(args, tokenizer).to(device)
    stage.freeze(model)
    optims = optimizers(model, args.lr, not args.adamw)
    checkpoint = args.out / "checkpoint.pt"
    begun = {
        "stage": args.stage, "weights": str(args.weights or ""), "tower": str(args.tower or ""),
        "shape": list(shape_of(model.state_dict())), "seed": args.seed,
    }  # fmt: skip
    used, step, seen = resumed(checkpoint, model, optims, begun, device)
    test = [
        batch.to(device)
        for batch in islice(Dialogues(held_back, tokenizer, bank, "held back", 0, 8192, 1400), 12)
    ]
    decoder = model.model.text_model
    if args.compile:
        decoder = torch.compile(decoder, dynamic=True)
    log = (args.out / "log.jsonl").open("a", encoding="utf-8")
    losses: list[Tensor] = []
    last = time.time()
    made = Dialogues(read, tokenizer, bank, f"{args.seed}.{rank}", step, args.tokens, args.longest)
    for batch in loader(made, args.workers):
        progress = used / (60 * args.minutes)
        if progress >= 1 or step >= args.steps:
            break
        loss = take_step(model, optims, batch.to(device), decoder, args.lr * rate(progress))
        now = time.time()
        used = agreed(used + now - last, world, device)
        last = now
        losses.append(loss)
        step, seen = step + 1, seen + world * int(batch.ids.numel())
        if step % 200 == 0 and rank == 0:
            row = {"step": step, "tokens": seen, "minutes": round(used / 60, 1)}
            row |= {"loss": round(float(torch.stack(losses).mean()), 4), **judge(model, test, decoder)}
            line = json.dumps({**row, "tokens_per_second": round(seen / used)})
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()
            losses.clear()
        if step % 500 == 0 and rank == 0:
            save(checkpoint, model, optims, begun, used, step, seen)
    if rank == 0:
        print(json.dumps({"step": step, **judge(model, test, decoder)}), flush=True)
        save(checkpoint, model, optims, begun, used, step, seen)
    if world > 1:
        dist.destroy_process_group()


def shared_tokenizer(args: argparse.Namespace, source: Source, rank: int, world: int) -> Tokenizer:
    """The tokenizer of the run, of `--weights`, or a new one; the first process makes it for all.

    A new one is trained on what the last stage reads, whichever comes first: all stages share it. What other
    dialogues hardly show is taken out of it.
    """
    path = args.out / "tokenizer.json"
    if rank == 0 and args.weights and not path.exists():
        shutil.copyfile(args.weights / "tokenizer.json", path)
    elif rank == 0 and not path.exists():
        maker = Mixture([(source.dialogues(pictures=True), 19.0), *source.captions()])
        dialogues = 6000
        texts = (maker.make(random.Random(f"tokenizer/{i}")) for i in range(dialogues))
        tokenizer = train_tokenizer(corpus(texts, system_text()), args.vocab)
        least = LEAST * dialogues // COUNTED
        without_rare(tokenizer, count_words(tokenizer, maker, dialogues), least).save(str(path))
    if world > 1:
        dist.barrier()
    return Tokenizer.from_file(str(path))


def begin(args: argparse.Namespace, tokenizer: Tokenizer) -> Idefics3ForConditionalGeneration:
    """A new nano, or that of `--weights`, perhaps grown, perhaps with a pretrained tower."""
    image, pad, end = (tokenizer.token_to_id(token) for token in ("<image>", "<pad>", "<|end|>"))
    state = load_state(args.weights, tokenizer) if args.weights else None
    layers, width = shape_of(state) if state else SMALLEST
    shape = Shape(args.layers or layers, args.width or width)
    model = build(tokenizer.get_vocab_size(), image, pad, end, shape)
    # On a CPU 1.1 to 1.2 times as fast as the fused kernel here, which on an H100 (torch 2.11) gave NaN.
    model.set_attn_implementation("eager")
    if state:
        model.load_state_dict(grow(state, model.state_dict()))
    if args.tower:
        model.model.vision_model.load_state_dict(load_file(args.tower))
    return model


def load_state(folder: Path, tokenizer: Tokenizer) -> dict[str, Tensor]:
    """Weights of a run or an exported folder, with the embeddings of a tokenizer that has some of its tokens.

    Raises:
        BadInput: The tokenizer has others.
    """
    rows = rows_of(tokenizer, Tokenizer.from_file(str(folder / "tokenizer.json")))
    state = load_weights(folder).state_dict()
    return {key: value[rows] if key in EMBEDDINGS else value for key, value in state.items()}


def load_weights(folder: Path) -> PreTrainedModel:
    """The model of a run of this command, or of an exported folder, in full precision."""
    return load_run(folder)[0] if (folder / "checkpoint.pt").exists() else load_full(folder)


def resumed(
    checkpoint: Path,
    model: torch.nn.Module,
    optims: list[torch.optim.Optimizer],
    begun: dict[str, Any],
    device: torch.device,
) -> tuple[float, int, int]:
    """Loads a checkpoint, if there is one; returns seconds used, steps done and tokens seen.

    Raises:
        BadInput: It is of a training that was begun otherwise.
    """
    if not checkpoint.exists():
        return 0.0, 0, 0
    state = torch.load(checkpoint, weights_only=True, map_location=device)
    same_training(checkpoint, state["begun"], begun)
    model.load_state_dict(state["model"])
    for optim, saved in zip(optims, state["optims"], strict=True):
        optim.load_state_dict(saved)
    return state["used"], state["step"], state["seen"]


def take_step(
    model: Idefics3ForConditionalGeneration,
    optims: list[torch.optim.Optimizer],
    batch: Batch,
    decoder: torch.nn.Module,
    lr: float,
) -> Tensor:
    """One step down the gradient of all processes; returns the loss, a scalar without gradient."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16):
        loss, _ = answer_loss(model, *batch, decoder)
    loss.backward()
    average(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optim in optims:
        for group in optim.param_groups:
            group["lr"] = lr
        optim.step()
        optim.zero_grad(set_to_none=True)
    return loss.detach()


@torch.no_grad()
def judge(
    model: Idefics3ForConditionalGeneration, batches: list[Batch], decoder: torch.nn.Module
) -> dict[str, float]:
    """Loss and share of dialogues right (teacher-forced) on held-back dialogues."""
    with torch.autocast(batches[0].ids.device.type, torch.bfloat16):
        judged = [answer_loss(model, *batch, decoder) for batch in batches]
    right = torch.cat([right for _, right in judged]).float().mean()
    loss = sum(float(loss) for loss, _ in judged) / len(judged)
    return {"held_back": round(loss, 4), "dialogues_right": round(float(right), 3)}


def average(model: torch.nn.Module) -> None:
    """Averages the gradients over all processes."""
    if not dist.is_initialized():
        return
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        if parameter.grad is None:  # no picture in this process's batch
            parameter.grad = torch.zeros_like(parameter)
    held = [parameter.grad for parameter in learning if parameter.grad is not None]
    flat = torch.cat([g.flatten() for g in held])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in held:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def agreed(seconds: float, world: int, device: torch.device) -> float:
    """The mean over all processes, so that they stop together."""
    if world == 1:
        return seconds
    shared = torch.tensor(seconds, dtype=torch.float64, device=device)
    dist.all_reduce(shared)
    return float(shared) / world


def save(
    path: Path,
    model: torch.nn.Module,
    optims: list[torch.optim.Optimizer],
    begun: dict[str, Any],
    used: float,
    step: int,
    seen: int,
) -> None:
    """Writes a checkpoint."""
    state = {
        "model": model.state_dict(),
        "optims": [o.state_dict() for o in optims],
        "begun": begun,
        "used": used,
        "step": step,
        "seen": seen,
    }
    write_checkpoint(path, state)


if __name__ == "__main__":
    train(arguments().parse_args())
