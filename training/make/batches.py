"""What the steps of MAKE's training see: pictures, and their texts as tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .aspects import Aspects
from .sides import Side

_MOST_KEPT = 200_000
"""Most texts whose ids are kept."""


class Batch(NamedTuple):
    """The texts of B pictures.

    Attributes:
        ids: Token ids of the distinct texts, (m, context).
        which: Which of them each text is, (B, 11).
        mask: Which texts there are, (B, 11).
        numbers: The texts as numbers, (B, 11).
        also: Numbers of further texts that are true of each picture, (B, K); -1 where there are fewer.
    """

    ids: Tensor
    which: Tensor
    mask: Tensor
    numbers: Tensor
    also: Tensor


class Texts:
    """Token ids of texts, each tokenised once; further processes each keep their own, for an epoch.

    Args:
        tokenize: Texts -> ids (n, context): padded, truncated, with the end mark.
    """

    def __init__(self, tokenize: Callable[[list[str]], Tensor]) -> None:
        self._tokenize = tokenize
        self._kept: dict[str, Tensor] = {}
        self._numbers: dict[str, int] = {}

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Ids of texts, (n, context)."""
        if len(self._kept) > _MOST_KEPT:
            self._kept.clear()
            self._numbers.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if new:
            self._kept |= zip(new, self._tokenize(new), strict=True)
        return torch.stack([self._kept[text] for text in texts])

    def batch(self, aspects: Sequence[Aspects]) -> Batch:
        """The texts of a batch."""
        distinct: dict[str, int] = {}
        rows = [[distinct.setdefault(text, len(distinct)) for text in one.texts()] for one in aspects]
        which, mask = torch.tensor(rows), torch.tensor([one.mask() for one in aspects])
        ids = self.ids([*distinct, *(text for one in aspects for text in one.also)])[: len(distinct)]
        numbers = torch.tensor([self._number(text) for text in distinct])
        most = max(len(one.also) for one in aspects)
        also = [[*map(self._number, one.also), *[-1] * (most - len(one.also))] for one in aspects]
        return Batch(ids, which, mask, numbers[which], torch.tensor(also, dtype=torch.long))

    def _number(self, text: str) -> int:
        """A number that means the same text in every process."""
        if text not in self._numbers:
            self._numbers[text] = hash(tuple(self._kept[text].tolist()))
        return self._numbers[text]


class Steps(Dataset[tuple[Tensor, Batch]]):
    """What the steps of an epoch see.

    Args:
        side: Pictures with texts.
        texts: Their tokens.
        rows: Which pictures, (steps, batch).
        name: Of the epoch: all processes say the same thing in the same words.
    """

    def __init__(self, side: Side, texts: Texts, rows: np.ndarray, name: str) -> None:
        self._side, self._texts, self._rows, self._name = side, texts, rows, name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> tuple[Tensor, Batch]:
        """Pictures uint8 (batch, h, w, 3) and the texts of a step."""
        picked, wording = self._rows[number], random.Random(f"{self._name}/{number}")
        batch = self._texts.batch(self._side.aspects(picked, wording))
        return torch.from_numpy(self._side.pixels(picked)), batch


def rows_of_epoch(labels: np.ndarray, n: int, power: float, rng: np.random.Generator) -> np.ndarray:
    """Draws pictures so that a class of share s comes up in proportion to s to the power; 1: as they are.

    Where all are of one class each comes up once.
    """
    counts = np.unique(labels, return_counts=True)
    if len(counts[0]) == 1:
        return np.asarray(rng.permutation(len(labels))[:n])
    weight = dict(zip(counts[0], counts[1].astype(float) ** (power - 1), strict=True))
    odds = np.array([weight[label] for label in labels])
    return np.asarray(rng.choice(len(labels), n, p=odds / odds.sum()))
