"""Tables of what pretrained encoders are tested on: classes, concepts, retrieval, linear probes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadInput
from .rows import in_row, picture_path, read_rows

IMAGE_COLUMNS = ("filename", "image_path")
CAPTION_COLUMNS = ("caption_zh_polish_en", "caption")
"""Where captions are looked for, the first that there is."""
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_YES_NO = {"0": False, "0.0": False, "1": True, "1.0": True}


@dataclass(frozen=True)
class Labelled:
    """A picture and its class; the name of the class may be empty, the split is so in zero-shot tables."""

    filename: Path
    label: int
    diagnosis: str = ""
    split: str = ""


@dataclass(frozen=True)
class Captioned:
    """A picture and its caption."""

    filename: Path
    caption: str


@dataclass(frozen=True)
class ConceptSet:
    """Pictures annotated with concepts.

    Attributes:
        concepts: The concepts, in the order of the list.
        synonyms: Concept -> its wordings, at least one.
        filenames: The pictures.
        present: For each picture, whether each concept is there, in the order of `concepts`.
    """

    concepts: tuple[str, ...]
    synonyms: Mapping[str, tuple[str, ...]]
    filenames: tuple[Path, ...]
    present: tuple[tuple[bool, ...], ...]


def read_zero_shot(path: Path, root: Path | None = None) -> tuple[Labelled, ...]:
    """Reads a table of `filename` or `image_path`, `label` and perhaps `diag`.

    Args:
        path: The table.
        root: What relative filenames are relative to; the folder of the table unless given.

    Raises:
        BadInput: A missing file or column, no filename, a label that is no whole number.
    """
    image = _first_of(path, IMAGE_COLUMNS)
    pictures = []
    for number, row in read_rows(path, (image, "label")):
        with in_row(path, number):
            file = picture_path(row[image], root or path.parent)
            pictures.append(Labelled(file, _label(row["label"]), row.get("diag", "")))
    return tuple(pictures)


def read_linear_probe(path: Path, root: Path | None = None) -> tuple[Labelled, ...]:
    """Reads a table of `image_path` (or `filename`), `diag`, `split` and `label`.

    Args:
        path: The table.
        root: What relative filenames are relative to; the folder of the table unless given.

    Raises:
        BadInput: As `read_zero_shot`, and for a split that is not train, val or test.
    """
    image = _first_of(path, IMAGE_COLUMNS[::-1])
    pictures = []
    for number, row in read_rows(path, (image, "diag", "split", "label")):
        with in_row(path, number):
            split = _SPLITS.get(row["split"].strip().casefold())
            if split is None:
                raise BadInput(f"the split is {row['split']!r}", hint="Write train, val or test.")
            file = picture_path(row[image], root or path.parent)
            pictures.append(Labelled(file, _label(row["label"]), row["diag"], split))
    return tuple(pictures)


def read_retrieval(
    path: Path, caption_column: str | None = None, root: Path | None = None
) -> tuple[Captioned, ...]:
    """Reads a table of `filename` (or `image_path`) and a column of captions.

    Args:
        path: The table.
        caption_column: Name of that column; `caption_zh_polish_en` or `caption` unless given.
        root: What relative filenames are relative to; the folder of the table unless given.

    Raises:
        BadInput: A missing file or column, no filename, an empty caption.
    """
    image = _first_of(path, IMAGE_COLUMNS)
    column = caption_column or _first_of(path, CAPTION_COLUMNS)
    pairs = []
    for number, row in read_rows(path, (image, column)):
        with in_row(path, number):
            if not row[column].strip():
                raise BadInput(f"{column} is empty", hint="Leave the row out, or name another column.")
            pairs.append(Captioned(picture_path(row[image], root or path.parent), row[column]))
    return tuple(pairs)


def read_concepts(folder: Path, synonyms: Path) -> ConceptSet:
    """Reads a set of `final_images/`, `meta.csv` (`ImageID`, concepts as 0 or 1) and `concept_list.txt`.

    Columns and synonyms are found by the names of the concepts, in capitals or not, and other columns are
    not read; but rows with 1 for `Do not consider this image` are left out.

    Args:
        folder: Folder of the set.
        synonyms: JSON object: concept -> its wordings.

    Raises:
        BadInput: A missing file, a concept without a column or without wordings, an annotation that is
            neither 0 nor 1.
    """
    concepts = _concept_list(folder / "concept_list.txt")
    wordings = _wordings(synonyms, concepts)
    meta = folder / "meta.csv"
    columns = _columns(meta, concepts)
    files, present = [], []
    for number, row in read_rows(meta, ("ImageID", *columns)):
        with in_row(meta, number):
            if not _YES_NO.get(row.get("Do not consider this image", "").strip()):
                files.append(picture_path(row["ImageID"], folder / "final_images"))
                present.append(tuple(_yes_no(column, row[column]) for column in columns))
    return ConceptSet(concepts, wordings, tuple(files), tuple(present))


def _concept_list(path: Path) -> tuple[str, ...]:
    concepts = tuple(name for line in _read(path).splitlines() if (name := line.strip()))
    if not concepts:
        raise BadInput(f"{path} lists no concepts", hint="Write one concept a line.")
    if double := _double(concepts):
        raise BadInput(f"{path} lists {double!r} twice", hint="Leave one of them out.")
    return concepts


def _wordings(path: Path, concepts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    try:
        table = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON: {error}", hint='Write {"concept": ["wording"]}.') from error
    if not isinstance(table, dict):
        raise BadInput(f"{path} is no JSON object", hint='Write {"concept": ["wording"]}.')
    known = {_key(name): wordings for name, wordings in table.items()}
    found = {}
    for concept in concepts:
        listed = known.get(_key(concept))
        usable = isinstance(listed, list) and all(isinstance(w, str) and w.strip() for w in listed)
        if not listed or not usable:
            raise BadInput(
                f"{path} has no wordings of the concept {concept!r}",
                hint="Add a list of them, or take the concept out of concept_list.txt.",
            )
        found[concept] = tuple(listed)
    return found


def _columns(meta: Path, concepts: tuple[str, ...]) -> tuple[str, ...]:
    """The column of each concept."""
    header = _header(meta)
    if double := _double(header):
        raise BadInput(f"{meta} has two columns {double!r}", hint="Rename one of them.")
    by_name = {_key(name): name for name in header}
    for concept in concepts:
        if _key(concept) not in by_name:
            raise BadInput(
                f"{meta} has no column for the concept {concept!r}",
                hint="Add it, or take the concept out of concept_list.txt.",
            )
    return tuple(by_name[_key(concept)] for concept in concepts)


def _first_of(path: Path, names: tuple[str, ...]) -> str:
    """The first of some columns that a table has."""
    header = _header(path)
    for name in names:
        if name in header:
            return name
    raise BadInput(
        f"{path} has no column {' or '.join(names)}", hint=f"It has {', '.join(header)[:300] or 'no header'}."
    )


def _header(path: Path) -> list[str]:
    """The names of the columns; a table that cannot be read says so as in `read_rows`."""
    for _ in read_rows(path, ()):
        break
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _label(text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()):
        raise BadInput(f"the label is {text!r}", hint="Write a whole number from 0 on.")
    return int(digits)


def _yes_no(column: str, text: str) -> bool:
    if text.strip() not in _YES_NO:
        raise BadInput(f"{column} is {text!r}", hint="Write 0 or 1.")
    return _YES_NO[text.strip()]


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def _double(names: tuple[str, ...] | list[str]) -> str:
    keys = [_key(name) for name in names]
    return next((name for name, key in zip(names, keys, strict=True) if keys.count(key) > 1), "")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8", hint="Save it as UTF-8.") from error
