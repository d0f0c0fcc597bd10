"""The generalist as `bench.trigger` asks it: for its calls alone, and teacher-forced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from ..training.generalist.batches import Batch, collate
from ..training.generalist.dialogues import Message
from ..training.generalist.encode import encode
from ..training.generalist.model import logits_at
from ..training.generalist.pictures import PictureBank
from .generalist import Speaker

DECISIVE = 1.0
"""Tokens of calls and the first one of an answer weigh more than this in training: they are the decision."""


class CallsAlone(StoppingCriteria):
    """Ends a row at the first token of prose: the first of all, or the one after a call that opens no other.

    Args:
        opening, closing: Ids of the marks of a call.
    """

    def __init__(self, opening: int, closing: int) -> None:
        self.opening, self.closing = opening, closing

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Which rows have ended, bool, (batch,); `input_ids` are the new tokens alone."""
        prose = input_ids[:, 0] != self.opening
        if input_ids.shape[1] > 1:
            prose = prose | ((input_ids[:, -2] == self.closing) & (input_ids[:, -1] != self.opening))
        return prose


MOST_NEW = 240
"""Tokens of the longest calls."""


class CallSpeaker(Speaker):
    """Writes calls; of an answer no more than its first token.

    Args:
        folder: The exported model.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, MOST_NEW)
        marks = ["<tool_call>", "</tool_call>", "<|user|>", "<|assistant|>"]
        ids = self.processor.tokenizer.convert_tokens_to_ids(marks)
        self._opening, closing, self._user, self._assistant = ids
        self.until.append(CallsAlone(self._opening, closing))

    @torch.inference_mode()
    def forced(
        self, scripts: Sequence[Sequence[Message]], bank: PictureBank | None, size: int
    ) -> list[list[bool]]:
        """Whether each turn's decisions are predicted right when all of the script before them is given.

        Every token of a call must be; of an answer, that no call begins in its place.

        Args:
            scripts: Dialogues.
            bank: Their pictures.
            size: How many at a time.

        Returns:
            A verdict for each turn of each dialogue.
        """
        tokenizer: Any = self.processor.tokenizer
        encoded = [encode(list(script), tokenizer.backend_tokenizer, self.system) for script in scripts]
        verdicts: list[list[bool]] = [[] for _ in scripts]
        order = sorted(range(len(scripts)), key=lambda i: len(encoded[i].ids))
        for start in range(0, len(order), size):
            some = order[start : start + size]
            batch = collate([encoded[i] for i in some], bank)
            for i, turns in zip(some, turns_right(self._missed(batch), batch.ids, self._user), strict=True):
                verdicts[i] = turns
        return verdicts

    def _missed(self, batch: Batch) -> Tensor:
        decided = batch.weight[:, 1:] > DECISIVE
        logits = logits_at(self.model, batch.ids, decided, batch.pictures, self.model.model.text_model)
        return missed(logits.argmax(-1), batch.ids, decided, self._assistant, self._opening)


def missed(said: Tensor, ids: Tensor, decided: Tensor, assistant: int, opening: int) -> Tensor:
    """Which decisions were predicted wrong: a token of a call that is another, an answer that is a call.

    Args:
        said: Predicted ids of the decisive tokens, (decisive,).
        ids: Token ids, (batch, length).
        decided: Which tokens after the first are decisive, bool, (batch, length - 1).
        assistant: The id before what the model writes.
        opening: The id that begins a call.

    Returns:
        Bool, (batch, length).
    """
    before, wanted = ids[:, :-1][decided], ids[:, 1:][decided]
    answers = (before == assistant) & (wanted != opening)
    found = torch.zeros_like(ids, dtype=torch.bool)
    found[:, 1:][decided] = torch.where(answers, said == opening, said != wanted)
    return found


def turns_right(missed: Tensor, ids: Tensor, user: int) -> list[list[bool]]:
    """Whether a turn has no missed token, for each turn of each dialogue.

    Args:
        missed: Which tokens were predicted wrong, bool, (batch, length).
        ids: Token ids, (batch, length).
        user: The id that begins a turn.
    """
    turn = (ids == user).cumsum(1)
    return [
        [not bool(row_missed[row_turn == number].any()) for number in range(1, int(row_turn.max()) + 1)]
        for row_missed, row_turn in zip(missed, turn, strict=True)
    ]
