"""Where training runs, and what feeds it."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ..errors import BadInput


def best_device() -> torch.device:
    """This process's GPU where there are any, else the CPU; to be called before `init_process_group`.

    Raises:
        BadInput: There are fewer GPUs than processes.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", 0))
    if number >= torch.cuda.device_count():
        raise BadInput(
            f"process {number} has no GPU of its own",
            hint="Start as many processes as there are GPUs, or hide them all with CUDA_VISIBLE_DEVICES=.",
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def loader(made: Dataset[Any], workers: int) -> DataLoader[Any]:
    """Ready batches, in an order that depends on nothing but the number of further processes."""
    if workers:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork
    return DataLoader(
        made, batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None, multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
