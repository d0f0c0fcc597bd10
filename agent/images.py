"""Pictures at the door: every shape a client sends, checked by header, stripped, kept outside state."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BadImage, BadInput

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 25_000_000
MAX_PIXELS = 64_000_000
MIN_SIDE = 16
KEPT_SIDE = 2048
PENDING = "pending:"
"""Prefix of the `file_id` of a picture that was taken out of the input and is not checked yet."""


@dataclass(frozen=True)
class Stored:
    """A picture in the store.

    Attributes:
        sha256: Names the picture in the store.
        source_sha256: Hash of the bytes as they were sent, for the audit record.
        width: Of the stored picture, in pixels.
        height: Of the stored picture, in pixels.
    """

    sha256: str
    source_sha256: str
    width: int
    height: int


class ImageStore(Protocol):
    """Where the pictures of conversations live; share one between servers by implementing these four."""

    def put(self, data: bytes) -> Stored:
        """Checks, strips and keeps a picture. Raises BadImage."""

    def stat(self, sha256: str) -> Stored:
        """Describes a kept picture. Raises BadImage when it is not there."""

    def open(self, sha256: str) -> Image.Image:
        """Returns the pixels, RGB. Raises BadImage when it is not there."""

    @property
    def pending(self) -> Pending:
        """Bytes of this process that wait to be checked."""


class Pending:
    """Bytes between the moment they leave a run's input and the moment `intake` checks them.

    They stay in memory, so that nothing unchecked reaches a disk or a checkpoint; the oldest go when full.
    """

    def __init__(self, capacity: int = 16 * MAX_BYTES) -> None:
        """Holds at most `capacity` bytes."""
        self._held: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._capacity = capacity
        self._lock = threading.Lock()

    def hold(self, data: bytes) -> str:
        """Keeps bytes; returns the `file_id` to find them by."""
        key = PENDING + hashlib.sha256(data).hexdigest()
        with self._lock:
            users = self._held.pop(key, (b"", 0))[1]
            self._held[key] = (data, users + 1)
            while sum(len(held) for held, _ in self._held.values()) > self._capacity:
                self._held.popitem(last=False)
        return key

    def get(self, key: str) -> bytes:
        """Returns held bytes.

        Raises:
            BadImage: They are gone.
        """
        with self._lock:
            if key not in self._held:
                raise BadImage("The picture was lost before it was checked.", hint="Send it again.")
            return self._held[key][0]

    def drop(self, key: str) -> None:
        """Forgets held bytes, unless another run sent the same picture and has not checked it yet."""
        with self._lock:
            data, users = self._held.pop(key, (b"", 0))
            if users > 1:
                self._held[key] = (data, users - 1)


class LocalImageStore:
    """A folder of PNG files named by the SHA-256 of their bytes; safe for several processes."""

    def __init__(self, folder: Path) -> None:
        """Uses `folder`, which is made when the first picture comes."""
        self._folder = folder
        self.pending = Pending()

    def put(self, data: bytes) -> Stored:
        """Checks a picture, strips it to pixels and keeps it as PNG, written atomically."""
        image = decode(data)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=3)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = self._path(sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
                part.write(buffer.getvalue())
            os.replace(part.name, path)
        return Stored(sha256, hashlib.sha256(data).hexdigest(), *image.size)

    def stat(self, sha256: str) -> Stored:
        """Describes a kept picture by its header."""
        image = self._read(sha256)
        return Stored(sha256, sha256, *image.size)

    def open(self, sha256: str) -> Image.Image:
        """Returns the pixels, RGB."""
        return self._read(sha256).convert("RGB")

    def _read(self, sha256: str) -> Image.Image:
        from PIL import Image

        try:
            return Image.open(io.BytesIO(self._path(sha256).read_bytes()))
        except OSError as error:
            raise BadImage("The picture is not in the image store.", hint="Send it again.") from error

    def _path(self, sha256: str) -> Path:
        # The name comes from clients: nothing but a hash may become part of a path.
        if not _is_hash(sha256):
            raise BadImage("A picture reference is not a SHA-256.", hint="Send the picture's bytes (base64).")
        return self._folder / sha256[:2] / f"{sha256}.png"


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def decode(data: bytes) -> Image.Image:
    """Reads a picture of any usual kind into upright RGB pixels without metadata.

    Size and pixel count are checked on the header before anything is decoded. EXIF rotation is applied,
    transparency laid on white, 16 bits scaled to 8, animations cut to one frame, long sides to `KEPT_SIDE`.

    Raises:
        BadImage: Empty, too large, not a picture, or broken.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise BadImage("The picture is empty.")
    if len(data) > MAX_BYTES:
        raise BadImage(
            f"The picture has {len(data) / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(opened)
        if opened.format in ("JPEG", "MPO"):
            opened.draft("RGB", (KEPT_SIDE, KEPT_SIDE))
        opened.load()
        image = _rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError as error:
        raise BadImage(
            "The file is not a picture.", hint="JPEG, PNG, WebP, GIF, BMP and TIFF are read."
        ) from error
    except Image.DecompressionBombError as error:
        raise BadImage(_too_many(None)) from error
    except BadImage:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        raise BadImage("The picture is damaged or cut short.", hint="Send the whole file.") from error
    image.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", image.size)
    clean.paste(image)  # a new image: nothing of the old one's `info` comes along
    return clean


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(_too_many(width * height))
    if min(width, height) < MIN_SIDE:
        raise BadImage(f"The picture is {width} x {height} pixels; at least {MIN_SIDE} a side are needed.")


def _too_many(pixels: int | None) -> str:
    size = f"{pixels / 1e6:.0f} megapixels" if pixels else "too many pixels"
    return f"The picture has {size}; at most {MAX_PIXELS / 1e6:.0f} megapixels are read."


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        low, high = image.convert("F").getextrema()
        top = 65535.0 if image.mode.startswith("I;16") or float(high) > 255 else 255.0  # type: ignore[arg-type]
        return image.convert("F").point(lambda value: value * (255.0 / top)).convert("L").convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        front = image.convert("RGBA")
        back = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(back, front).convert("RGB")
    return image.convert("RGB")


# -- content blocks -----------------------------------------------------------------------------


def is_attachment(block: Any) -> bool:
    """Whether a content block is anything but text."""
    return isinstance(block, Mapping) and block.get("type") not in ("text", None)


def lift(block: Mapping[str, Any], pending: Pending) -> dict[str, Any]:
    """Takes the bytes out of an attachment block, whatever client wrote it; opens and decodes nothing.

    Knows LangChain v1 (`base64`, `mime_type`), Agent Chat UI (`data`, `mimeType`), OpenAI (`image_url`),
    older LangChain (`source_type`), A2A (as v1) and Anthropic (`source`).

    Returns:
        `{"type": "image", "file_id": ...}`, or `{"type": "image", "refused": reason}`.
    """
    from .generalist.pictures import inline_base64, is_picture

    try:
        if "refused" in block:
            return {"type": "image", "refused": str(block["refused"])}
        if not is_picture(block):
            raise BadImage(
                f"An attachment of type {block.get('type')} cannot be read.", hint="Send a picture."
            )
        ours = bool(block.get("file_id")) and str(block.get("url", "")).startswith("urn:")
        text = None if ours else inline_base64(block)
        if text is None:
            return {k: str(block[k]) for k in ("type", "file_id", "source_sha256") if block.get(k)}
        if len(text) > MAX_BYTES * 4 // 3 + 4096:
            raise BadImage(f"The picture is larger than {MAX_BYTES / 1e6:.0f} MB.")
        return {"type": "image", "file_id": pending.hold(from_base64(text))}
    except BadInput as error:
        return {"type": "image", "refused": error.line()}


def from_base64(text: str) -> bytes:
    """Decodes base64 or a `data:` URL.

    Raises:
        BadImage: It is neither.
    """
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage("The picture's base64 text is damaged.") from error


def keep(lifted: Mapping[str, Any], store: ImageStore) -> Stored:
    """Moves a lifted picture into the store, or finds one that is there.

    Raises:
        BadImage: It was refused, or cannot be used.
    """
    if "refused" in lifted:
        raise BadImage(lifted["refused"])
    file_id = lifted.get("file_id", "")
    if not file_id.startswith(PENDING):
        source = lifted.get("source_sha256", "")
        return replace(store.stat(file_id), source_sha256=source if _is_hash(source) else file_id)
    try:
        return store.put(store.pending.get(file_id))
    finally:
        store.pending.drop(file_id)
