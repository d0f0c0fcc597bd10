"""The stages of a generalist's training after its tower: what each reads, and which weights it moves.

VILA-M3 (Nath et al. 2024, arXiv 2411.12915, section 3.2) trains in four: vision pretraining (`vision.py`),
vision-language alignment, instruction tuning, expert-guided instruction tuning. In the last everything moves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from ...errors import BadInput
from .alone import Alone, shipped_facts
from .captions import Captions
from .dialogues import DialogueMaker, Message
from .pictures import PictureBank
from .world import Split, load_names, load_phrases

FACTS = Path(__file__).parents[2] / "graph_schema" / "facts"


class Maker(Protocol):
    """Writes dialogues."""

    def make(self, rng: random.Random) -> list[Message]:
        """Makes one."""


@dataclass(frozen=True)
class Source:
    """What dialogues are made of.

    Attributes:
        data: Folder with real names, or None for invented ones alone.
        bank: Pictures, or None.
        split: Whose names, wordings and pictures.
        brief: As `DialogueMaker` takes it.
    """

    data: Path | None
    bank: PictureBank | None
    split: Split = "train"
    brief: float = 0.0

    def dialogues(self, *, pictures: bool) -> DialogueMaker:
        """Questions, calls and answers; with pictures also the specialist's."""
        phrases = load_phrases(FACTS) if self.split == "train" else []
        labels = self.bank.names if self.bank else []
        bank = self.bank if pictures else None
        return DialogueMaker(self.split, load_names(self.data), phrases, labels, bank, self.brief)

    def captions(self) -> list[tuple[Maker, float]]:
        """Captions at weight 1, where there are pictures."""
        return [(Captions(self.split, self.bank), 1.0)] if self.bank else []

    def aligned(self) -> Maker:
        """Captions alone.

        Raises:
            BadInput: There are no pictures.
        """
        if self.bank is None:
            raise BadInput("Alignment is learnt from captions of pictures", hint="Give --pictures.")
        return Captions(self.split, self.bank)

    def alone(self) -> Alone:
        """Whole answers about pictures, without calls.

        Raises:
            BadInput: There are no pictures.
        """
        if self.bank is None:
            raise BadInput("Who answers alone learns from pictures", hint="Give --pictures.")
        return Alone(self.split, self.bank, shipped_facts(self.bank.names))


class Mixture:
    """Draws each dialogue from one of several makers.

    Args:
        makers: With their weights.
    """

    def __init__(self, makers: Sequence[tuple[Maker, float]]) -> None:
        self._makers = [maker for maker, _ in makers]
        self._weights = [weight for _, weight in makers]

    def make(self, rng: random.Random) -> list[Message]:
        """Makes one."""
        return rng.choices(self._makers, self._weights)[0].make(rng)


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        reads: Gives what it learns from.
        frozen: Parameters with one of these in their names stay as they are.
    """

    reads: Callable[[Source], Maker]
    frozen: tuple[str, ...] = ()

    def freeze(self, model: nn.Module) -> None:
        """Marks what does not learn."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not any(part in name for part in self.frozen))


STAGES: dict[str, Stage] = {
    "align": Stage(lambda source: source.aligned(), ("vision_model",)),
    "instruct": Stage(lambda source: Mixture([(source.dialogues(pictures=False), 4.0), *source.captions()])),
    "experts": Stage(lambda source: source.dialogues(pictures=True)),
    "alone": Stage(lambda source: source.alone()),
}
"""Alignment leaves the tower alone; instruction reads of the graph; with experts comes the specialist.
`alone` is no stage of nano's, but what it is compared with."""
