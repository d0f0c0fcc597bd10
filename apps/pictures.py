"""Picture files given on the command line: checked before any model is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadImage, BadInput

if TYPE_CHECKING:
    from PIL import Image


def load(path: str | Path) -> tuple[bytes, Image.Image]:
    """Reads a picture file.

    Returns:
        Its bytes, and upright RGB pixels without metadata.

    Raises:
        BadImage: Missing, empty, too large or no picture; the message names the file.
    """
    from ..agent.images import MAX_BYTES, decode

    file = Path(path)
    try:
        if "\0" in str(path):
            raise BadImage("a path with a NUL character cannot be read.")
        if file.is_dir():
            raise BadImage(f"{path} is a folder, not a picture.")
        if not file.exists():
            raise BadImage(f"{path} does not exist.")
        if not file.is_file():
            raise BadImage(f"{path} is not a file.")
        if file.stat().st_size > MAX_BYTES:
            raise BadImage(f"{path} is larger than {MAX_BYTES / 1e6:.0f} MB.")
        data = file.read_bytes()
    except OSError as error:
        raise BadImage(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return data, decode(data)
    except BadImage as error:
        raise BadImage(f"{path}: {error}", hint=error.hint) from error


def walk(paths: Sequence[str], but: Path | None = None) -> Iterator[str]:
    """Yields paths as given, and every file below a folder in name order; hidden ones are passed over.

    Args:
        paths: Files and folders.
        but: A folder below one of them that is passed over too: what is written is not read.

    Raises:
        BadInput: A folder holds no file.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found = False
        for folder, inner, files in os.walk(path):
            inner[:] = sorted(
                name
                for name in inner
                if not name.startswith(".") and not (but and but.resolve() == Path(folder, name).resolve())
            )
            for name in sorted(files):
                if not name.startswith("."):
                    found = True
                    yield os.path.join(folder, name)
        if not found:
            raise BadInput(f"no file in the folder {path}.")
