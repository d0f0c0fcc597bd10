"""A Qwen2.5-VL of any shape without trained weights: as a skeleton that is counted, and built on a device."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from bitsandbytes.functional import QuantState
from bitsandbytes.nn.modules import Params4bit
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig
from transformers.modeling_utils import local_torch_dtype
from transformers.quantizers.auto import AutoHfQuantizer

from ..agent.generalist.loading import keep_odd_layers_unpacked, nf4
from ..errors import BadInput
from ..training.generalist.prune import blocks, keep, least

TABLES = 4 * (16 + 256 + 1)
"""Bytes of each NF4 layer whatever its size: NF4's 16 values, the 256 of 8-bit scales, the scales' mean."""


@dataclass(frozen=True)
class Shape:
    """The shape of a Qwen2.5-VL (Bai et al. 2025, arXiv 2502.13923, table 1).

    Attributes:
        name: For print.
        layers: Decoder blocks.
        hidden: Width of the decoder.
        intermediate: Width within its MLPs.
        heads: Attention heads.
        kv_heads: Heads of keys and values.
        vocabulary: Rows of the embedding and of `lm_head`, which are not tied.
        first_id: The first of the ids that stand for pictures.
        vision: Fields of the vision tower's configuration, but for the width that it hands over.
        grid: Patches along a side of the prompt's picture.
        context: Default number of tokens.
    """

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    first_id: int
    vision: Mapping[str, Any]
    grid: int
    context: int


REAL = Shape(
    "Qwen2.5-VL-7B", 28, 3584, 18944, 28, 4, 152064, 151652,
    {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
     "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]},
    grid=32, context=4096,
)  # fmt: skip
TOY = Shape(
    "toy", 8, 256, 512, 8, 2, 1024, 1000,
    {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "patch_size": 14,
     "window_size": 112, "fullatt_block_indexes": [1]},
    grid=8, context=256,
)  # fmt: skip
SIZES = ("layers", "hidden", "intermediate", "heads", "kv_heads")
"""What the command line can change of a shape."""


@dataclass(frozen=True)
class Variant:
    """A way to hold a model: in NF4 or bf16, without so many decoder blocks; how layers are called."""

    name: str
    quantized: bool
    removed: int
    straight: bool = True


def variants(removed: int) -> list[Variant]:
    """The rows of every table; the first is what the others are compared with."""
    pruned = Variant(f"NF4, {removed} blocks removed", True, removed)
    return [Variant("bf16", False, 0), Variant("NF4", True, 0), pruned]


def configuration(shape: Shape) -> Qwen2_5_VLConfig:
    """The configuration of a model of this shape.

    Raises:
        BadInput: Heads do not divide the width into multiples of 16, or kv_heads do not divide heads.
    """
    if shape.hidden % (16 * shape.heads) or shape.heads % shape.kv_heads:
        raise BadInput(
            f"{shape.hidden} cannot be {shape.heads} heads with {shape.kv_heads} of keys and values",
            hint="A head is a multiple of 16 wide, and kv_heads divide heads.",
        )
    eighth = shape.hidden // shape.heads // 16  # of the half that turns: time 2, height 3, width 3
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [2 * eighth, 3 * eighth, 3 * eighth],
        },
        "bos_token_id": None,
        "eos_token_id": None,
    }
    marks = {"vision_start": 0, "vision_end": 1, "image": 3, "video": 4}  # in the published order
    ids = {f"{name}_token_id": shape.first_id + place for name, place in marks.items()}
    vision = {**shape.vision, "out_hidden_size": shape.hidden}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)


def skeleton(config: Qwen2_5_VLConfig, variant: Variant) -> Any:
    """A variant with all parameters on the meta device, its 4-bit layers named by transformers itself.

    Raises:
        BadInput: So many blocks cannot be removed.
    """
    with init_empty_weights(include_buffers=False):
        model: Any = AutoModelForImageTextToText.from_config(copy.deepcopy(config), dtype=torch.bfloat16)
    count = len(blocks(model))
    removed = least([0.0] * count, variant.removed)
    keep(model, [i for i in range(count) if i not in removed])
    if variant.quantized:
        with local_torch_dtype(torch.bfloat16):  # of the biases of packed layers
            quantizer = AutoHfQuantizer.from_config(nf4(), pre_quantized=False)
            quantizer.preprocess_model(model, device_map={"": "meta"})
    return model.eval()


def nf4_bytes(weights: int) -> int:
    """What bitsandbytes stores for a layer of so many weights in NF4 with double quantization.

    Half a byte for each weight, a byte for the scale of each 64, four for the scale of each 256 scales, and
    the tables.
    """
    scales = -(-weights // 64)
    return (weights + 1) // 2 + scales + 4 * -(-scales // 256) + TABLES


def weight_bytes(model: nn.Module) -> tuple[int, int]:
    """Computed bytes of a skeleton: of what is in 4 bits, and of what stays as it is."""
    packed = [p.numel() for p in model.parameters() if isinstance(p, Params4bit)]
    kept = [p for p in model.parameters() if not isinstance(p, Params4bit)]
    return sum(map(nf4_bytes, packed)), sum(tensor.nbytes for tensor in (*kept, *model.buffers()))


def cache_bytes(config: Qwen2_5_VLConfig, context: int) -> int:
    """Computed bytes of the keys and values of so many tokens, in bf16."""
    text: Any = config.text_config
    width = text.hidden_size // text.num_attention_heads * text.num_key_value_heads
    return 2 * 2 * text.num_hidden_layers * width * context


def build(config: Qwen2_5_VLConfig, variant: Variant, device: torch.device) -> Any:
    """A variant with random weights, made in bf16 on the device and packed there one by one."""
    model = skeleton(config, variant)
    for module in model.modules():
        for name, empty in list(module.named_parameters(recurse=False)):
            weights = torch.empty(empty.shape, dtype=torch.bfloat16, device=device).normal_(0, 0.02)
            if isinstance(empty, Params4bit):  # as transformers does when it reads a file
                packed: Any = Params4bit(weights, requires_grad=False, **vars(empty))
                setattr(module, name, packed.to(device))
            else:
                setattr(module, name, nn.Parameter(weights, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))
    keep_odd_layers_unpacked(model)
    return model


def held_bytes(model: nn.Module) -> int:
    """Measured bytes: every tensor that a model holds.

    `get_memory_footprint` counts parameters and buffers, and of a 4-bit layer thus neither scales nor tables.
    """
    states = [p.quant_state for p in model.parameters() if isinstance(p, Params4bit)]
    tensors = [*model.parameters(), *model.buffers(), *(t for state in states for t in _tensors(state))]
    return sum(tensor.nbytes for tensor in tensors)


def _tensors(state: QuantState) -> Iterator[Tensor]:
    for value in vars(state).values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, QuantState):
            yield from _tensors(value)
