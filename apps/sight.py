"""`clarify classify`: the specialist alone, picture by picture."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import BadImage, BadInput
from .console import Progress, emit, note
from .pictures import load, walk

FIELDS = (
    "label", "curie", "confidence", "probabilities", "prediction_set", "in_scope", "scope_score", "quality"
)  # fmt: skip


def classify(
    paths: Annotated[list[str], typer.Argument(help="Pictures or folders of pictures.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON line per picture.")] = False,
) -> None:
    """Name the most likely of seven kinds of lesion, with calibrated probabilities."""
    from .render import show_classification

    read = failed = 0
    with Progress() as progress:
        specialist = None
        for path in walk(paths):
            row: dict[str, Any] = {"path": path}
            try:
                _, picture = load(path)
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
