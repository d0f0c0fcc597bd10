"""The segmenter: which pixels of a dermoscopy picture are lesion."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .weights import load_float, verified

if TYPE_CHECKING:
    import torch

FILES = ("model.safetensors", "config.json")
DEFAULT = Path(__file__).resolve().parent.parent / "weights" / "segmenter"
HINT = "Restore the folder from the release, or train it with clarify.training.segmenter.train."
Mask = NDArray[np.bool_]


class Segmenter:
    """A small U-Net over the whole frame (Ronneberger et al. 2015, arXiv:1505.04597), safe to share.

    It marks the lesion of any picture: whether there is one to judge is for the specialist's scope to say.

    Attributes:
        sha256: Hash of the network's weights.
    """

    def __init__(self, model: torch.nn.Module, config: dict[str, Any], sha256: str) -> None:
        """Puts the parts together; `load` does it from a folder."""
        self._model, self._config, self.sha256 = model.eval(), config, sha256
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path | None = None) -> Segmenter:
        """Loads verified weights.

        Args:
            folder: What the training wrote; the shipped weights when None.

        Raises:
            WeightsMissing: A file is absent or changed.
        """
        folder = DEFAULT if folder is None else folder
        sha256 = verified(folder, FILES, "segmenter", HINT)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = build(config)
        load_float(model, folder / "model.safetensors")
        return cls(model, config, sha256)

    def segment(self, image: Image.Image) -> Mask:
        """Marks the lesion.

        Args:
            image: RGB, any size.

        Returns:
            (height, width), true on the largest marked piece with its holes filled; all false when there is
            none.
        """
        import torch

        height, width = self._config["input_size"]
        small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float().div(255)
        with self._lock, torch.inference_mode():
            logits = self._model(prepare(pixels, self._config))[0, 0].numpy()
        scores = Image.fromarray(logits.astype(np.float32), "F").resize(image.size, Image.Resampling.BILINEAR)
        return largest_piece(np.asarray(scores) > 0)


def build(config: dict[str, Any]) -> torch.nn.Module:
    """The network of a configuration with random weights."""
    import segmentation_models_pytorch as smp

    model: torch.nn.Module = smp.Unet(
        config["encoder"], encoder_weights=None, decoder_channels=config["decoder_channels"], classes=1
    )
    return model


def prepare(images: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """Pictures (n, 3, h, w) in 0..1 in the network's units."""
    import torch

    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def largest_piece(mask: Mask) -> Mask:
    """The largest connected piece of a mask, without holes."""
    from scipy.ndimage import binary_fill_holes
    from skimage.measure import label

    pieces = label(mask, connectivity=2)
    if not pieces.any():
        return np.zeros(mask.shape, bool)
    counts = np.bincount(pieces.ravel())
    counts[0] = 0
    return np.asarray(binary_fill_holes(pieces == counts.argmax()), bool)


def mask_image(mask: Mask) -> Image.Image:
    """A mask as a black and white picture."""
    return Image.fromarray(mask.astype(np.uint8) * 255)


def overlay(image: Image.Image, mask: Mask) -> Image.Image:
    """The picture with the border of the mask drawn on it."""
    from skimage.segmentation import find_boundaries

    pixels = np.asarray(image.convert("RGB")).copy()
    wide = max(1, round(max(image.size) / 400))
    border = find_boundaries(mask, mode="inner")
    for _ in range(wide - 1):
        border |= find_boundaries(mask & ~border, mode="inner")
    pixels[border] = (0, 255, 120)
    return Image.fromarray(pixels)
