"""From conversations to what a model is fine-tuned on, by the code that renders and encodes for the agent."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from ...agent.generalist.encoding import Encoded, encode, prepare
from ...agent.generalist.loaded import LoadedModel
from ...agent.generalist.pictures import ImageLoader, Picture
from ...errors import BadInput
from .records import Conversation, refuse

UNLEARNT = -100
"""What the loss of transformers passes over."""


@dataclass
class Sample:
    """One conversation of length L.

    Attributes:
        ids: Token ids, L, pictures expanded to their tokens.
        labels: The same where the assistant's text is learnt, else `UNLEARNT`; L.
        token_inputs: Further inputs of the model with a number for each token, L each.
        pictures: What the image loader takes for each picture.
        picture_inputs: Names of the inputs that pictures become.
    """

    ids: list[int]
    labels: list[int]
    token_inputs: dict[str, list[int]] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    picture_inputs: list[str] = field(default_factory=list)

    def take(self, ids: Sequence[int], learnt: bool = False) -> None:
        """Adds tokens."""
        self.ids += ids
        self.labels += ids if learnt else [UNLEARNT] * len(ids)


def samples(
    lm: LoadedModel, conversations: Sequence[Conversation], loader: ImageLoader, longest: int
) -> list[Sample]:
    """Encodes conversations; those of more than `longest` tokens are left out.

    Every picture is opened once here, since some models give large ones more tokens.

    Raises:
        BadInput: See `sample`.
        BadImage: A picture that cannot be read.
    """
    made = (sample(lm, conversation, loader) for conversation in conversations)
    return [one for one in made if len(one.ids) <= longest]


def sample(lm: LoadedModel, conversation: Conversation, loader: ImageLoader) -> Sample:
    """Encodes one conversation up to the last thing that is learnt.

    Before a turn of the assistant stand the tokens of the prompt that the agent would ask with. Where the
    tokenizer would join the end of that prompt with the start of the turn, the two are tokenised apart.

    Raises:
        BadInput: The model's chat template writes what came before otherwise once the assistant has answered,
            or does not end its turn; or its processor does not say where pictures stand.
    """
    last = max(conversation.learnt)
    text, pictures = lm.template.render(conversation.messages[: last + 1], conversation.tools, loader)
    starts = [_start(lm, conversation, place, text) for place in conversation.learnt]
    encoded = encode(lm, text, pictures)
    if len(encoded.replaced) != len(pictures):
        raise BadInput(
            f"the processor of {lm.name} does not say where pictures stand", hint="Give another model."
        )
    whole: list[int] = encoded.ids[0].tolist()
    made, taken = Sample([], []), 0
    made.pictures, made.picture_inputs = [p.sha256 for p in pictures], list(encoded.picture_inputs)
    for start in starts:
        before = _tokens(lm, _written(text[:start], encoded))
        shared = len(os.path.commonprefix([before, whole]))
        end = _end(lm, whole, shared, conversation)
        said = whole[shared : end + 1]
        if shared < len(before):
            apart = _tokens(lm, text[start:])
            said = apart[: _end(lm, apart, 0, conversation) + 1]
        made.take(whole[taken:shared])
        made.take(before[shared:])
        made.take(said, learnt=True)
        taken = end + 1
    for name, values in encoded.token_inputs.items():
        kinds = dict(zip(whole, values[0].tolist(), strict=True))  # these say what kind of token each is
        made.token_inputs[name] = [kinds.get(token, 0) for token in made.ids]
    return made


def _start(lm: LoadedModel, conversation: Conversation, place: int, text: str) -> int:
    """Where the message at `place` begins in the rendered conversation."""
    prompt, _ = lm.template.render(conversation.messages[:place], conversation.tools, _blank)
    if not text.startswith(prompt):
        refuse(
            conversation.id,
            f"the chat template of {lm.name} changes what stands before message {place} once that is said",
            "Give the model a template that keeps what it has written.",
        )
    return len(prompt)


def _blank(_: str) -> Image.Image:
    """Stands for any picture where only the text is wanted."""
    return Image.new("RGB", (1, 1))


def _end(lm: LoadedModel, ids: Sequence[int], start: int, conversation: Conversation) -> int:
    """The place of the first token from `start` on that ends a turn; messages cannot spell one."""
    for place in range(start, len(ids)):
        if ids[place] in lm.stop_ids:
            return place
    refuse(
        conversation.id,
        f"the chat template of {lm.name} does not end the assistant's turn with a token that stops it",
        "Give the model a template that does, or name that token in its generation_config.",
    )


def _tokens(lm: LoadedModel, text: str) -> list[int]:
    return list(lm.tokenizer(text, add_special_tokens=False).input_ids)


def _written(text: str, encoded: Encoded) -> str:
    """A start of the prompt with its pictures written out as the processor does."""
    for start, end, replacement in reversed(encoded.replaced):
        if end <= len(text):
            text = text[:start] + replacement + text[end:]
    return text


class Collator:
    """Makes a batch of samples: padded on the right, their pictures prepared by the model's processor.

    Args:
        lm: The model.
        loader: Opens the pictures.
    """

    def __init__(self, lm: LoadedModel, loader: ImageLoader) -> None:
        self.lm, self.loader = lm, loader

    def __call__(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
        """Inputs of the model's forward; those with tokens are (batch, longest)."""
        pad = self.lm.tokenizer.pad_token_id
        inputs = {
            "input_ids": _padded([s.ids for s in batch], self.lm.stop_ids[0] if pad is None else pad),
            "attention_mask": _padded([[1] * len(s.ids) for s in batch], 0),
            "labels": _padded([s.labels for s in batch], UNLEARNT),
        }
        for name in batch[0].token_inputs:
            inputs[name] = _padded([s.token_inputs[name] for s in batch], 0)
        pictures = [Picture(name, self.loader(name).convert("RGB")) for s in batch for name in s.pictures]
        if pictures:  # all in one row, which the models take for any number of conversations
            inputs |= prepare(self.lm, pictures, {name for s in batch for name in s.picture_inputs})
        return inputs


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    length = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])
