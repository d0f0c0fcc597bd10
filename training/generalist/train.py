"""Trains nano from nothing on made-up dialogues.

    python -m clarify.training.generalist.train --data SHARED_DATA --pictures runs/pictures.npz --minutes 60
    torchrun --nproc-per-node 2 -m clarify.training.generalist.train ... --threads 1

The second form averages the gradients of two processes: on a busy machine two processes that meet once a step
wait far less than two threads that meet in every operation. `--weights FOLDER` goes on from an exported model
with a new optimizer and a new cycle of the learning rate.

Batches are made on the fly from `(seed, step)`, so no dialogue is seen twice and a resumed run goes on
where it stopped.
The learning rate follows the share of `--minutes` used (warm-up, flat, linear to zero).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForImageTextToText

from .dialogues import DialogueMaker
from .encode import Encoded, corpus, encode, system_text, train_tokenizer
from .model import LAYERS, answer_loss, build, grow
from .pictures import PictureBank
from .world import load_names, load_phrases

FACTS = Path(__file__).parents[2] / "graph_schema" / "facts"


def batches(
    maker: DialogueMaker, tokenizer: Tokenizer, seed: str, start: int, tokens: int, longest: int
) -> Iterator[list[Encoded]]:
    """Yields batches of about `tokens` padded tokens; dialogues of like length stand together."""
    system = system_text()
    block = start
    while True:
        made = []
        for i in range(192):
            made.append(encode(maker.make(random.Random(f"{seed}/{block}/{i}")), tokenizer, system))
        made = sorted((e for e in made if len(e.ids) <= longest), key=lambda e: len(e.ids))
        groups: list[list[Encoded]] = [[]]
        for item in made:
            if groups[-1] and len(item.ids) * (len(groups[-1]) + 1) > tokens:
                groups.append([])
            groups[-1].append(item)
        random.Random(f"{seed}/{block}").shuffle(groups)
        yield from groups
        block += 1


def collate(batch: list[Encoded], bank: PictureBank | None) -> tuple[Tensor, Tensor, Tensor]:
    """Pads a batch on the right; returns ids and weights (batch, length) and pictures (n, 3, 64, 64)."""
    longest = max(len(e.ids) for e in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    weight = torch.zeros((len(batch), longest))
    for row, item in enumerate(batch):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        weight[row, : len(item.ids)] = torch.tensor(item.weight)
    indices = [index for item in batch for index in item.images]
    pictures = bank.tensor(indices) if bank is not None and indices else torch.zeros(0)
    return ids, weight, pictures


def optimizers(model: torch.nn.Module, lr: float, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon for the decoder's matrices, AdamW for the rest (Liu et al. 2025, arXiv 2502.16982)."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
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


def main() -> None:
    """Parses the arguments and trains."""
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
    parser.add_argument("--weights", type=Path, help="exported folder to go on from, with a new optimizer")
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
    parser.add_argument("--layers", type=int, default=LAYERS, help="of the decoder; --weights may have fewer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10**9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)

    bank = PictureBank.load(args.pictures) if args.pictures else None
    labels = bank.names if bank is not None else []
    names = load_names(args.data)
    maker = DialogueMaker("train", names, load_phrases(FACTS), labels, bank, args.brief)
    held_back = DialogueMaker("test", names, [], labels, bank)
    path = args.out / "tokenizer.json"
    if rank == 0 and args.weights and not path.exists():
        shutil.copyfile(args.weights / "tokenizer.json", path)
    elif rank == 0 and not path.exists():
        texts = (maker.make(random.Random(f"tokenizer/{i}")) for i in range(6000))
        train_tokenizer(corpus(texts, system_text()), args.vocab).save(str(path))
    if world > 1:
        dist.barrier()
    tokenizer = Tokenizer.from_file(str(path))
    ids = {token: tokenizer.token_to_id(token) for token in ("<image>", "<pad>", "<|end|>")}
    model = build(tokenizer.get_vocab_size(), ids["<image>"], ids["<pad>"], ids["<|end|>"], args.layers)
    model.set_attn_implementation("eager")  # on a CPU 1.1 to 1.2 times as fast as the fused kernel here
    if args.weights:
        model.load_state_dict(grow(exported_weights(args.weights), model.state_dict()))
    optims = optimizers(model, args.lr, not args.adamw)

    used, step, seen = 0.0, 0, 0
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optim, saved in zip(optims, state["optims"], strict=True):
            optim.load_state_dict(saved)
        used, step, seen = state["used"], state["step"], state["seen"]
    test = [
        collate(b, bank)
        for b, _ in zip(batches(held_back, tokenizer, "held back", 0, 8192, 1400), range(12), strict=False)
    ]
    decoder = model.model.text_model
    if args.compile:
        decoder = torch.compile(decoder, dynamic=True)
    log = (args.out / "log.jsonl").open("a", encoding="utf-8")
    losses: list[float] = []
    last = time.time()
    for batch in batches(maker, tokenizer, f"{args.seed}.{rank}", step, args.tokens, args.longest):
        progress = used / (60 * args.minutes)
        if progress >= 1 or step >= args.steps:
            break
        for optim in optims:
            for group in optim.param_groups:
                group["lr"] = args.lr * rate(progress)
        tensors = collate(batch, bank)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = answer_loss(model, *tensors, decoder)
        loss.backward()
        now = time.time()
        used = average(model, used + now - last)
        last = now
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        losses.append(loss.item())
        step, seen = step + 1, seen + world * int(tensors[0].numel())
        if step % 200 == 0 and rank == 0:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                judged = [answer_loss(model, *t, decoder) for t in test]
            row = {
                "step": step,
                "tokens": seen,
                "minutes": round(used / 60, 1),
                "loss": round(sum(losses) / len(losses), 4),
            }
            losses.clear()
            row["held_back"] = round(sum(loss.item() for loss, _ in judged) / len(judged), 4)
            row["dialogues_right"] = round(torch.cat([right for _, right in judged]).float().mean().item(), 3)
            line = json.dumps({**row, "tokens_per_second": round(seen / used)})
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()
        if step % 500 == 0 and rank == 0:
            save(checkpoint, model, optims, used, step, seen)
    if rank == 0:
        save(checkpoint, model, optims, used, step, seen)
    if world > 1:
        dist.destroy_process_group()


def exported_weights(folder: Path) -> dict[str, Tensor]:
    """Reads an exported folder back to full precision; NF4 is undone, so what it rounded stays rounded."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    if getattr(model, "is_quantized", False):
        model = model.dequantize()
    state: dict[str, Tensor] = model.float().state_dict()
    return state


def average(model: torch.nn.Module, used: float) -> float:
    """Averages the gradients, and the seconds used, over all processes; returns the seconds."""
    if not dist.is_initialized():
        return used
    for parameter in model.parameters():
        if parameter.grad is None:  # no picture in this process's batch
            parameter.grad = torch.zeros_like(parameter)
    held = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in held] + [torch.tensor([used])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in held:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    return float(flat[-1])


def save(
    path: Path, model: torch.nn.Module, optims: list[torch.optim.Optimizer], used: float, step: int, seen: int
) -> None:
    """Writes a checkpoint beside the old one, then renames it."""
    state = {
        "model": model.state_dict(),
        "optims": [o.state_dict() for o in optims],
        "used": used,
        "step": step,
        "seen": seen,
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


if __name__ == "__main__":
    main()
