"""Pictures at the door: every kind that is read, every kind refused, every shape that clients send."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from PIL import Image

from clarify.agent import images
from clarify.agent.gate import clean
from clarify.agent.images import LocalImageStore, Pending, decode, from_base64, keep, lift
from clarify.errors import BadImage

SECRET = "Jane Doe 1970"


def drawn(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    image = Image.new("RGB", size, (200, 100, 50))
    image.paste((20, 40, 90), (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def close(pixel: Any, wanted: tuple[int, int, int], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(pixel, wanted, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats(kind: str) -> None:
    image = decode(saved(drawn(), kind))
    assert image.mode == "RGB" and image.size == (40, 30)
    assert close(image.getpixel((35, 15)), (200, 100, 50)) and close(image.getpixel((3, 15)), (20, 40, 90))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"])
def test_modes(mode: str) -> None:
    if mode == "I;16":
        image = Image.new("I;16", (40, 30), 65535)
        image.paste(0, (0, 0, 20, 30))
    else:
        image = drawn().convert("L").convert(mode) if mode in ("I", "F") else drawn(mode)
    read = decode(saved(image, "TIFF" if mode not in ("P", "RGBA", "I;16") else "PNG"))
    assert read.mode == "RGB"
    light, dark = read.getpixel((35, 15)), read.getpixel((3, 15))
    assert sum(light) > sum(dark) + 30  # type: ignore[arg-type]


def test_cmyk_jpeg_and_16_bit_png() -> None:
    assert close(decode(saved(drawn("CMYK"), "JPEG")).getpixel((35, 15)), (200, 100, 50), 25)
    sixteen = Image.new("I;16", (40, 30), 32768)
    assert close(decode(saved(sixteen, "PNG")).getpixel((5, 5)), (127, 127, 127), 2)


def test_transparency_lies_on_white() -> None:
    image = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert decode(saved(image, "PNG")).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (5, 5)), (3, (35, 25)), (6, (25, 5)), (8, (5, 35))])
def test_exif_rotation_is_applied(orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (40, 30), "white")
    image.paste("black", (0, 0, 12, 12))
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = decode(saved(image, "JPEG", exif=exif, quality=95))
    assert read.size == ((40, 30) if orientation in (1, 3) else (30, 40))
    assert sum(read.getpixel(corner)) < 100  # type: ignore[arg-type]


def test_metadata_never_reaches_the_store(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET
    exif[0x9286] = SECRET
    data = saved(drawn(), "JPEG", exif=exif, comment=SECRET.encode(), icc_profile=SECRET.encode())
    assert SECRET.encode() in data
    store = LocalImageStore(tmp_path)
    stored = store.put(data)
    kept = next(tmp_path.rglob("*.png"))
    assert kept.stem == stored.sha256 and SECRET.encode() not in kept.read_bytes()
    assert not store.open(stored.sha256).info and not list(tmp_path.rglob("*.part"))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data does not have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello", "not a picture"),
        (b"%PDF-1.4 " + b"x" * 500, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (bomb(20_000, 10_000), "megapixels"),
        (bomb(10_000, 7_000), "70 megapixels"),
        (saved(drawn(size=(400, 300)), "JPEG")[:900], "damaged"),
        (saved(drawn(size=(400, 300)), "PNG")[:-200], "damaged"),
        (saved(drawn(size=(8, 8)), "PNG"), "8 x 8"),
        (b"\0" * (images.MAX_BYTES + 1), "MB"),
    ],
    ids=["empty", "text", "pdf", "svg", "bomb", "too large", "cut jpeg", "cut png", "tiny", "heavy"],
)
def test_refused(data: bytes, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        decode(data)


def test_bomb_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadImage):
        decode(bomb(20_000, 10_000))


def test_large_pictures_are_kept_smaller(tmp_path: Path) -> None:
    stored = LocalImageStore(tmp_path).put(saved(drawn(size=(4000, 1000)), "JPEG"))
    assert (stored.width, stored.height) == (2048, 512)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 600))
def test_no_bytes_raise_anything_else(noise: bytes, at: int) -> None:
    for data in (noise, (good := saved(drawn(), "PNG"))[:at] + noise + good[at:]):
        try:
            assert decode(data).mode == "RGB"
        except BadImage as error:
            assert str(error)


PNG = saved(drawn(), "PNG")
B64 = base64.b64encode(PNG).decode()
SHAPES = {
    "langchain v1 and a2a": {"type": "image", "base64": B64, "mime_type": "image/png"},
    "agent chat ui": {"type": "image", "mimeType": "image/png", "data": B64, "metadata": {"name": SECRET}},
    "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}},
    "openai, plain": {"type": "image_url", "image_url": f"data:image/png;base64,{B64}"},
    "older langchain": {"type": "image", "source_type": "base64", "data": B64, "mime_type": "image/png"},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
    "data url": {"type": "image", "url": f"data:image/png;base64,{B64}"},
    "wrong mime type": {"type": "image", "base64": B64, "mime_type": "image/jpeg"},
    "line breaks": {"type": "image", "base64": "\n".join(B64[i : i + 76] for i in range(0, len(B64), 76))},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, tmp_path: Path) -> None:
    store = LocalImageStore(tmp_path)
    lifted = lift(SHAPES[shape], store.pending)
    assert set(lifted) == {"type", "file_id"} and B64[:40] not in str(lifted) and SECRET not in str(lifted)
    assert keep(lifted, store) == store.put(PNG)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "http://169.254.169.254/latest"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image", "file_id": "../../etc/passwd"},
        {"type": "image", "file_id": "0" * 64},
        {"type": "image"},
        {"type": "image", "base64": "§§§"},
        {"type": "image", "base64": ""},
        {"type": "file", "base64": B64, "mime_type": "application/pdf"},
        {"type": "audio", "base64": B64},
        {"type": "image", "base64": "A" * (images.MAX_BYTES * 4 // 3 + 8000)},
    ],
)
def test_refused_blocks(block: dict[str, Any], tmp_path: Path) -> None:
    store = LocalImageStore(tmp_path)
    with pytest.raises(BadImage):
        keep(lift(block, store.pending), store)
    assert not list(tmp_path.rglob("*.png"))


def test_gate_takes_bytes_out_of_every_input() -> None:
    pending = Pending()
    given_ = {
        "messages": [{"role": "user", "content": [SHAPES["openai"], {"type": "text", "text": "what"}]}],
        "images": [B64, f"data:image/png;base64,{B64}"],
        "image": B64,
        "patient": {"age": 3},
    }
    out = clean(given_, pending)
    assert B64[:40] not in str(out) and out["patient"] == {"age": 3}
    assert isinstance(out["messages"][0], HumanMessage)
    ids = {
        out["image"]["file_id"],
        *(i["file_id"] for i in out["images"]),
        out["messages"][0].content[0]["file_id"],
    }
    assert len(ids) == 1 and pending.get(ids.pop()) == PNG


def test_pending_forgets_the_oldest_and_counts_users() -> None:
    pending = Pending(capacity=10)
    first, again = pending.hold(b"123456"), pending.hold(b"123456")
    assert first == again
    pending.drop(first)
    assert pending.get(first) == b"123456"
    pending.hold(b"abcdefg")
    with pytest.raises(BadImage):
        pending.get(first)


def test_base64_of_any_kind() -> None:
    assert from_base64(B64) == from_base64(f"data:image/png;base64,{B64}") == PNG
    with pytest.raises(BadImage):
        from_base64("not base64!")
