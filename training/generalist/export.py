"""Exports a trained nano, in NF4, as a folder that transformers loads.

Usage:

    python -m clarify.training.generalist.export --run runs/nano --out weights/nano
    python -m clarify.training.generalist.export --run runs/nano2 --mean runs/nano/full --out weights/nano
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedModel,
)

from ...agent.generalist.loading import nf4
from ...errors import BadInput
from ...hashing import file_sha256
from .encode import IMAGE_TOKENS
from .model import build, image_processor, shape_of
from .tokenizer import wrap_tokenizer

WEIGHTS = "model.safetensors"


def load_run(run: Path) -> tuple[Idefics3ForConditionalGeneration, Tokenizer, dict[str, float]]:
    """Loads the full-precision weights of a training run, its tokenizer, and how long it ran."""
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    ids = [tokenizer.token_to_id(token) for token in ("<image>", "<pad>", "<|end|>")]
    state = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    image, pad, end = ids
    model = build(tokenizer.get_vocab_size(), image, pad, end, shape_of(state["model"]))
    model.load_state_dict(state["model"])
    facts = {"steps": state["step"], "tokens": state["seen"], "minutes": round(state["used"] / 60, 1)}
    return model.eval(), tokenizer, facts


def export(run: Path, out: Path, *, quantize: bool = True, others: Sequence[Path] = ()) -> dict[str, float]:
    """Writes the model folder.

    Args:
        run: Folder of `train`.
        out: Folder to write; `full/` of the run keeps the unquantized one that NF4 is made from.
        quantize: Whether to store NF4 (as shipped) or bfloat16.
        others: `full/` of further runs, which this one began from or which began where it did: what is
            stored is then the mean of all (Wortsman et al. 2022, arXiv 2203.05482), kept in `mean/`.
    """
    model, tokenizer, facts = load_run(run)
    fast = wrap_tokenizer(tokenizer)
    processor = Idefics3Processor(
        image_processor(), fast, image_seq_len=IMAGE_TOKENS, chat_template=fast.chat_template
    )
    model.generation_config = GenerationConfig(
        eos_token_id=fast.eos_token_id, pad_token_id=fast.pad_token_id, bos_token_id=None, do_sample=False
    )
    full = run / "full"
    model.to(torch.bfloat16).save_pretrained(full)
    processor.save_pretrained(full)
    store(average([full, *others], run / "mean") if others else full, out, quantize=quantize)
    facts |= {"bytes": (out / WEIGHTS).stat().st_size}
    return facts | {"parameters": sum(p.numel() for p in model.parameters())}


def average(folders: Sequence[Path], out: Path) -> Path:
    """Writes the mean of the weights of full-precision folders of one shape; returns `out`.

    Raises:
        BadInput: They are not of one shape.
    """
    models = [load_full(folder) for folder in folders]
    states = [model.state_dict() for model in models]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise BadInput(
            "models of different shapes have no mean", hint="Give runs that began from each other."
        )
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    models[0].load_state_dict(mean)
    models[0].to(torch.bfloat16).save_pretrained(out)
    AutoProcessor.from_pretrained(folders[0]).save_pretrained(out)
    return out


def load_full(folder: Path) -> PreTrainedModel:
    """A model folder in full precision; NF4 is undone, so what it rounded stays rounded."""
    return dequantized(AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)).float()


def dequantized(model: PreTrainedModel) -> PreTrainedModel:
    """The same model with NF4 undone, in float32; one that is not quantized as it is."""
    if not getattr(model, "is_quantized", False):
        return model
    state, config = model.dequantize().state_dict(), copy.deepcopy(model.config)
    plain = type(model)(config)  # one that can be saved, which what was dequantized cannot
    plain.load_state_dict(state)
    plain.generation_config = model.generation_config
    return plain.float().eval()


def store(full: Path, out: Path, *, quantize: bool = True) -> None:
    """Writes an unquantized model folder anew, in NF4, with its processor and the hash of its weights."""
    packing = {"quantization_config": nf4(), "device_map": {"": "cpu"}} if quantize else {}
    model = AutoModelForImageTextToText.from_pretrained(full, dtype=torch.bfloat16, **packing)
    model.save_pretrained(out)
    AutoProcessor.from_pretrained(full).save_pretrained(out)
    manifest = {"files": {WEIGHTS: file_sha256(out / WEIGHTS)}}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def write_card(out: Path, facts: dict[str, float], metrics: Path, command: str) -> None:
    """Writes `MODEL_CARD.md`: how the weights came to be and what `clarify.bench.generalist` measured.

    Args:
        out: The model folder.
        facts: What `export` returned.
        metrics: What the bench wrote to `--json`.
        command: What trained it.
    """
    sha256 = json.loads((out / "manifest.json").read_text("utf-8"))["files"]["model.safetensors"]
    card = (Path(__file__).parent / "card.md").read_text("utf-8")
    lines = [
        "---",
        "name: clarify-nano",
        "task: image-text-to-text",
        "license: cc-by-nc-4.0",
        "library: transformers",
        "data: made-up dialogues; HAM10000 at 200x150 (clean_split train and val); drawn pictures",
        f"command: {json.dumps(command)}",
        *(f"{key}: {value}" for key, value in facts.items()),
        f"sha256: {sha256}",
        "metrics:",
    ]
    for group, table in json.loads(metrics.read_text("utf-8")).items():
        lines.append(f"  {group}:")
        lines += [f"    {name}: {{hits: {m['hits']}, n: {m['n']}}}" for name, m in table.items()]
    text = "\n".join([*lines, "---", card.format(parameters=facts["parameters"] / 1e6)])
    (out / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Exports and prints what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/nano"))
    parser.add_argument("--out", type=Path, default=Path("weights/nano"))
    parser.add_argument(
        "--mean", type=Path, nargs="*", default=[], help="`full` of runs to take the mean with"
    )
    parser.add_argument("--full", action="store_true", help="bfloat16 instead of NF4")
    parser.add_argument(
        "--metrics", type=Path, help="write the model card with what the bench wrote to --json"
    )
    parser.add_argument("--made-by", default="", help="the command that trained it, for the model card")
    args = parser.parse_args()
    if args.metrics and not args.made_by:
        parser.error("--metrics writes the model card, which needs --made-by")
    facts = export(args.run, args.out, quantize=not args.full, others=args.mean)
    if args.metrics:
        write_card(args.out, facts, args.metrics, args.made_by)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
