"""The published training table of MAKE (arXiv 2505.09372): one row a picture, its texts and their masks."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from ...errors import BadInput
from .aspects import KNOWLEDGE, SUB_CAPTIONS, Aspects
from .rows import in_row, picture_path, read_rows

GUIDE_ORDER = ("caption", "concepts", "diagnosis")
"""Order of `knowledge_masks` in the written guide; the published table itself has that of `KNOWLEDGE`."""
DERM1M_COLUMNS = (
    "source", "source_type", "standardized_disease", "ontology_final", "skin_concept_standarized",
    "body_location", "symptoms", "age", "gender",
)  # fmt: skip
"""What Derm1M says beside; `standarized` is how it spells that."""
MAX_WORDS = 77
"""Words of the truncated caption: the text encoder has 77 tokens."""
_SUB_COLUMNS = tuple(f"subcaption_{n + 1}" for n in range(SUB_CAPTIONS))
_COLUMN = {"caption": "caption", "diagnosis": "ontology_caption", "concepts": "visual_concept_caption"}
_MASKS = ("sub_caption_mask", "knowledge_masks")
COLUMNS = (
    "filename", "caption", "truncated_caption", "visual_concept_caption", "ontology_caption", "sub_captions",
    *_SUB_COLUMNS, *_MASKS,
)  # fmt: skip
_REQUIRED = ("filename", "caption", "visual_concept_caption", "ontology_caption", *_SUB_COLUMNS, *_MASKS)
_MASK = re.compile(r"\s*(?:\[(?P<a>[^\[\]]*)\]|\((?P<b>[^()]*)\)|(?P<c>[^\[\]()]*))\s*")
_ITEMS = re.compile(r"\s*[01](?:(?:\s*,\s*|\s+)[01])*\s*", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One picture of a training table.

    Attributes:
        filename: Of the picture.
        aspects: Its texts; one that the masks switch off is empty.
        extra: The other columns, as they are.
    """

    filename: Path
    aspects: Aspects
    extra: Mapping[str, str] = field(default_factory=dict)


def parse_mask(text: str, length: int) -> tuple[bool, ...]:
    """Reads a mask: `[1, 1, 0]`, `1,1,0` or `1 1 0`. It is read as digits and never run.

    Args:
        text: A cell of a table.
        length: How many digits it must have.

    Raises:
        BadInput: Anything but so many zeros and ones.
    """
    brackets = _MASK.fullmatch(text)
    inner = next((part for part in brackets.groups() if part is not None), "") if brackets else ""
    if not _ITEMS.fullmatch(inner):
        raise BadInput(f"{text[:80]!r} is no mask", hint=f"Write {length} zeros or ones, such as [1, 0, 1].")
    mask = tuple(digit == "1" for digit in re.findall("[01]", inner))
    if len(mask) != length:
        raise BadInput(f"the mask {text[:80]!r} has {len(mask)} numbers", hint=f"Write {length} of them.")
    return mask


def read_training(
    path: Path, root: Path | None = None, *, order: tuple[str, ...] = KNOWLEDGE
) -> Iterator[Row]:
    """Reads a training table, row by row.

    Args:
        path: The table.
        root: What relative filenames are relative to; the folder of the table unless given.
        order: Order of `knowledge_masks`; `mask_order` tells it.

    Raises:
        BadInput: A missing file or column, no filename, a mask that is none, or one that says there is a
            text where none is; rows are counted as a spreadsheet does, the header the first.
    """
    for number, row in read_rows(path, _REQUIRED):
        with in_row(path, number):
            read = Row(
                filename=picture_path(row["filename"], root or path.parent),
                aspects=Aspects(**_masked(row, order), sub_captions=_sub_captions(row)),
                extra={name: text for name, text in row.items() if name not in COLUMNS},
            )
        yield read


def mask_order(path: Path) -> tuple[str, ...]:
    """Finds the order in which a training table has its `knowledge_masks`, from the texts that rows lack.

    A row with a diagnosis and no concepts has [1, 1, 0] in the order of `KNOWLEDGE`, [1, 0, 1] in that of
    `GUIDE_ORDER`. A table in which no row tells is taken to be in the first.

    Raises:
        BadInput: Some row fits neither order, or two rows need different ones.
    """
    told: dict[tuple[str, ...], int] = {}
    for number, row in read_rows(path, _REQUIRED):
        with in_row(path, number):
            mask, known = parse_mask(row["knowledge_masks"], len(KNOWLEDGE)), _knowledge(row)
            fitting = [order for order in (KNOWLEDGE, GUIDE_ORDER) if not _lacking(order, mask, known)]
            if not fitting:
                raise BadInput("knowledge_masks fits neither order", hint="Write 0 where a text is empty.")
            if len(fitting) == 1:
                told.setdefault(fitting[0], number)
            if len(told) > 1:
                before = min(told.values())
                raise BadInput(
                    f"knowledge_masks is in the order {', '.join(fitting[0])}, that of row {before} is not",
                    hint="Write all rows as caption, diagnosis, concepts.",
                )
    return next(iter(told), KNOWLEDGE)


