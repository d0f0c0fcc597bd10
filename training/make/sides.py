"""What a training sees: HAM10000 and drawn lesions with made-up captions, or a table of one's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ...agent.images import decode
from ...errors import BadInput
from .aspects import Aspects
from .captions import Captioner
from .data import Pictures
from .tables import Row

_READERS = 8


class Side(Protocol):
    """Pictures with texts.

    Attributes:
        groups: What a picture is one of many of: sampling evens groups out, (n,).
    """

    groups: np.ndarray

    def pixels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pictures uint8 (len(rows), h, w, 3)."""

    def aspects(self, rows: Sequence[int] | np.ndarray, rng: random.Random) -> list[Aspects]:
        """Their texts."""


class Made:
    """Pictures whose texts are written anew for every batch from what is known of them."""

    def __init__(self, pictures: Pictures, captioner: Captioner) -> None:
        """Takes pictures and what words them."""
        self._pictures, self._captioner = pictures, captioner
        self.groups = np.array([known.label for known in pictures.known])

    def pixels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Side.pixels`; always 150 x 200."""
        return np.asarray(self._pictures.pixels[rows])

    def aspects(self, rows: Sequence[int] | np.ndarray, rng: random.Random) -> list[Aspects]:
        """See `Side.aspects`; within a batch the same thing is said in the same words."""
        return self._captioner.batch([self._pictures.known[row] for row in rows], rng)


class Tabled:
    """Pictures and texts of a training table, opened when they are needed.

    Args:
        rows: Of `tables.read_training`.
        size: (height, width) that pictures are brought to.
    """

    def __init__(self, rows: Sequence[Row], size: tuple[int, int]) -> None:
        if not rows:
            raise BadInput("the table has no rows", hint="Give a table with pictures.")
        if missing := [row.filename for row in rows if not row.filename.is_file()]:
            raise BadInput(
                f"{len(missing)} pictures of the table are missing, such as {missing[0]}",
                hint="Say with --pictures what the table's filenames are relative to.",
            )
        self._rows, self._size = [replace(row, extra={}) for row in rows], size
        self.groups = np.zeros(len(rows), dtype=np.int64)

    def pixels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Side.pixels`.

        Raises:
            BadInput: A picture cannot be read.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            read = pool.map(lambda row: open_picture(self._rows[row].filename, self._size), rows)
            return np.stack([np.asarray(picture) for picture in read])

    def aspects(self, rows: Sequence[int] | np.ndarray, rng: random.Random) -> list[Aspects]:
        """See `Side.aspects`; always the same."""
        return [self._rows[row].aspects for row in rows]


def open_picture(path: Path, size: tuple[int, int] | None = None) -> Image.Image:
    """Opens a picture as RGB, upright.

    Args:
        path: The file.
        size: (height, width) it is squeezed to; as it is when None.

    Raises:
        BadInput: It is missing or no picture.
    """
    try:
        picture = decode(path.read_bytes())
    except (OSError, BadInput) as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="Check the table's paths.") from error
    return picture if size is None else picture.resize(size[::-1], Image.Resampling.BILINEAR)
