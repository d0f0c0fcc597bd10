"""Where the specialist looked: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) over its last maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .specialist import VIEWS, Specialist, upright, views


def where(specialist: Specialist, image: Image.Image, label: str | None = None) -> NDArray[np.float32]:
    """How much each place of a picture speaks for a label.

    Gradients weigh the last maps of each view; the positive parts are turned back and averaged.

    Args:
        specialist: Whose network is asked.
        image: RGB, any size.
        label: One of its labels; the likeliest when None.

    Returns:
        (height, width) of the upright picture (`specialist.upright`), 0..1; all zeros where nothing speaks
        for the label.

    Raises:
        ValueError: The specialist has no such label.
    """
    import torch

    if label is not None and label not in specialist.labels:
        raise ValueError(f"the specialist has no label {label}")
    net = specialist.network
    batch = torch.stack([specialist.prepared(view) for view in views(image)])
    maps = net.forward_features(batch).detach().requires_grad_()
    logits = net.forward_head(maps).mean(0)
    at = int(logits.argmax()) if label is None else specialist.labels.index(label)
    (slopes,) = torch.autograd.grad(logits[at], maps)
    heat = torch.relu((slopes.mean((2, 3), keepdim=True) * maps).sum(1)).detach()
    turned = [seen.flip(axes) for seen, (_, axes) in zip(heat, VIEWS, strict=True)]
    mean = torch.stack(turned).mean(0).numpy().astype(np.float32)
    frame = upright(image)
    wide = np.asarray(Image.fromarray(mean, "F").resize(frame.size, Image.Resampling.BICUBIC))
    wide = np.clip(wide, 0, None)
    return np.asarray(wide / wide.max() if wide.max() > 0 else wide, np.float32)


def heat_picture(image: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """The upright picture, darkened where little of `where` lies."""
    pixels = np.asarray(upright(image), np.float32)
    return Image.fromarray((pixels * (0.25 + 0.75 * heat[..., None])).astype(np.uint8))
