"""What a step of MAKE costs beside one of plain CLIP, and what the released loop over labels adds.

    python -m clarify.bench.make_speed [--batch 128] [--repeats 15] [--threads 1]

A step is forward, loss and backward of the same towers on random pictures and tokens. Time is the processor
time of the process, which with one thread is what the clock shows on an idle machine. The variants take
turns, so that a busy machine slows all of them down; printed are medians, and their ratios to plain CLIP
with the 95 % bootstrap interval over the turns. Memory is the greatest resident size (`ru_maxrss`) of a
process of its own for each variant, and how much of it came with the steps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..training.intervals import ratio_of_medians
from ..training.make.aspects import KNOWLEDGE, TEXTS
from ..training.make.losses import Parts, diagnosis_weights, local_vectors, make_loss

Towers = Callable[[], Any]
VARIANTS = ("plain CLIP", "MAKE", "MAKE, loop over labels")
SHAPE, CONTEXT, VOCABULARY = (3, 96, 128), 48, 1024
_MB = 1024 if sys.platform == "linux" else 1024**2
"""Of `ru_maxrss`, which counts kilobytes on Linux and bytes on macOS."""


def small_towers() -> Any:
    """The towers that `training.make` trains from nothing."""
    from ..training.make.model import build

    return build()


def random_batch(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (n, 3, 96, 128), tokens (n, 11, 48) and which of the texts there are, (n, 11)."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCABULARY - 1, (n, TEXTS, CONTEXT), generator=rng)
    tokens[..., -1] = VOCABULARY - 1  # the end mark, where the text is read off
    mask = torch.rand(n, TEXTS, generator=rng) < 0.7
    mask[:, : len(KNOWLEDGE)] = True
    return torch.randn(n, *SHAPE, generator=rng), tokens, mask


def step(variant: str, model: Any, pictures: Tensor, tokens: Tensor, mask: Tensor) -> float:
    """One step without the optimizer; returns the loss."""
    from ..tools.concepts.encoder import encode_patches

    model.zero_grad(set_to_none=True)
    scale = model.logit_scale.exp().clamp(max=100)
    images, patches = encode_patches(model, pictures)
    if variant == VARIANTS[0]:
        texts = model.encode_text(tokens[:, 0], normalize=True)[:, None]
        parts = Parts(multi_aspect=False)
        loss = make_loss(images, patches, texts, mask[:, :1], scale, parts).total
    else:
        texts = model.encode_text(tokens.flatten(0, 1), normalize=True).unflatten(0, mask.shape)
        if variant == VARIANTS[1]:
            loss = make_loss(images, patches, texts, mask, scale, Parts(masked="negative")).total
        else:
            loss = looped_loss(images, patches, texts, mask, scale)
    loss.backward()
    return float(loss.detach())


def looped_loss(images: Tensor, patches: Tensor, texts: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """The loss of `Parts(masked="negative")` with a softmax row for every text and its label set in a loop.

    That is how the released code goes about it: logits are repeated for each of the texts of a picture, and
    every label is decided in Python, which reads one number from the device for it.
    """
    n, kinds = mask.shape
    flat, there = texts.flatten(0, 1), mask.flatten()
    to_text, to_picture = torch.arange(n * kinds), torch.empty(n * kinds, dtype=torch.long)
    for row in range(n * kinds):
        if not there[row].item():
            to_text[row] = -100
    for row in range(n * kinds):
        to_picture[row] = row // kinds if there[row].item() else -100
    away_from_raw = to_text.clone()
    away_from_raw[::kinds] = -100
    weights = diagnosis_weights(texts, mask).flatten()

    def repeated(vectors: Tensor) -> Tensor:
        logits = scale * vectors @ flat.T
        return logits[:, None].expand(-1, kinds, -1).reshape(n * kinds, n * kinds)

    local = F.cross_entropy(repeated(local_vectors(patches, texts[:, 0], 0.0)), away_from_raw, weights)
    image_to_text = F.cross_entropy(repeated(images), to_text, weights)
    text_to_image = F.cross_entropy(scale * flat @ images.T, to_picture)
    return (image_to_text + text_to_image) / 2 + 0.7 * local


def peak(variant: str, batch: int, threads: int, towers: Towers = small_towers) -> tuple[float, float]:
    """Greatest resident size of this process after two steps, and what it was before them, in MB."""
    torch.set_num_threads(threads)
    model, data = towers(), random_batch(batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    for _ in range(2):
        step(variant, model, *data)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB, before


def times(batch: int, repeats: int, towers: Towers = small_towers) -> dict[str, np.ndarray]:
    """Processor seconds of each variant's steps, (repeats,), taken in turns after one that does not count."""
    torch.manual_seed(0)
    model, data = towers(), random_batch(batch)
    losses = {variant: step(variant, model, *data) for variant in VARIANTS}
    # Batch statistics drift from step to step but do not enter a training forward, so these two are equal.
    if abs(losses[VARIANTS[1]] - losses[VARIANTS[2]]) > 1e-3 * losses[VARIANTS[1]]:
        raise RuntimeError(f"the loop and the vectorised loss differ: {losses}")
    took: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for turn in range(repeats):
        for k in range(len(VARIANTS)):
            variant = VARIANTS[(turn + k) % len(VARIANTS)]
            start = time.process_time()
            step(variant, model, *data)
            took[variant].append(time.process_time() - start)
    return {variant: np.array(seconds) for variant, seconds in took.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # Memory first: a process starts out with the greatest size that its parent has had.
    context, peaks = multiprocessing.get_context("spawn"), {}
    for variant in VARIANTS:
        with context.Pool(1) as pool:
            peaks[variant] = pool.apply(peak, (variant, args.batch, args.threads))
    took = times(args.batch, args.repeats)
    print(
        f"batch {args.batch}, {args.repeats} turns, {args.threads} thread(s), {SHAPE[1]} x {SHAPE[2]} pixels"
    )
    for variant in VARIANTS:
        value, low, high = ratio_of_medians(took[variant], took[VARIANTS[0]])
        most, before = peaks[variant]
        median = 1000 * np.median(took[variant])
        print(
            f"{variant:24s} {median:8.1f} ms  {value:5.2f} x [{low:5.2f}, {high:5.2f}]"
            f"  peak {most:6.0f} MB, {most - before:6.0f} MB of it in the steps"
        )
    value, low, high = ratio_of_medians(took[VARIANTS[2]], took[VARIANTS[1]])
    print(f"loop over vectorised: {value:.2f} x [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
