"""Streams text files, plain or gzip: a broken line is rejected with its place, the rest is read."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from ...errors import BadInput
from .report import Report

MAX_LINE = 1_000_000
"""Bytes of a line; no format read here has longer ones, and a file without line ends must not fill memory."""
_VERSION = re.compile(r"#\s*\w*version:\s*(\S+)")
_LANGUAGE = re.compile(r'"@[a-z]{2}(?=\t|$)')
_GZIP = b"\x1f\x8b"


def find(folder: Path, pattern: str) -> Path | None:
    """Returns the file of a folder that matches a pattern, plain or .gz; the last by name if several."""
    found = sorted([*folder.glob(pattern), *folder.glob(pattern + ".gz")])
    return found[-1] if found else None


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file for reading, unpacking gzip by its first bytes and not by its name.

    Raises:
        BadInput: It cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == _GZIP
        return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", hint="Give a file.") from error


def numbered_lines(path: Path, report: Report) -> Iterator[tuple[str, str]]:
    """Yields `file:line` and the line without its end; a damaged archive is read up to the damage."""
    number = 0
    with open_bytes(path) as stream:
        while True:
            number += 1
            at = f"{path.name}:{number}"
            try:
                raw = stream.readline(MAX_LINE)
                if not raw:
                    return
                whole = len(raw) < MAX_LINE or raw.endswith(b"\n")
                while not raw.endswith(b"\n") and (rest := stream.readline(MAX_LINE)):
                    raw = rest
            except (EOFError, OSError, zlib.error) as error:
                report.reject(at, f"the file is damaged from here on: {error}")
                return
            report.read_line(path.name, number)
            if not whole:
                report.reject(at, f"longer than {MAX_LINE} bytes")
                continue
            try:
                yield at, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                report.reject(at, f"not UTF-8: {error.reason} at byte {error.start}")


def table(
    path: Path,
    columns: Sequence[str],
    report: Report,
    *,
    delimiter: str = "\t",
    language_tags: bool = False,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields `file:line` and the cells by column of a table with a header; one record is one line.

    Args:
        path: The file; lines before the header that start with # are comments.
        columns: Columns it must have.
        report: Gets rows with another number of cells.
        delimiter: What divides cells.
        language_tags: Whether cells may be SPARQL literals, `"text"@en`.

    Raises:
        BadInput: The header lacks a column, or there is none.
    """
    header: list[str] = []
    for at, line in numbered_lines(path, report):
        if not line.strip() or (not header and line.startswith("#")):
            if match := _VERSION.match(line):
                report.version = match[1]
            continue
        if language_tags:
            line = _LANGUAGE.sub('"', line)
        try:
            cells = next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            report.reject(at, str(error))
            continue
        if not header:
            header = cells
            _check_header(path, header, columns)
        elif len(cells) != len(header):
            report.reject(at, f"{len(cells)} columns, the header has {len(header)}")
        else:
            yield at, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    if not header:
        _check_header(path, header, columns)


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise BadInput(
            f"{path} is not the expected table: no column {', '.join(missing)}.",
            hint=f"Expected columns: {', '.join(columns)}.",
        )
