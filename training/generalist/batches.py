"""Batches of made-up dialogues, made on the fly in as many processes as are wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from .encode import Encoded, encode, system_text
from .pictures import PictureBank
from .stages import Maker

BLOCK, TOKENS_EACH = 192, 24
"""Dialogues that are made at once, to be grouped by length: one for so many tokens of a batch, so that a
block is some ten batches, and never fewer than the first."""


class Batch(NamedTuple):
    """Dialogues padded on the right.

    Attributes:
        ids: Token ids, (batch, length).
        weight: What each weighs in the loss, (batch, length); 0 is not learnt.
        pictures: Normalised pictures in order of appearance, (n, 3, 64, 64).
    """

    ids: Tensor
    weight: Tensor
    pictures: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class Dialogues(IterableDataset[Batch]):
    """Endless batches of about `tokens` padded tokens; dialogues of like length stand together.

    Everything follows from `seed` and the number of the block, so no dialogue comes twice.

    Args:
        maker: Writes the dialogues.
        tokenizer: Encodes them.
        bank: The pictures that the maker draws from, or None for dialogues of text alone.
        seed: Names this row of dialogues.
        first: Number of the first block; a resumed training begins where none was taken.
        tokens: Padded tokens of a batch.
        longest: Longer dialogues are left out.
    """

    def __init__(
        self,
        maker: Maker,
        tokenizer: Tokenizer,
        bank: PictureBank | None,
        seed: str,
        first: int,
        tokens: int,
        longest: int,
    ) -> None:
        self.maker, self.tokenizer, self.bank = maker, tokenizer, bank
        self.seed, self.first, self.tokens, self.longest = seed, first, tokens, longest

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, step = (worker.id, worker.num_workers) if worker else (0, 1)
        block, system = self.first + number, system_text()
        while True:
            yield from (collate(group, self.bank) for group in self._groups(block, system))
            block += step

    def _groups(self, block: int, system: str) -> list[list[Encoded]]:
        made = []
        for i in range(max(BLOCK, self.tokens // TOKENS_EACH)):
            dialogue = self.maker.make(random.Random(f"{self.seed}/{block}/{i}"))
            made.append(encode(dialogue, self.tokenizer, system))
        groups: list[list[Encoded]] = [[]]
        for item in sorted((e for e in made if len(e.ids) <= self.longest), key=lambda e: len(e.ids)):
            if groups[-1] and len(item.ids) * (len(groups[-1]) + 1) > self.tokens:
                groups.append([])
            groups[-1].append(item)
        random.Random(f"{self.seed}/{block}").shuffle(groups)
        return groups


def collate(batch: list[Encoded], bank: PictureBank | None) -> Batch:
    """Pads dialogues and fetches their pictures."""
    longest = max(len(e.ids) for e in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    weight = torch.zeros((len(batch), longest))
    for row, item in enumerate(batch):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        weight[row, : len(item.ids)] = torch.tensor(item.weight)
    indices = [index for item in batch for index in item.images]
    pictures = bank.tensor(indices) if bank is not None and indices else torch.zeros(0)
    return Batch(ids, weight, pictures)
