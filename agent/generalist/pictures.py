"""Pictures inside messages: every shape a client sends, resolved to pixels and a SHA-256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ...errors import BadImage, BadInput

ImageLoader = Callable[[str], Image.Image]
"""Takes the `file_id` of an image block (SHA-256 of the bytes in the store) and returns the picture."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        sha256: Names the picture in the prefix cache.
        image: The pixels, RGB.
    """

    sha256: str
    image: Image.Image


def is_picture(block: Any) -> bool:
    """Whether a content block is a picture."""
    return isinstance(block, Mapping) and block.get("type") in ("image", "image_url")


def inline_base64(block: Mapping[str, Any]) -> str | None:
    """Finds the base64 text in any of the usual shapes; None for a reference.

    Raises:
        BadInput: The block points to a remote address.
    """
    url = block.get("image_url", block.get("url"))
    url = url.get("url") if isinstance(url, Mapping) else url
    source = block.get("source")
    if isinstance(url, str):
        if not url.startswith("data:"):
            raise BadInput(
                "Pictures are not fetched from addresses.", hint="Send the bytes (base64) or a file_id."
            )
        return url.partition(",")[2]
    if isinstance(source, Mapping):
        return str(source["data"]) if "data" in source else None
    data = block.get("base64", block.get("data"))
    return data if isinstance(data, str) else None


def load_picture(block: Mapping[str, Any], loader: ImageLoader | None) -> Picture:
    """Resolves an image block.

    Raises:
        BadImage: The bytes are no picture.
        BadInput: No bytes, or a reference without a loader.
    """
    text = inline_base64(block)
    if text is None:
        file_id = block.get("file_id")
        if not isinstance(file_id, str):
            raise BadInput("An image block holds neither bytes nor a file_id.")
        if loader is None:
            raise BadInput(
                "An image block holds a file_id and no image loader was given.", hint="Pass image_loader=."
            )
        return Picture(file_id, loader(file_id).convert("RGB"))
    try:
        data = base64.b64decode(text, validate=False)
        return Picture(hashlib.sha256(data).hexdigest(), Image.open(io.BytesIO(data)).convert("RGB"))
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadImage(f"An inline picture cannot be read: {error}") from error


def as_data_url(picture: Picture) -> str:
    """Encodes a picture as a PNG data URL, without metadata."""
    buffer = io.BytesIO()
    picture.image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
