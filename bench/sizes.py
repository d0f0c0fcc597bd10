"""What 4 bits and fewer blocks save at real size: bytes of weights and cache, and milliseconds a token.

    python -m clarify.bench.sizes [--remove 4] [--context 4096] [--json FILE]
    python -m clarify.bench.sizes --measure [--toy] [--tokens 64] [--repeats 9]

The model has the shape of Qwen2.5-VL-7B (`--toy`: that of a very small sister; `--layers`, `--hidden` and so
on change either) and no trained weights: in bf16, in NF4 with double quantization as `agent.generalist` loads
it (Dettmers et al. 2023, arXiv 2305.14314), and in NF4 without some decoder blocks. All blocks are of one
size, so which of them go does not matter here.

The first table is COMPUTED: the model stands on the meta device, transformers says which of its layers it
would pack, and what is stored for them is counted. Embeddings, `lm_head`, norms, biases and the convolution
of the vision tower stay in bf16. A context is the tokens whose keys and values are kept, which are those of
the prompt and of the answer but its last; activations are not computed.

`--measure` builds each variant on the GPU, or without one on the CPU, with random weights, and lets it write
exactly as many tokens after the same prompt, which starts with a picture. Weights are the tensors that are
held before the first pass. The peak is `max_memory_allocated` with no other variant in memory; on a CPU it
is weights and cache after the answer (a CPU with AVX512-BF16 repacks 4-bit layers on the first pass, with
scales of 16 bits). 4-bit layers are called straight, as the product does (`agent.generalist.straight`), and
in a last row as bitsandbytes calls them. Times are taken in turns, all variants in memory, after one turn
that does not count; ratios are of medians over the turns, with the 95 % bootstrap interval. On one thread
of a CPU they are processor time, which is what the clock shows on an idle machine; elsewhere they are the
clock's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from ..agent.generalist.straight import straighten
from ..errors import BadInput
from ..training.device import best_device
from ..training.intervals import ratio_of_medians
from .sizes_model import (
    REAL,
    SIZES,
    TOY,
    Shape,
    Variant,
    build,
    cache_bytes,
    configuration,
    held_bytes,
    skeleton,
    variants,
    weight_bytes,
)

CLOCKS = {"processor time": time.process_time, "wall time": time.perf_counter}


def compute(shape: Shape, rows: Iterable[Variant], context: int) -> dict[str, dict[str, int]]:
    """Computed bytes of each variant: `packed`, `kept`, their sum `weights`, `cache` and `total`."""
    found = {}
    for variant in rows:
        model = skeleton(configuration(shape), variant)
        packed, kept = weight_bytes(model)
        cache = cache_bytes(model.config, context)
        found[variant.name] = {
            "packed": packed,
            "kept": kept,
            "weights": packed + kept,
            "cache": cache,
            "total": packed + kept + cache,
        }
    return found


def prompt(shape: Shape, length: int, device: torch.device) -> dict[str, Tensor]:
    """A prompt of so many tokens as a model takes it: a picture, then random text.

    Raises:
        BadInput: It is too short for the picture.
    """
    config, rng = configuration(shape), torch.Generator().manual_seed(0)
    vision: Any = config.vision_config
    shown = (shape.grid // vision.spatial_merge_size) ** 2
    if length <= shown:
        raise BadInput(f"{length} tokens are no more than the picture's {shown}", hint="Raise --context.")
    ids = torch.randint(0, shape.first_id, (1, length), generator=rng)
    ids[0, :shown] = config.image_token_id
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    inputs = {
        "input_ids": ids,
        "position_ids": torch.arange(length).expand(3, 1, -1),
        "pixel_values": torch.randn(shape.grid**2, patch, generator=rng),
        "image_grid_thw": torch.tensor([[1, shape.grid, shape.grid]]),
    }
    return {name: value.to(device) for name, value in inputs.items()}


def clock_name(device: torch.device) -> str:
    """Which of the `CLOCKS` times a device: processor time misses a GPU, and adds up threads."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return "processor time" if alone else "wall time"


@torch.inference_mode()
def answer(model: Any, inputs: Mapping[str, Tensor], tokens: int) -> tuple[np.ndarray, int]:
    """Writes exactly so many tokens, the likeliest ones, whatever they are.

    Returns:
        Milliseconds of each, (tokens,), the first of them of the prefill; and the bytes of the cache, which
        holds the prompt and all tokens but the last.
    """
    clock = CLOCKS[clock_name(model.device)]
    cache, marks = DynamicCache(config=model.config), [clock()]
    for _ in range(tokens):
        out = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        token.item()  # waits for the GPU, as a loop that looks at each token does
        marks.append(clock())
        place = torch.full((3, 1, 1), cache.get_seq_length(), device=token.device)
        inputs = {"input_ids": token, "position_ids": place}
    layers: Any = cache.layers
    return 1000 * np.diff(marks), sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)


def memory(model: Any, inputs: Mapping[str, Tensor], tokens: int) -> dict[str, int]:
    """Measured bytes of a fresh model, alone on its device: `weights`, `cache` and `peak`."""
    device, weights = model.device, held_bytes(model)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    _, cache = answer(model, inputs, tokens)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else held_bytes(model) + cache
    return {"weights": weights, "cache": cache, "peak": peak}


def check_room(found: Mapping[str, Mapping[str, int]], device: torch.device) -> None:
    """Refuses variants that do not fit into the device's memory together.

    Raises:
        BadInput: They do not.
    """
    if device.type == "cuda":
        there, _ = torch.cuda.mem_get_info(device)
    else:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = sum(row["total"] for row in found.values())
    if needed > there:
        raise BadInput(
            f"the variants take {needed / 1e9:.1f} GB, {device} has {there / 1e9:.1f}",
            hint="Use a GPU, fewer --layers, or --toy.",
        )


