"""`clarify classify`: the specialist alone, picture by picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import BadImage, BadInput
from .console import Progress, emit, note

FIELDS = (
    "label", "curie", "confidence", "probabilities", "prediction_set", "in_scope", "scope_score", "quality"
)  # fmt: skip


def walk(paths: Sequence[str]) -> Iterator[str]:
    """Yields paths as given, and every file below a folder in name order; hidden ones are passed over.

    Raises:
        BadInput: A folder holds no file.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found = False
        for folder, inner, files in os.walk(path):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    found = True
                    yield os.path.join(folder, name)
        if not found:
            raise BadInput(f"no file in the folder {path}.")


def classify(
    paths: Annotated[list[str], typer.Argument(help="Pictures or folders of pictures.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON line per picture.")] = False,
) -> None:
    """Name the most likely of seven kinds of lesion, with calibrated probabilities."""
    from ..agent.images import open_picture
    from .render import show_classification

    read = failed = 0
    with Progress() as progress:
        specialist = None
        for path in walk(paths):
            row: dict[str, Any] = {"path": path}
            try:
                picture = open_picture(Path(path))
            except BadImage as error:
                failed += 1
                note(f"clarify: {error.line()}")
                if jsonl:
                    emit(row | {"error": error.line()})
                continue
            if specialist is None:
                from ..tools.specialist import Specialist

                progress("loading")
                specialist = Specialist.load()
                progress.stop()
            read += 1
            result = specialist.classify(picture)
            row |= {field: getattr(result, field) for field in FIELDS}
            emit(row) if jsonl else show_classification(row, specialist.names)
    if failed and not read:
        raise typer.Exit(BadInput.exit_code)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file to the root."""
    app.command()(classify)
