"""The dual encoder: pictures and texts in one space, from a folder in open_clip's format."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import BadInput, WeightsMissing
from ..weights import verified

if TYPE_CHECKING:
    from torch import Tensor

FILES = ("open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json", "tokenizer_config.json")
DEFAULT = Path(__file__).resolve().parents[2] / "weights" / "make"
HINT = "Restore the folder from the release, or train it with clarify.training.make.train."
_SCALE = 100.0
_TURNED: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
_MOST_TEXTS, _AT_ONCE = 10_000, 256
Vectors = NDArray[np.float32]


class DualEncoder:
    """A picture tower and a text tower, safe to share between threads.

    Attributes:
        sha256: Hash of the weights; empty for a model from elsewhere.
    """

    def __init__(self, model: Any, tokenizer: Any, sha256: str = "") -> None:
        """Puts the parts together; `load` and `from_hub` do it by name."""
        self._model, self._tokenizer, self.sha256 = model.eval(), tokenizer, sha256
        self._transform = transform_of(model)
        self._lock = threading.Lock()
        self._texts: dict[str, Vectors] = {}

    @classmethod
    def load(cls, folder: Path | None = None) -> DualEncoder:
        """Loads verified weights.

        Args:
            folder: What the training wrote; the shipped weights when None.

        Raises:
            WeightsMissing: A file is absent or changed.
        """
        folder = DEFAULT if folder is None else folder
        sha256 = verified(folder, FILES[:2], "dual encoder", HINT)
        if "hf_tokenizer_name" in config_of(folder)["model_cfg"]["text_cfg"]:  # else it is open_clip's own
            verified(folder, FILES[2:], "dual encoder", HINT)
        return cls(*_open(f"local-dir:{folder}"), sha256)

    @classmethod
    def from_hub(cls, name: str, weights: str | None = None) -> DualEncoder:
        """Loads any model that open_clip knows, such as `hf-hub:xieji-x/MAKE` where there is a network.

        Args:
            name: As `open_clip.create_model` takes it.
            weights: For a plain architecture, such as `ViT-B-16`: a tag, or a checkpoint's path.

        Raises:
            WeightsMissing: open_clip cannot load it.
        """
        try:
            return cls(*_open(name, weights))
        except (OSError, RuntimeError, ValueError) as error:
            hint = "Name hf-hub:ORGANISATION/NAME, local-dir:FOLDER, or an architecture and its weights."
            raise WeightsMissing(f"open_clip cannot load {name!r}: {error}", hint=hint) from error

    def pictures(self, images: Sequence[Image.Image], *, turned: bool = False) -> Vectors:
        """Encodes RGB pictures of any size.

        Args:
            images: The pictures.
            turned: Also flips them both ways and takes the mean: dermoscopy has no up.

        Returns:
            Unit vectors, (n, d).
        """
        import torch

        with self._lock, torch.inference_mode():
            pixels = self._prepared(images)
            views = [pixels.flip(dims) for dims in (_TURNED if turned else _TURNED[:1])]
            seen = [self._model.encode_image(view, normalize=True).float() for view in views]
            return np.asarray(torch.nn.functional.normalize(torch.stack(seen).mean(0), dim=-1).numpy())

    def patches(self, images: Sequence[Image.Image]) -> Vectors:
        """Encodes the places of pictures; returns unit vectors (n, rows, columns, d).

        Raises:
            BadInput: The tower has no places that can be compared with texts.
        """
        import torch

        with self._lock, torch.inference_mode():
            places = encode_patches(self._model, self._prepared(images))[1]
        rows = patch_rows(self._model, places.shape[1])
        shaped = places.reshape(len(places), rows, -1, places.shape[-1])
        return np.asarray(shaped.float().numpy())

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Encodes texts, each once; returns unit vectors (n, d)."""
        import torch

        with self._lock:
            if len(self._texts) > _MOST_TEXTS:
                self._texts.clear()
            new = [text for text in dict.fromkeys(texts) if text not in self._texts]
            if new:
                starts = range(0, len(new), _AT_ONCE)
                with torch.inference_mode():
                    for part in (new[start : start + _AT_ONCE] for start in starts):
                        found = self._model.encode_text(self._tokenizer(part), normalize=True)
                        self._texts |= zip(part, found.float().numpy(), strict=True)
            return np.stack([self._texts[text] for text in texts])

    def _prepared(self, images: Sequence[Image.Image]) -> Tensor:
        import torch

        return torch.stack([self._transform(image.convert("RGB")) for image in images])


def _open(name: str, weights: str | None = None) -> tuple[Any, Any]:
    import open_clip

    model = open_clip.create_model(name, pretrained=weights, require_pretrained=True)
    return model, open_clip.get_tokenizer(name)


def transform_of(model: Any) -> Callable[[Image.Image], Tensor]:
    """What makes a picture (3, h, w) for a model's tower, as open_clip does it."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    made: Callable[[Image.Image], Tensor] = image_transform_v2(
        PreprocessCfg(**model.visual.preprocess_cfg), is_train=False
    )
    return made


def pixel_statistics(model: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation (3,) that pixels in 0..1 are normalised with."""
    found: dict[str, Any] = model.visual.preprocess_cfg
    return found["mean"], found["std"]


def encode_patches(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Encodes pictures and their places into the space of the texts (arXiv 2505.09372, section 2.1, step 3).

    Args:
        model: Of open_clip, with a timm tower or its own ViT.
        pixels: Prepared pictures, (n, 3, h, w).

    Returns:
        Unit vectors of the pictures (n, d) and of their places (n, places, d), row by row.

    Raises:
        BadInput: A tower of another kind, such as one that ends in a pool of its own.
    """
    from torch.nn import functional as F

    visual: Any = model.visual
    if hasattr(visual, "trunk"):
        features = visual.trunk.forward_features(pixels)
        whole = visual.head(visual.trunk.forward_head(features))
        if features.ndim == 4:  # a map (n, channels, rows, columns); else tokens behind those of no place
            tokens = features.flatten(2).transpose(1, 2)
        else:
            tokens = features[:, visual.trunk.num_prefix_tokens :]
        return F.normalize(whole, dim=-1), F.normalize(visual.head(tokens), dim=-1)
    if not hasattr(visual, "conv1") or not hasattr(visual, "transformer") or visual.attn_pool is not None:
        raise BadInput(
            f"{type(visual).__name__} has no places that can be compared with texts.",
            hint="Train and point with a ViT of open_clip or a timm tower.",
        )
    found = visual.forward_intermediates(pixels, indices=1, normalize_intermediates=True, output_fmt="NLC")
    tokens = found["image_intermediates"][-1]
    if visual.proj is not None:
        tokens = tokens @ visual.proj
    return F.normalize(found["image_features"], dim=-1), F.normalize(tokens, dim=-1)


def patch_rows(model: Any, places: int) -> int:
    """How many rows the places of a picture stand in."""
    height, width = model.visual.image_size
    rows: int = round((places * height / width) ** 0.5)
    return next(r for d in range(places) for r in (rows - d, rows + d) if r > 0 and places % r == 0)


def shares(scores: NDArray[Any], scale: float = _SCALE) -> NDArray[np.float64]:
    """Softmax of similarities over the last axis."""
    raised = np.exp(scale * (scores - scores.max(-1, keepdims=True)).astype(np.float64))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def config_of(folder: Path) -> dict[str, Any]:
    """Reads a folder's `open_clip_config.json`."""
    found: dict[str, Any] = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    return found
