"""The shape of `nano`: a small Idefics3 (SigLIP-like tower, pixel shuffle, Llama decoder)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessor

from ...errors import BadInput

PICTURE_SIZE = 64
EMBEDDINGS = ("model.text_model.embed_tokens.weight", "lm_head.weight")
"""Of the tokens, as they are read and as they are written: one matrix by two names."""
_LAYER = "model.text_model.layers."
_OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


class Shape(NamedTuple):
    """Of the decoder: its blocks, and the width of each, a multiple of the 64 that a head takes."""

    layers: int
    width: int


SMALLEST = Shape(5, 192)
"""What a training from nothing begins with unless told otherwise."""


def config(
    vocab_size: int, image_token_id: int, pad_token_id: int, eos_token_id: int, shape: Shape = SMALLEST
) -> Idefics3Config:
    """Returns nano's configuration; a picture becomes (64 / 8 / 2)^2 = 16 tokens."""
    heads = shape.width // 64
    return Idefics3Config(
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": PICTURE_SIZE,
            "patch_size": 8,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": shape.width,
            "intermediate_size": 64 * round(shape.width / 24),  # 8/3, as Llama has it
            "num_hidden_layers": shape.layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "vocab_size": vocab_size,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "pad_token_id": pad_token_id,
            "eos_token_id": eos_token_id,
            "bos_token_id": None,
        },
        scale_factor=2,
        image_token_id=image_token_id,
        pad_token_id=pad_token_id,
        tie_word_embeddings=True,
    )


def image_processor() -> Idefics3ImageProcessor:
    """Returns the picture preprocessing that travels with the weights: the frame squeezed to 64 x 64."""
    return Idefics3ImageProcessor(
        do_image_splitting=False,
        size={"longest_edge": PICTURE_SIZE},
        max_image_size={"longest_edge": PICTURE_SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def build(
    vocab_size: int, image_token_id: int, pad_token_id: int, eos_token_id: int, shape: Shape = SMALLEST
) -> Idefics3ForConditionalGeneration:
    """Builds nano with fresh weights."""
    return Idefics3ForConditionalGeneration(
        config(vocab_size, image_token_id, pad_token_id, eos_token_id, shape)
    )


def shape_of(state: Mapping[str, Tensor]) -> Shape:
    """Reads the decoder's shape off saved weights."""
    layers = 1 + max(int(key.removeprefix(_LAYER).split(".")[0]) for key in state if key.startswith(_LAYER))
    return Shape(layers, state[EMBEDDINGS[0]].shape[1])


def grow(state: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Spreads the decoder's layers over a deeper one that at first computes the same.

    A layer between two old ones starts as a copy of the one before it whose two output projections are zero,
    so that it adds nothing yet (Shen et al. 2022, arXiv 2203.06211, section 3.2, after Net2Net).

    Args:
        state: Weights of the shallow model.
        fresh: Weights of the deep one, of which only the number of layers is used.

    Returns:
        Weights of the deep one.

    Raises:
        BadInput: It is less deep: `prune` says which layers can go; or of another width.
    """
    (old, width), (new, wanted) = shape_of(state), shape_of(fresh)
    if width != wanted:
        raise BadInput(f"weights of width {width} do not fit into {wanted}", hint="Leave out --width.")
    if old > new:
        raise BadInput(f"{old} layers do not fit into {new}", hint="Remove some with `prune` first.")
    grown = {key: value for key, value in state.items() if not key.startswith(_LAYER)}
    taken: set[int] = set()
    for layer in range(new):
        source = layer * old // new
        for key, value in state.items():
            if key.startswith(f"{_LAYER}{source}."):
                part = key.removeprefix(f"{_LAYER}{source}.")
                silent = source in taken and part in _OUTPUTS
                grown[f"{_LAYER}{layer}.{part}"] = torch.zeros_like(value) if silent else value.clone()
        taken.add(source)
    return grown


def embedded(model: Idefics3ForConditionalGeneration, ids: Tensor, pictures: Tensor) -> Tensor:
    """What the decoder reads: the embeddings of the tokens, those of the pictures in their places.

    Args:
        model: nano.
        ids: Token ids, (batch, length).
        pictures: Normalised pictures in order of appearance, (n, 3, 64, 64).

    Returns:
        In the type of the weights, (batch, length, width).
    """
    core = model.model
    read: Tensor = core.text_model.get_input_embeddings()(ids)
    if len(pictures):
        side = PICTURE_SIZE // 8
        patches = torch.ones((len(pictures), side, side), dtype=torch.bool, device=ids.device)
        seen = core.vision_model(pixel_values=pictures.to(read.dtype), patch_attention_mask=patches)
        read = read.clone()
        read[ids == model.config.image_token_id] = (
            core.connector(seen.last_hidden_state).flatten(0, 1).to(read.dtype)
        )
    return read


def logits_at(
    model: Idefics3ForConditionalGeneration, ids: Tensor, wanted: Tensor, pictures: Tensor, decoder: nn.Module
) -> Tensor:
    """Logits of some tokens, each with everything before it given; only there is the vocabulary projected.

    Args:
        model: nano.
        ids: Token ids, (batch, length), padded on the right.
        wanted: Which tokens after the first, bool, (batch, length - 1).
        pictures: Normalised pictures in order of appearance, (n, 3, 64, 64).
        decoder: `model.model.text_model`, perhaps compiled.

    Returns:
        float32, (wanted, vocabulary).
    """
    hidden = decoder(inputs_embeds=embedded(model, ids, pictures)).last_hidden_state
    return model.lm_head(hidden[:, :-1][wanted]).float()


def answer_loss(
    model: Idefics3ForConditionalGeneration, ids: Tensor, weight: Tensor, pictures: Tensor, decoder: nn.Module
) -> tuple[Tensor, Tensor]:
    """Next-token cross-entropy on what the assistant writes.

    Args:
        model: nano.
        ids: Token ids, (batch, length), padded on the right, where causal attention needs no mask.
        weight: What each token weighs, (batch, length); 0: not learnt.
        pictures: Normalised pictures in order of appearance, (n, 3, 64, 64).
        decoder: `model.model.text_model`, perhaps compiled.

    Returns:
        The weighted mean loss, a scalar, and whether each dialogue was predicted to the last token that
        weighs more than 1, bool, (batch,).
    """
    wanted = weight[:, 1:] > 0
    logits = logits_at(model, ids, wanted, pictures, decoder)
    weight, ids = weight[:, 1:], ids[:, 1:]
    losses = nn.functional.cross_entropy(logits, ids[wanted], reduction="none")
    missed = torch.zeros_like(weight, dtype=torch.bool)
    missed[wanted] = (logits.argmax(-1) != ids[wanted]) & (weight[wanted] > 1)
    return (losses * weight[wanted]).sum() / weight.sum(), ~missed.any(1)
