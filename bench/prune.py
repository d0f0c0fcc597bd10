"""What each decoder block that is removed costs and saves: accuracy, bytes and milliseconds a token.

    python -m clarify.bench.prune --data PATH --pictures runs/pictures.npz [--remove 0 1 2 3] [--minutes 5]

Every row is nano without its blocks of least influence (`training.generalist.prune`), recovered for so many
minutes on made-up dialogues, stored in NF4: the share of held-back dialogues whose calls and first words are
all predicted right (teacher-forced), the bytes of the weights, and the time of a token of 48 that are forced
after a prompt of 256, all rows in turn in one process on the CPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForImageTextToText

from ..hashing import file_sha256
from ..training.generalist.batches import Batch, Dialogues
from ..training.generalist.export import WEIGHTS, export, load_full, store
from ..training.generalist.model import answer_loss
from ..training.generalist.pictures import PictureBank
from ..training.generalist.prune import influence, least, own_dialogues, save_pruned
from ..training.generalist.stages import Source
from ..training.intervals import share


def make(args: argparse.Namespace, removed: list[int]) -> Path:
    """A row's NF4 folder, made unless it is there."""
    name = "_".join([file_sha256(args.weights / WEIGHTS)[:8], f"{args.minutes:g}", *map(str, removed)])
    folder: Path = args.out / name
    if (folder / "nf4" / "manifest.json").exists():
        return folder / "nf4"
    save_pruned(load_full(args.weights), removed, args.weights, folder / "pruned")
    if not args.minutes:
        store(folder / "pruned", folder / "nf4")
        return folder / "nf4"
    command = [sys.executable, "-m", "clarify.training.generalist.train", "--data", str(args.data)]
    command += ["--pictures", str(args.pictures), "--weights", str(folder / "pruned")]
    command += ["--out", str(folder / "run"), "--minutes", str(args.minutes)]
    subprocess.run([*command, "--tokens", "4096", "--lr", "1e-3", "--threads", str(args.threads)], check=True)
    export(folder / "run", folder / "nf4")
    return folder / "nf4"


@torch.no_grad()
def right(folder: Path, batches: list[Batch]) -> tuple[int, int]:
    """Held-back dialogues that are predicted right, of how many."""
    model: Any = load_full(folder).eval()
    found = torch.cat([answer_loss(model, *batch, model.model.text_model)[1] for batch in batches])
    return int(found.sum()), len(found)


@torch.no_grad()
def token_times(folders: list[Path], repeats: int, prompt: int = 256, tokens: int = 48) -> list[float]:
    """Milliseconds a token of each folder after a prompt: the median of as many turns of forced length."""
    models: list[Any] = [AutoModelForImageTextToText.from_pretrained(folder) for folder in folders]
    ids = torch.randint(50, 1000, (1, prompt), generator=torch.Generator().manual_seed(0))

    def seconds(model: Any, new: int) -> float:
        start = time.perf_counter()
        model.generate(input_ids=ids, min_new_tokens=new, max_new_tokens=new, do_sample=False)
        return time.perf_counter() - start

    times: list[list[float]] = [[] for _ in folders]
    for _ in range(repeats + 1):
        for model, row in zip(models, times, strict=True):
            row.append(1000 * (seconds(model, tokens + 1) - seconds(model, 1)) / tokens)
    return [median(row[1:]) for row in times]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "weights" / "nano")
    parser.add_argument("--remove", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--minutes", type=float, default=5.0, help="of recovery; 0: none")
    parser.add_argument("--dialogues", type=int, default=40, help="batches of held-back dialogues")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/prune"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bank = PictureBank.load(args.pictures)
    maker = Source(args.data, bank, "test").dialogues(pictures=True)
    tokenizer = Tokenizer.from_file(str(args.weights / "tokenizer.json"))
    held_back = list(islice(Dialogues(maker, tokenizer, bank, "prune", 0, 4096, 1400), args.dialogues))
    data = own_dialogues(args.weights, args.data, args.pictures, 24)
    found = influence(load_full(args.weights), data)
    print("influence of the blocks", [round(value, 3) for value in found], flush=True)
    folders = [make(args, least(found, remove)) for remove in args.remove]
    scores = [right(folder, held_back) for folder in folders]
    times = token_times(folders, args.repeats)
    print("| blocks removed | dialogues right | n | bytes | ms a token |\n|---|---|---|---|---|")
    for remove, folder, (hits, n), ms in zip(args.remove, folders, scores, times, strict=True):
        print(f"| {remove} | {share(hits, n)} | {n} | {(folder / WEIGHTS).stat().st_size} | {ms:.2f} |")


if __name__ == "__main__":
    main()