def write_training(path: Path, rows: Iterable[Row]) -> int:
    """Writes a training table, row by row; the file appears when it is whole.

    Filenames below the folder of the table are written relative to it, others in full. The extra columns are
    those of the first row.

    Returns:
        How many rows were written.

    Raises:
        BadInput: A row has an extra column that the first has not, or that has the name of another.
    """
    several = iter(rows)
    first = next(several, None)
    extra = tuple(first.extra) if first else DERM1M_COLUMNS
    if taken := sorted(set(extra) & set(COLUMNS)):
        raise BadInput(f"{', '.join(taken)} cannot be an extra column", hint="The texts of the row fill it.")
    unfinished = path.with_name(path.name + ".part")
    count = 0
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*COLUMNS, *extra], restval="")
            writer.writeheader()
            for row in chain([first] if first else [], several):
                if unknown := sorted(row.extra.keys() - set(extra)):
                    raise BadInput(
                        f"row {count + 2} has the extra columns {', '.join(unknown)}, the first row has not",
                        hint="Give all rows the same extra columns.",
                    )
                writer.writerow(_cells(row, path.parent))
                count += 1
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def truncate(caption: str, most: int = MAX_WORDS) -> str:
    """The first words of a caption; one that is no longer stays as it is."""
    parts = caption.split()
    return caption if len(parts) <= most else " ".join(parts[:most])


def _knowledge(row: Mapping[str, str]) -> dict[str, str]:
    """The three knowledge texts of a row, in the order of `KNOWLEDGE`."""
    known = {name: row[_COLUMN[name]] for name in KNOWLEDGE}
    return known | {"caption": known["caption"] or row.get("truncated_caption", "")}


def _masked(row: Mapping[str, str], order: tuple[str, ...]) -> dict[str, str]:
    """The knowledge texts that the mask leaves on."""
    known, mask = _knowledge(row), parse_mask(row["knowledge_masks"], len(KNOWLEDGE))
    if lacking := _lacking(order, mask, known):
        raise BadInput(
            f"knowledge_masks is {row['knowledge_masks']}, but {_COLUMN[lacking[0]]} is empty",
            hint=f"Write 0 there, or let mask_order() say if the order is another than {', '.join(order)}.",
        )
    on = dict(zip(order, mask, strict=True))
    return {name: text if on[name] else "" for name, text in known.items()}


def _lacking(order: tuple[str, ...], mask: tuple[bool, ...], known: Mapping[str, str]) -> list[str]:
    """The texts that a mask says are there, were it in this order, and that are not."""
    return [name for name, on in zip(order, mask, strict=True) if on and not known[name]]


def _sub_captions(row: Mapping[str, str]) -> tuple[str, ...]:
    mask = parse_mask(row["sub_caption_mask"], SUB_CAPTIONS)
    on = [column for column, there in zip(_SUB_COLUMNS, mask, strict=True) if there]
    if lacking := [column for column in on if not row[column]]:
        raise BadInput(
            f"sub_caption_mask has 1 for {lacking[0]}, which is empty", hint="Write 0 where a text is empty."
        )
    return tuple(row[column] for column in on)


def _cells(row: Row, folder: Path) -> dict[str, str]:
    """A row as it is written."""
    aspects = row.aspects
    subs = [text for text in aspects.sub_captions if text]
    padded = subs + [""] * (SUB_CAPTIONS - len(subs))
    file, base = row.filename.resolve(), folder.resolve()
    return {
        "filename": (file.relative_to(base) if file.is_relative_to(base) else file).as_posix(),
        "truncated_caption": truncate(aspects.caption),
        **{_COLUMN[name]: getattr(aspects, name) for name in KNOWLEDGE},
        "sub_captions": str(len(subs)),
        **dict(zip(_SUB_COLUMNS, padded, strict=True)),
        "sub_caption_mask": str([int(bool(text)) for text in padded]),
        "knowledge_masks": str([int(bool(getattr(aspects, name))) for name in KNOWLEDGE]),
        **row.extra,
    }
