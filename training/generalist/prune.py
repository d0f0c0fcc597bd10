"""Removes the decoder blocks of a vision-language model that change little, before it is stored in 4 bits.

    python -m clarify.training.generalist.prune --weights FOLDER --remove 1 --out runs/pruned --data PATH
    python -m clarify.training.generalist.prune --weights FOLDER --remove 8 --out runs/pruned --chats FILE

Blocks are ranked by their influence on calibration data (Men et al. 2024, ShortGPT, arXiv 2403.03853,
equation 1): one less the cosine between what goes in and what comes out, averaged over tokens. The data are
nano's training dialogues, or the chats of a file: a JSON list of messages a line, as `apply_chat_template`
takes them. What is written is not quantized. Nano recovers with `train --weights` and is stored in NF4 by
`export`; of another model what is left is read and checked, and recovered with a trainer of your own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from ...errors import BadInput
from .batches import Dialogues
from .export import load_full
from .pictures import PictureBank
from .stages import STAGES, Source

Inputs = Mapping[str, Any]
"""What a model's forward takes; its `attention_mask`, where there is one, says which tokens count."""


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of the text decoder, first to last.

    Raises:
        BadInput: The model has no list of decoder blocks.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise BadInput(
            f"{type(model).__name__} has no list of decoder blocks", hint="Give a vision-language model."
        )
    return layers


@torch.no_grad()
def influence(model: PreTrainedModel, data: Iterable[Inputs]) -> list[float]:
    """How much each block changes what goes through it, 0..2, averaged over all tokens of the data.

    Args:
        model: Any vision-language model of transformers.
        data: Inputs of its forward.

    Raises:
        BadInput: There are no tokens.
    """
    layers = blocks(model)
    total = torch.zeros(len(layers), dtype=torch.float64)
    counted, mask = 0, None

    def listen(number: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            before = args[0] if args else kwargs["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            changed = 1 - nn.functional.cosine_similarity(before.double(), after.double(), dim=-1)
            total[number] += float(changed.sum() if mask is None else changed[mask].sum())

        return hook

    handles = [layer.register_forward_hook(listen(i), with_kwargs=True) for i, layer in enumerate(layers)]
    try:
        for inputs in data:
            known: Tensor | None = inputs.get("attention_mask")
            mask = known.bool() if known is not None else None
            counted += int(mask.sum()) if mask is not None else int(inputs["input_ids"].numel())
            model.eval()(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not counted:
        raise BadInput("there is nothing to calibrate with", hint="Give dialogues or chats.")
    return [float(value) / counted for value in total]


def keep(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Leaves only some blocks, in their order; the model's configuration says so afterwards.

    Args:
        model: Changed in place.
        kept: Numbers of blocks.

    Raises:
        BadInput: A number is of no block, or there is none.
    """
    layers, order = blocks(model), sorted(set(kept))
    if not order or not 0 <= order[0] <= order[-1] < len(layers):
        raise BadInput(
            f"blocks {order} cannot be kept of {len(layers)}", hint="Keep at least one, counted from 0."
        )
    config: Any = model.config.get_text_config()
    for name, known in vars(config).items():  # such as the kind of each block's attention
        if isinstance(known, list) and len(known) == len(layers):
            setattr(config, name, [known[i] for i in order])
    model.get_decoder().layers = nn.ModuleList(layers[i] for i in order)
    config.num_hidden_layers = len(order)
    for number, layer in enumerate(blocks(model)):
        placed: list[Any] = [part for part in layer.modules() if hasattr(part, "layer_idx")]
        for part in placed:  # the place of its keys and values in the cache
            part.layer_idx = number


def least(influences: Sequence[float], remove: int) -> list[int]:
    """The blocks to remove: those of least influence, but neither the first nor the last one.

    Raises:
        BadInput: There are too few.
    """
    inner = range(1, len(influences) - 1)
    if not 0 <= remove <= len(inner):
        raise BadInput(f"{remove} of {len(influences)} blocks cannot be removed", hint="Remove fewer.")
    return sorted(sorted(inner, key=lambda i: influences[i])[:remove])


def save_pruned(model: PreTrainedModel, removed: Sequence[int], source: Path, out: Path) -> None:
    """Removes blocks and writes what is left, with the processor of the folder it came from.

    Raises:
        BadInput: The model's blocks are of different kinds by their number, so that it cannot be read again.
    """
    keep(model, [i for i in range(len(blocks(model))) if i not in removed])
    model.to(torch.bfloat16).save_pretrained(out)
    AutoProcessor.from_pretrained(source).save_pretrained(out)
    loaded: Any = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    if any(loaded[1][kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise BadInput(
            f"without blocks {list(removed)} {type(model).__name__} cannot be read: their kinds go by number",
            hint="Remove others, or none.",
        )


def own_dialogues(
    folder: Path, data: Path | None, pictures: Path | None, n: int, stage: str = "experts"
) -> Iterable[Inputs]:
    """Batches of the training dialogues of one of nano's `STAGES`, as inputs."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if tokenizer.token_to_id("<|assistant|>") is None:
        raise BadInput(f"{folder} does not know nano's dialogues", hint="Calibrate with --chats.")
    bank = PictureBank.load(pictures) if pictures else None
    maker = STAGES[stage].reads(Source(data, bank))
    for batch in islice(Dialogues(maker, tokenizer, bank, "calibration", 0, 4096, 1400), n):
        inputs = {"input_ids": batch.ids, "attention_mask": (batch.ids != 0).long()}
        shown = {"pixel_values": batch.pictures[None]} if batch.pictures.numel() else {}
        yield inputs | shown


def chats(folder: Path, file: Path) -> Iterable[Inputs]:
    """Chats of a file as inputs, one by one."""
    processor: Any = AutoProcessor.from_pretrained(folder)
    for line in filter(str.strip, file.read_text("utf-8").splitlines()):
        yield processor.apply_chat_template(
            json.loads(line), tokenize=True, return_dict=True, return_tensors="pt"
        )


def main() -> None:
    """Ranks, removes and saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="a model folder")
    parser.add_argument("--remove", type=int, required=True, help="how many blocks")
    parser.add_argument("--out", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="calibrate with nano's dialogues; as `train` takes it")
    parser.add_argument(
        "--stage", choices=list(STAGES), default="experts", help="whose dialogues, with --data"
    )
    source.add_argument("--chats", type=Path, help="calibrate with the chats of a file")
    parser.add_argument("--pictures", type=Path, help="of nano's dialogues; as `train` takes it")
    parser.add_argument("--batches", type=int, default=24, help="batches of dialogues, or chats")
    args = parser.parse_args()
    if args.chats and args.pictures:
        parser.error("--pictures go with --data; chats name their own")
    model = load_full(args.weights)
    least([0.0] * len(blocks(model)), args.remove)  # refused before it is calibrated
    data = (
        islice(chats(args.weights, args.chats), args.batches)
        if args.chats
        else own_dialogues(args.weights, args.data, args.pictures, args.batches, args.stage)
    )
    found = influence(model, data)
    removed = least(found, args.remove)
    save_pruned(model, removed, args.weights, args.out)
    print(json.dumps({"influence": [round(v, 4) for v in found], "removed": removed}))


if __name__ == "__main__":
    main()
