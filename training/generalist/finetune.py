"""Fine-tunes any vision-language model of transformers on conversations, with LoRA or QLoRA.

    python -m clarify.training.generalist.finetune --model FOLDER-or-hub-name \
        --conversations FILE --images FOLDER --out FOLDER --qlora

Low-rank adapters on every linear layer of the text decoder are learnt (Hu et al. 2021, arXiv 2106.09685),
with `--qlora` over weights in NF4 (Dettmers et al. 2023, arXiv 2305.14314). `conversations` tells the format
of FILE; conversations are rendered and encoded by the code that the agent answers with, and only what the
assistant says or calls is learnt (`samples`).

The same command goes on from the last checkpoint, of ten that a run writes. `--out` becomes a folder for the
profile `path:FOLDER`, the adapter merged into weights of full precision; the adapter is in `adapter/`. It
runs in one process, on a CPU or one GPU.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from ...agent.generalist.loaded import LoadedModel
from ...agent.generalist.loading import load
from ...errors import BadInput
from ...hashing import file_sha256
from ..checkpoints import same_training
from ..device import best_device
from .conversations import opener, read
from .export import dequantized
from .samples import Collator, Sample, samples

ADAPTER, CHECKPOINTS, SETTINGS = "adapter", "checkpoints", "training.json"
SPARING = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
"""On a GPU memory is short; on a CPU it is time."""
DROPOUT = 0.05
"""Of the adapters' input, as in QLoRA, appendix B.2."""


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder, or NAME[@REVISION] of the hub")
    parser.add_argument("--conversations", type=Path, required=True, help="JSON file")
    parser.add_argument("--images", type=Path, required=True, help="where the paths of pictures begin")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--qlora", action="store_true", help="keep the model in NF4 while it is trained")
    parser.add_argument("--rank", type=int, default=16, help="of the adapters; they weigh twice")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--steps", type=int, help="instead of --epochs")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=1, help="conversations at once")
    parser.add_argument("--accumulate", type=int, default=8, help="batches a step")
    parser.add_argument("--longest", type=int, default=4096, help="tokens; longer ones are left out")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def finetune(args: argparse.Namespace) -> dict[str, Any]:
    """Runs or resumes the training that `args` describe and writes the model folder.

    Returns:
        Conversations learnt from and left out, steps, and the mean loss of the steps of this run.

    Raises:
        BadInput: The conversations cannot be used or none is short enough, the model is in 4 bits already and
            `--qlora` is not said, or `--out` holds another training.
    """
    if torch.cuda.device_count() > 1:
        raise BadInput("there are several GPUs", hint="Choose one: CUDA_VISIBLE_DEVICES=0.")
    where = source(args.model)
    conversations, loader = read(args.conversations, args.images), opener(args.images)
    wanted, begun = settings(args), args.out / SETTINGS
    if begun.is_file():
        same_training(begun, json.loads(begun.read_text("utf-8")), wanted)
    torch.manual_seed(args.seed)
    lm = load(**where, quantize=args.qlora, device=str(best_device()), warm=False)
    if lm.quantized and not args.qlora:
        raise BadInput(
            f"{args.model} is stored in 4 bits", hint="Say --qlora, or give the unquantized model."
        )
    data = samples(lm, conversations, loader, args.longest)
    left_out = len(conversations) - len(data)
    print(f"{left_out} of {len(conversations)} conversations are longer than {args.longest}", file=sys.stderr)
    if not data:
        raise BadInput(f"no conversation has at most {args.longest} tokens", hint="Raise --longest.")
    args.out.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    facts = train(lm, data, Collator(lm, loader), args)
    lm.processor.save_pretrained(args.out)
    merge(where, args.out / ADAPTER, args.out)
    return {"conversations": len(data), "left_out": left_out, **facts}


def source(model: str) -> dict[str, Any]:
    """How `load` is to find the model: a folder where there is one of that name, else one of the hub."""
    if Path(model).is_dir():
        return {"name": model, "revision": None, "local": True}
    name, _, revision = model.partition("@")
    return {"name": name, "revision": revision or None, "local": False}


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What a checkpoint must have in common with the training that goes on from it."""
    said = {name: value for name, value in vars(args).items() if name not in ("out", "images")}
    return said | {"conversations": file_sha256(args.conversations)}


def decoder_linears(model: PreTrainedModel) -> str:
    """A pattern of the names of all linear layers of the text decoder, as peft takes it.

    Raises:
        BadInput: There are none.
    """
    decoder = model.get_decoder()
    prefix = next((name for name, module in model.named_modules() if module is decoder), "")
    found = {name.rpartition(".")[2] for name, m in decoder.named_modules() if isinstance(m, nn.Linear)}
    if not prefix or not found:
        raise BadInput(
            f"{type(model).__name__} has no text decoder with linear layers",
            hint="Give a vision-language model.",
        )
    return rf"{re.escape(prefix)}\.(.+\.)?({'|'.join(sorted(found))})"


def train(
    lm: LoadedModel, data: list[Sample], collator: Collator, args: argparse.Namespace
) -> dict[str, Any]:
    """Trains adapters from the last checkpoint on, if there is one, and writes them."""
    config = LoraConfig(
        r=args.rank,
        lora_alpha=2 * args.rank,
        lora_dropout=DROPOUT,
        target_modules=decoder_linears(lm.model),
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(lm.model, config)
    gpu = torch.cuda.is_available()
    checkpoints = args.out / CHECKPOINTS
    trainer = Trainer(
        model=adapted,
        args=TrainingArguments(
            output_dir=str(checkpoints),
            per_device_train_batch_size=args.batch,
            gradient_accumulation_steps=args.accumulate,
            num_train_epochs=args.epochs,
            max_steps=args.steps or -1,
            learning_rate=args.lr,
            lr_scheduler_type="cosine",
            warmup_steps=0.03,
            bf16=gpu and torch.cuda.is_bf16_supported(),
            use_cpu=not gpu,
            **(SPARING if gpu else {}),
            save_steps=0.1,
            save_total_limit=1,
            logging_steps=0.02,
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
            seed=args.seed,
        ),
        train_dataset=data,
        data_collator=collator,
        callbacks=[_Lines()],
    )
    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    done = trainer.train(resume_from_checkpoint=last)
    adapted.save_pretrained(args.out / ADAPTER)
    return {"steps": done.global_step, "loss": round(done.training_loss, 4)}


def merge(where: dict[str, Any], adapter: Path, out: Path) -> None:
    """Writes the model with the adapter merged into its weights, unquantized, in the model's own precision.

    Args:
        where: Of `source`.
        adapter: Folder of the adapter.
        out: Folder to write.
    """
    found = {"local_files_only": True} if where["local"] else {"revision": where["revision"]}
    model = AutoModelForImageTextToText.from_pretrained(where["name"], dtype="auto", **found)
    precision = model.dtype
    merged = PeftModel.from_pretrained(dequantized(model), adapter).merge_and_unload()
    merged.to(precision).save_pretrained(out)


class _Lines(TrainerCallback):
    """Says how it goes on stderr, a JSON line at a time."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        print(json.dumps({"step": state.global_step, **(logs or {})}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps(finetune(arguments().parse_args())))
