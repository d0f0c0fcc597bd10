"""The networks that learn HAM10000: the specialist that is shipped, and larger ones that teach it."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from .data import LABELS

NETWORKS: dict[str, dict[str, Any]] = {
    "specialist": {"channels": [40, 80, 160, 320], "stem_type": "deep", "stem_width": 32},
    "teacher": {"stem_type": "deep", "stem_width": 32, "drop_path_rate": 0.1},
}
"""Arguments of timm's ``resnet18``: 4.4 M parameters, and 11.2 M."""

INPUT: dict[str, Any] = {
    "input_size": [3, 120, 160],
    "mean": [0.76, 0.55, 0.57],
    "std": [0.14, 0.15, 0.17],
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}
"""How pictures are prepared, in timm's words; ``input_size`` where training names no other."""


def build(name: str = "specialist") -> nn.Module:
    """A network of `NETWORKS` with random weights, to be trained."""
    model: nn.Module = timm.create_model("resnet18", num_classes=len(LABELS), **NETWORKS[name])
    return model


def normalise(images: Tensor) -> Tensor:
    """0..1 to the network's units; (n, 3, h, w) either way, channels last in memory."""
    mean, std = (torch.tensor(INPUT[key], device=images.device).view(1, 3, 1, 1) for key in ("mean", "std"))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
