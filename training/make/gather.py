"""One contrastive batch over several processes: every process sees the vectors of all of them.

A process makes the softmax rows of its own pictures and texts, over the columns of all processes. Its loss
is its share times the number of processes, so that the mean over the processes, of losses and of gradients,
is the loss and the gradient of one process with the joined batch. The released code of MAKE (arXiv
2505.09372) lacks the offset of the process in its labels, so that all but the first aim at wrong texts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

_NOBODY = -1


class Gathered(NamedTuple):
    """What the softmax runs over: the N pictures of all processes, in the order of their ranks.

    Attributes:
        images: Unit vectors of the pictures, (N, D).
        texts: Unit vectors of their texts, (N, C, D).
        mask: Which texts there are, bool (N, C).
        text_ids: Equal numbers are equal texts, on all processes, long (N, C); None where nobody asks.
        offset: Row of this process's first picture.
        also: Numbers of further texts that are true of the pictures, long (N, K); None where nobody asks.
    """

    images: Tensor
    texts: Tensor
    mask: Tensor
    text_ids: Tensor | None = None
    offset: int = 0
    also: Tensor | None = None


class _AllGather(torch.autograd.Function):
    """Joins tensors along the first axis; a part's gradient is the sum of what all processes made of it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor)
        ctx.rows = len(tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Not reduce_scatter, which gloo has only since PyTorch 2.8.
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        start = dist.get_rank() * int(ctx.rows)
        return summed[start : start + ctx.rows]


def all_gather_with_gradient(tensor: Tensor) -> Tensor:
    """Joins the tensors of all processes and lets the gradient back to where each came from.

    Args:
        tensor: (B, ...), of the same shape in every process.

    Returns:
        (world * B, ...) in the order of the ranks; the tensor itself in a single process.
    """
    if not dist.is_initialized():
        return tensor
    joined: Tensor = _AllGather.apply(tensor.contiguous())
    return joined


def gather(
    images: Tensor,
    texts: Tensor,
    mask: Tensor,
    text_ids: Tensor | None = None,
    also: Tensor | None = None,
) -> Gathered:
    """Gathers a batch for `make_loss`; every process has to have as many pictures as the others.

    The local vectors stay where they are: only their own process has rows for them, and they are no columns.

    Args:
        images: (B, D), with gradient.
        texts: (B, C, D), with gradient.
        mask: Bool (B, C).
        text_ids: Long (B, C), numbers that mean the same in all processes, such as hashes.
        also: Long (B, K), such numbers of further texts that are true; K may differ between processes.
    """
    offset = dist.get_rank() * len(images) if dist.is_initialized() else 0
    return Gathered(
        all_gather_with_gradient(images),
        all_gather_with_gradient(texts),
        all_gather_with_gradient(mask),
        None if text_ids is None else all_gather_with_gradient(text_ids),
        offset,
        None if also is None else all_gather_with_gradient(_as_wide(also)),
    )


def _as_wide(also: Tensor) -> Tensor:
    """Fills up to the width of the widest process, with what is no text's number (no tuple's hash is -1)."""
    if not dist.is_initialized():
        return also
    width = torch.tensor(also.shape[1], device=also.device)
    dist.all_reduce(width, dist.ReduceOp.MAX)
    return torch.nn.functional.pad(also, (0, int(width) - also.shape[1]), value=_NOBODY)
