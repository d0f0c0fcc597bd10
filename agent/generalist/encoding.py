"""From a rendered prompt and its pictures to model inputs, cut where a cached prefix ends."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .pictures import Picture
from .prefix_cache import Key

if TYPE_CHECKING:
    import torch

    from .loaded import LoadedModel

_TEXT_KEYS = ("input_ids", "attention_mask", "text_replacement_offsets")


@dataclass
class Encoded:
    """A prompt of length L as the model takes it.

    Attributes:
        ids: Token ids, (1, L), pictures expanded to their placeholder tokens.
        key: Key of the prefix cache; None when the pictures' tokens cannot be told apart, then nothing is
            cached.
        spans: First and last position of each picture's tokens.
        picture_inputs: Tensors of all pictures (`pixel_values` and its companions).
        token_inputs: Tensors that go with the tokens, (1, L), such as `token_type_ids`.
        positions: (3, 1, L) for models with multimodal rotary positions, else None.
        replaced: Start and end of each picture's placeholder in the prompt, and the text that the processor
            puts there; empty when it does not say.
    """

    ids: torch.Tensor
    key: Key | None
    spans: list[tuple[int, int]]
    picture_inputs: dict[str, torch.Tensor]
    token_inputs: dict[str, torch.Tensor]
    positions: torch.Tensor | None
    replaced: list[tuple[int, int, str]]

    def cut(self, shared: int) -> int:
        """Where computing may start when `shared` tokens are cached: not inside a picture, not at the end."""
        start = min(shared, self.ids.shape[1] - 1)
        return min([start, *(first for first, last in self.spans if first < start <= last)])


def encode(lm: LoadedModel, text: str, pictures: Sequence[Picture]) -> Encoded:
    """Tokenises a prompt and preprocesses its pictures with the model's own processor.

    Args:
        lm: The model.
        text: Rendered prompt with one placeholder for each picture.
        pictures: The pictures in order.
    """
    # The template has written its special tokens itself, a begin token among them.
    options: dict[str, Any] = {"return_tensors": "pt", "add_special_tokens": False}
    if pictures:
        options |= {"images": [p.image for p in pictures], "return_text_replacement_offsets": True}
    data = dict(lm.processor(text=[text], **options))
    ids, offsets = data["input_ids"], data.get("text_replacement_offsets")
    length = ids.shape[1]
    rest = {k: v for k, v in data.items() if k not in _TEXT_KEYS and hasattr(v, "shape")}
    token_inputs = {k: v for k, v in rest.items() if tuple(v.shape) == (1, length)}
    picture_inputs = {k: v for k, v in rest.items() if k not in token_inputs}
    placeholder = lm.tokenizer.convert_ids_to_tokens(lm.image_token_id)
    counts = [o["replacement"].count(placeholder) for o in offsets[0]] if offsets else []
    key, spans = _key(ids[0].tolist(), lm.image_token_id, pictures, counts)
    accepted = inspect.signature(lm.model.forward).parameters
    return Encoded(
        ids=ids,
        key=key,
        spans=spans,
        picture_inputs=picture_inputs,
        token_inputs={k: v for k, v in token_inputs.items() if k in accepted},
        positions=_positions(lm, ids, {**token_inputs, **picture_inputs}),
        replaced=[(*o["span"], o["replacement"]) for o in offsets[0]] if offsets else [],
    )


def new_pictures(
    lm: LoadedModel, encoded: Encoded, pictures: Sequence[Picture], start: int
) -> dict[str, torch.Tensor]:
    """Tensors of the pictures at or after `start`; models refuse pictures without tokens in the input."""
    kept = [p for p, (first, _) in zip(pictures, encoded.spans, strict=False) if first >= start]
    if start == 0 or len(kept) == len(pictures):
        return encoded.picture_inputs
    return prepare(lm, kept, encoded.picture_inputs) if kept else {}


def prepare(lm: LoadedModel, pictures: Sequence[Picture], names: Container[str]) -> dict[str, torch.Tensor]:
    """Preprocesses pictures alone: those of the processor's tensors that have one of these names."""
    placeholder = lm.template.image_token
    text = [placeholder * len(pictures)]
    data = lm.processor(text=text, images=[p.image for p in pictures], return_tensors="pt")
    return {k: v for k, v in data.items() if k in names}


def _key(
    ids: list[int], image_token: int, pictures: Sequence[Picture], counts: Sequence[int]
) -> tuple[Key | None, list[tuple[int, int]]]:
    """Replaces picture tokens by negative numbers made of the picture's hash, and finds its span."""
    places = [i for i, token in enumerate(ids) if token == image_token]
    if len(counts) != len(pictures) or sum(counts) != len(places) or not all(counts):
        return (None if pictures else tuple(ids)), []
    key, spans, done = list(ids), [], 0
    for picture, count in zip(pictures, counts, strict=True):
        mine = places[done : done + count]
        number = -1 - int.from_bytes(hashlib.sha256(picture.sha256.encode()).digest()[:8], "big")
        for place in mine:
            key[place] = number
        spans.append((mine[0], mine[-1]))
        done += count
    return tuple(key), spans


def _positions(lm: LoadedModel, ids: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor | None:
    """Computes multimodal rotary positions of the whole prompt (Qwen2-VL, arXiv 2409.12191, section 2.1).

    With them any suffix can be computed alone; the model itself would count from the suffix.
    """
    import torch

    index = getattr(lm.model.base_model, "get_rope_index", None)
    if index is None:
        return None
    if any(name.endswith("grid_thw") for name in inputs):
        accepted = inspect.signature(index).parameters
        positions, _ = index(ids, **{k: v for k, v in inputs.items() if k in accepted})
        return torch.as_tensor(positions)
    return torch.arange(ids.shape[1]).view(1, 1, -1).expand(3, 1, -1)