def measure(
    shape: Shape, rows: Sequence[Variant], context: int, tokens: int, repeats: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Measures each variant: bytes, milliseconds, and ratios to the first with their intervals.

    Args:
        shape: Of all variants.
        rows: The variants.
        context: What the cache holds at the end, in tokens.
        tokens: Length of the answer, at least 2.
        repeats: Turns that count.
        device: Where.

    Raises:
        BadInput: The prompt has no room for its picture.
    """
    inputs, config = prompt(shape, context - tokens + 1, device), configuration(shape)
    found: dict[str, dict[str, Any]] = {}
    for variant in rows:
        found[variant.name] = memory(build(config, variant, device), inputs, tokens)
        gc.collect()  # 4-bit weights and their layers hold each other
    models = [build(config, variant, device) for variant in rows]
    for model, variant in zip(models, rows, strict=True):
        answer(model, inputs, 2)
        if variant.straight:  # as in `agent.generalist`, after a first pass
            straighten(model)
    times = np.empty((len(rows), repeats + 1, tokens))
    for turn in range(repeats + 1):
        for k in range(len(rows)):
            row = (turn + k) % len(rows)
            times[row, turn], _ = answer(models[row], inputs, tokens)
    prefill, each = times[:, 1:, 0], times[:, 1:, 1:]
    for row, variant in enumerate(rows):
        found[variant.name] |= {
            "prefill_ms": float(np.median(prefill[row])),
            "prefill_ratio": ratio_of_medians(prefill[row], prefill[0]),
            "token_ms_p50": float(np.median(each[row])),
            "token_ms_p95": float(np.quantile(each[row], 0.95)),
            "token_ratio": ratio_of_medians(np.median(each[row], axis=1), np.median(each[0], axis=1)),
            "n": repeats,
        }
    return found


def show_computed(found: Mapping[str, Mapping[str, int]]) -> None:
    """Prints the table of computed bytes."""
    print("| COMPUTED bytes | in 4 bits | not in 4 bits | weights | of bf16 | cache | sum | of bf16 |")
    print("|---|---|---|---|---|---|---|---|")
    base = next(iter(found.values()))
    for name, row in found.items():
        print(
            f"| {name} | {row['packed']:,} | {row['kept']:,} | {row['weights']:,}"
            f" | {row['weights'] / base['weights']:.1%} | {row['cache']:,} | {row['total']:,}"
            f" | {row['total'] / base['total']:.1%} |"
        )


def show_measured(found: Mapping[str, Mapping[str, Any]], peak: str) -> None:
    """Prints the table of measured bytes and milliseconds.

    Args:
        found: What `measure` returned.
        peak: What the greatest number of bytes is of.
    """
    print(
        f"| MEASURED | weights, bytes | of bf16 | {peak}, bytes | of bf16 | prefill ms | to bf16"
        " | ms a token p50, p95 | p50 to bf16 |\n|---|---|---|---|---|---|---|---|---|"
    )
    base = next(iter(found.values()))
    for name, row in found.items():
        prefill, token = (
            "{:.2f} x [{:.2f}, {:.2f}]".format(*row[f"{k}_ratio"]) for k in ("prefill", "token")
        )
        print(
            f"| {name} | {row['weights']:,} | {row['weights'] / base['weights']:.1%} | {row['peak']:,}"
            f" | {row['peak'] / base['peak']:.1%} | {row['prefill_ms']:.1f} | {prefill}"
            f" | {row['token_ms_p50']:.2f}, {row['token_ms_p95']:.2f} | {token} |"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--remove", type=int, default=4, help="decoder blocks, of the last row")
    parser.add_argument("--context", type=int, help="tokens of prompt and answer; 4096, of the toy 256")
    parser.add_argument("--toy", action="store_true", help="a shape that a CPU runs in seconds")
    for name in SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="of the decoder")
    parser.add_argument("--measure", action="store_true", help="build, run and time the variants")
    parser.add_argument("--tokens", type=int, default=64, help="of the answer")
    parser.add_argument("--repeats", type=int, default=9, help="turns; at least 5")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.repeats < 5 or args.tokens < 2 or args.threads < 1:
        parser.error("an interval takes 5 turns, a token's time 2 tokens, and a run a thread")
    if args.context is not None and args.context < 1:
        parser.error("a context has a token")
    given = {name: value for name in SIZES if (value := getattr(args, name)) is not None}
    shape = replace(TOY if args.toy else REAL, **given)
    context, rows = shape.context if args.context is None else args.context, variants(args.remove)
    torch.set_num_threads(args.threads)
    sizes = {name: getattr(shape, name) for name in SIZES}
    print(f"{shape.name}: {', '.join(f'{k} {v}' for k, v in sizes.items())}; context {context} tokens\n")
    report: dict[str, Any] = {"shape": {"name": shape.name, **sizes}, "context": context}
    report["computed"] = compute(shape, rows, context)
    show_computed(report["computed"])
    if args.measure:
        device = best_device()
        check_room(report["computed"], device)
        cuda = device.type == "cuda"
        where = torch.cuda.get_device_name(device) if cuda else f"CPU, {args.threads} thread(s)"
        rows.append(Variant("NF4, as bitsandbytes calls it", True, 0, straight=False))
        found = measure(shape, rows, context, args.tokens, args.repeats, device)
        clock = clock_name(device)
        report |= {"device": where, "clock": clock, "tokens": args.tokens, "measured": found}
        print(
            f"\n{where}; prompt {context - args.tokens + 1} tokens,"
            f" answer {args.tokens}, {args.repeats} turns, {clock}\n"
        )
        show_measured(found, "peak" if cuda else "weights and cache after the first pass")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
