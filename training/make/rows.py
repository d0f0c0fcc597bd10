"""Tables of pictures and texts, read row by row; what cannot be used is named by its row."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import BadInput


@contextmanager
def in_row(path: Path, number: int) -> Iterator[None]:
    """Adds to a complaint which row of which table it is about."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{path}, row {number}: {error}", hint=error.hint) from error


def read_rows(
    path: Path, required: Collection[str], *, tabs: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Reads a table with a header: the number of each row, as a spreadsheet counts, and its cells.

    Args:
        path: The table, in UTF-8.
        required: Columns that it must have.
        tabs: Divided by tabs and without quotes; otherwise by commas.

    Raises:
        BadInput: The file cannot be read, a column is missing or double, a row has too few or many cells.
    """
    number = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(file)
            header = _header(path, next(reader, []), required)
            for cells in reader:
                number += 1
                if not cells:  # an empty line
                    continue
                if len(cells) != len(header):
                    raise BadInput(
                        f"{path}, row {number}: {len(cells)} cells, the header has {len(header)}",
                        hint="Put texts with commas or line breaks into double quotes.",
                    )
                yield number, dict(zip(header, cells, strict=True))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 after row {number}", hint="Save it as UTF-8.") from error
    except csv.Error as error:
        raise BadInput(f"{path}, row {number + 1}: {error}", hint="Save it as a CSV once more.") from error


def picture_path(filename: str, root: Path) -> Path:
    """The path of a picture that a table names.

    Raises:
        BadInput: The name is empty.
    """
    if not filename.strip():
        raise BadInput("no filename", hint="Write the path of the picture.")
    return root / filename


def _header(path: Path, header: list[str], required: Collection[str]) -> list[str]:
    if missing := [name for name in required if name not in header]:
        raise BadInput(
            f"{path} lacks the columns {', '.join(missing)}",
            hint=f"It has {', '.join(header)[:300] or 'no header'}.",
        )
    if double := sorted({name for name in header if header.count(name) > 1}):
        raise BadInput(f"{path} has two columns {', '.join(double)}", hint="Rename one of them.")
    return header
