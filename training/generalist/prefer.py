"""Trains nano on preference pairs, a fifth stage: DPO by trl (Rafailov et al. 2023, arXiv 2305.18290, eq. 7).

    python -m clarify.training.generalist.preferences --weights runs/nano --out runs/pairs ...
    python -m clarify.training.generalist.prefer --weights runs/nano --pairs runs/pairs \
        --pictures runs/pictures.npz --out runs/preferred
    python -m clarify.training.generalist.export --run runs/preferred --out weights/preferred
    python -m clarify.bench.preference --before runs/nano/full --after runs/preferred/full ...

The reference is the model of `--weights`; what it gives each pair is computed once, before the first step.
`--sft` adds the likelihood of the preferred side to the loss, since DPO alone may lower that of both (Pang et
al. 2024, arXiv 2404.19733). All weights move.

Of 452 pairs no effect could be shown at a rate of 2e-5, and at 2e-4 they made nano worse: measure with the
bench before a run replaces another.

The same command goes on from the last checkpoint, of five that a run writes. `--out` becomes a run as `train`
writes one, for `export` or for `--weights`. It runs in one process, on a CPU or one GPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

from ...errors import BadInput
from ..checkpoints import same_training, write_checkpoint
from ..device import best_device
from .encode import wrap_tokenizer
from .finetune import CHECKPOINTS, SETTINGS, Lines
from .pictures import PictureBank
from .preferences import Pair, read_pairs
from .train import load_weights

COLUMNS, LENGTH = ("prompt", "chosen", "rejected", "pictures"), "length"


class Collator:
    """Pads pairs as trl does, the preferred sides before the others, and adds their pictures.

    Args:
        pad: Id that fills up.
        bank: Pictures, or None.
    """

    def __init__(self, pad: int, bank: PictureBank | None) -> None:
        self._text, self._bank = DataCollatorForPreference(pad_token_id=pad, max_length=None), bank

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Inputs of the model's forward, and which tokens count; both sides see the same pictures."""
        inputs: dict[str, Tensor] = self._text(pairs)
        indices = [index for pair in pairs for index in pair["pictures"]]
        if indices and self._bank is not None:
            seen = self._bank.tensor(indices)
            inputs["pixel_values"] = torch.cat([seen, seen])[
                None
            ]  # in one row, which nano takes for any number
        return inputs


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="a run, or an exported folder")
    parser.add_argument("--pairs", type=Path, required=True, help="made by `preferences`")
    parser.add_argument("--pictures", type=Path, help="the bank that the pairs were made with")
    parser.add_argument("--out", type=Path, default=Path("runs/preferred"))
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--steps", type=int, help="instead of --epochs")
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--beta", type=float, default=0.1, help="how dear it is to leave the reference")
    parser.add_argument(
        "--sft", type=float, default=0.0, help="weight of the likelihood of the preferred side"
    )
    parser.add_argument("--batch", type=int, default=8, help="pairs at once")
    parser.add_argument(
        "--bf16", action="store_true", help="half the time; likelihoods to three digits instead of six"
    )
    parser.add_argument("--accumulate", type=int, default=1, help="batches a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def prefer(args: argparse.Namespace) -> dict[str, Any]:
    """Runs or resumes the training that `args` describe; writes `checkpoint.pt`.

    Returns:
        Pairs, steps, and the last figures that trl logged.

    Raises:
        BadInput: There are no pairs, their pictures are not given, there are several GPUs, or `--out` holds
            another training.
    """
    if torch.cuda.device_count() > 1:
        raise BadInput("there are several GPUs", hint="Choose one: CUDA_VISIBLE_DEVICES=0.")
    torch.set_num_threads(args.threads)
    pairs = read_pairs(args.pairs)
    if args.pictures is None and any(pair.pictures for pair in pairs):
        raise BadInput("the pairs have pictures", hint="Give --pictures, the bank they were made with.")
    bank = PictureBank.load(args.pictures) if args.pictures else None
    begun, wanted = args.out / SETTINGS, settings(args, pairs)
    if begun.is_file():
        same_training(begun, json.loads(begun.read_text("utf-8")), wanted)
    args.out.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(args.weights / "tokenizer.json", args.out / "tokenizer.json")
    model = load_weights(args.weights).to(best_device())
    model.set_attn_implementation("eager")  # as in `train.begin`
    return train(model, pairs, bank, args, wanted)


def settings(args: argparse.Namespace, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What a checkpoint must have in common with the training that goes on from it."""
    loose = ("out", "pictures", "threads")
    said = {name: str(value) for name, value in vars(args).items() if name not in loose}
    return said | {"stage": "prefer", "pairs": len(pairs)}


def train(
    model: PreTrainedModel,
    pairs: Sequence[Pair],
    bank: PictureBank | None,
    args: argparse.Namespace,
    begun: dict[str, Any],
) -> dict[str, Any]:
    """Trains a model from the last checkpoint on, if there is one, and writes it as `train` does.

    Args:
        model: What training starts from, and the reference.
        pairs: Pairs.
        bank: Their pictures, or None.
        args: The command line.
        begun: As `settings`.
    """
    tokenizer = wrap_tokenizer(Tokenizer.from_file(str(args.out / "tokenizer.json")))
    trainer = DPOTrainer(
        model=model,
        args=config(args),
        train_dataset=dataset(pairs),
        data_collator=Collator(tokenizer.pad_token_id, bank),
        processing_class=tokenizer,
        callbacks=[Lines()],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoints = args.out / CHECKPOINTS
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    done = trainer.train(resume_from_checkpoint=last)
    logged = [row for row in trainer.state.log_history if "rewards/margins" in row]
    seen = int(logged[-1]["num_tokens"]) if logged else 0
    state = {
        "model": model.state_dict(),
        "optims": [],
        "begun": begun,
        "step": done.global_step,
        "seen": seen,
    }
    write_checkpoint(args.out / "checkpoint.pt", {**state, "used": done.metrics["train_runtime"]})
    figures = ("loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected")
    last_row = {name: round(float(logged[-1][name]), 4) for name in figures} if logged else {}
    return {"pairs": len(pairs), "steps": done.global_step, **last_row}


def dataset(pairs: Sequence[Pair]) -> Dataset:
    """The pairs as trl reads them, those of like length together, which saves half the padding."""
    rows = [{column: asdict(pair)[column] for column in COLUMNS} for pair in pairs]
    for row in rows:
        row[LENGTH] = len(row["prompt"]) + max(len(row["chosen"]), len(row["rejected"]))
    return Dataset.from_list(sorted(rows, key=lambda row: row[LENGTH]))


def config(args: argparse.Namespace) -> DPOConfig:
    """Settings of trl: the loss of DPO, and that of the preferred side if it has a weight."""
    gpu = torch.cuda.is_available()
    return DPOConfig(
        output_dir=str(args.out / CHECKPOINTS),
        loss_type=["sigmoid", "sft"] if args.sft else ["sigmoid"],
        loss_weights=[1.0, args.sft] if args.sft else [1.0],
        beta=args.beta,
        max_length=None,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=args.batch,
        per_device_train_batch_size=args.batch,
        gradient_accumulation_steps=args.accumulate,
        num_train_epochs=args.epochs,
        max_steps=args.steps or -1,
        learning_rate=args.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        bf16=args.bf16,
        use_cpu=not gpu,
        gradient_checkpointing=False,
        save_steps=0.2,
        save_total_limit=1,
        logging_steps=0.05,
        train_sampling_strategy="group_by_length",
        length_column_name=LENGTH,
        remove_unused_columns=False,  # it would take the pictures
        report_to="none",
        disable_tqdm=True,
        seed=args.seed,
    )


if __name__ == "__main__":
    print(json.dumps(prefer(arguments().parse_args())))
