"""4-bit layers called straight: the same kernels without what bitsandbytes checks anew at every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    Way = Callable[[Tensor], Any]


def straighten(model: Any) -> None:
    """Lets each 4-bit layer of a warmed model call its kernel straight.

    One token costs a large model on a GPU, and a small one on a CPU, more time in Python than in kernels;
    bitsandbytes 0.50 casts, checks and wraps at every call what does not change after the first. Inputs of
    another type than the layer computes in still go its way. Answers stay the same to the bit.

    Args:
        model: On one device, after its first pass, which packs layers on a CPU.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu") and (call := _straight(layer)):  # a Linear4bit
            layer.forward = call


def _straight(layer: Any) -> Way | None:
    import torch

    weight, state, bias, way = layer.weight, layer.weight.quant_state, layer.bias, layer.forward
    plain = weight.detach().as_subclass(torch.Tensor)
    dtype = layer.compute_dtype
    if getattr(state, "packing_format_for_cpu", False):
        packed = torch.ops.bitsandbytes.gemv_4bit.default

        def on_cpu(x: Tensor) -> Any:
            if x.dtype != dtype:
                return way(x)
            out = packed(x, plain, state.shape, state.absmax, state.code, state.blocksize)
            return out if bias is None else out.add_(bias)

        return on_cpu
    fits = plain.device.type == "cuda" and state.nested and state.state2.blocksize == 256
    if not fits or not hasattr(torch.ops.bitsandbytes, "gemm_4bit"):  # which 0.50 brought
        return None
    fused, column = torch.ops.bitsandbytes.gemm_4bit.default, plain.view(-1, 1)
    scales = {"absmax_8bit": state.absmax, "absmax_code": state.state2.code, "absmax_offset": state.offset}

    def on_gpu(x: Tensor) -> Any:
        if x.dtype != dtype or x.requires_grad:
            return way(x)
        return fused(
            x,
            column,
            state.shape,
            state.state2.absmax,
            state.blocksize,
            state.quant_type,
            bias=bias,
            **scales,
        )

    return on_gpu
