"""`clarify classify`, `segment`, `concepts` and `zero-shot`: one expert alone, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..errors import BadImage, BadInput
from .console import Progress, emit, note
from .patient import Age, Sex, Site, patient_of
from .pictures import load, walk

if TYPE_CHECKING:
    from PIL import Image

    from ..tools.concepts.concepts import Concepts
    from ..tools.segmenter import Segmenter
    from ..tools.specialist import Specialist

T = TypeVar("T")
FIELDS = (
    "label", "curie", "confidence", "probabilities", "prediction_set", "in_scope", "scope_score", "quality"
)  # fmt: skip


def classify(
    paths: Annotated[list[str], typer.Argument(help="Pictures or folders of pictures.")],
    age: Age = None,
    sex: Sex = None,
    site: Site = None,
    where: Annotated[
        Path | None, typer.Option("--where", help="Folder for pictures of where the specialist looked.")
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON line per picture.")] = False,
) -> None:
    """Name the most likely of seven kinds of lesion, with calibrated probabilities."""
    from .render import show_classification

    patient = patient_of(age, sex, site)

    def load_specialist() -> Specialist:
        from ..tools.specialist import Specialist

        return Specialist.load()

    for specialist, row, picture in _seen_by(load_specialist, paths, jsonl):
        result = specialist.classify(picture, patient)
        row |= {field: getattr(result, field) for field in (*FIELDS, *(["refined_by"] if patient else []))}
        if where is not None and result.label:
            row["where"] = _looked(specialist, picture, result.label, where, Path(row["path"]).stem)
        emit(row) if jsonl else show_classification(row, specialist.names)


def _looked(specialist: Specialist, picture: Image.Image, label: str, folder: Path, stem: str) -> str:
    """Writes the picture of what spoke for a label; returns its path."""
    from ..tools.where import heat_picture, where

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{_free(folder, stem, 'where')}_where.png"
    heat_picture(picture, where(specialist, picture, label)).save(file)
    return str(file)


def segment(
    paths: Annotated[list[str], typer.Argument(help="Pictures or folders of pictures.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for masks and for pictures with the border drawn on them.")
    ] = Path("masks"),
    mm_per_px: Annotated[
        float | None, typer.Option("--mm-per-px", help="Width of a pixel, where known.", min=1e-6)
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON line per picture.")] = False,
) -> None:
    """Mark the lesion and measure it: asymmetry, border, colours, diameter."""
    from .render import show_segmentation

    def load_segmenter() -> Segmenter:
        from ..tools.segmenter import Segmenter

        return Segmenter.load()

    out.mkdir(parents=True, exist_ok=True)
    for segmenter, row, picture in _seen_by(load_segmenter, paths, jsonl, out):
        from ..tools.abcd import measure
        from ..tools.segmenter import mask_image, overlay

        mask = segmenter.segment(picture)
        name = _free(out, Path(row["path"]).stem, "mask")
        mask_image(mask).save(out / f"{name}_mask.png")
        overlay(picture, mask).save(out / f"{name}_overlay.png")
        row |= {"mask": str(out / f"{name}_mask.png"), **asdict(measure(picture, mask, mm_per_px))}
        emit(row) if jsonl else show_segmentation(row)


def concepts(
    paths: Annotated[list[str], typer.Argument(help="Pictures or folders of pictures.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON line per picture.")] = False,
) -> None:
    """Name the visual concepts that a picture shows, each with a score."""
    from .render import show_scores

    for expert, row, picture in _seen_by(_load_concepts, paths, jsonl):
        row["concepts"] = expert.annotate(picture)
        emit(row) if jsonl else show_scores(row["path"], row["concepts"])


def zero_shot(
    paths: Annotated[list[str], typer.Argument(help="Pictures or folders of pictures.")],
    label: Annotated[list[str], typer.Option("--label", help="A disease; two or more are compared.")],
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Leave out the signs that the knowledge graph has.")
    ] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON line per picture.")] = False,
) -> None:
    """Compare diseases on a picture by their names and the graph's signs; none of them need be trained."""
    from .render import show_scores

    labels = list(dict.fromkeys(name.strip() for name in label))
    if len(labels) < 2 or not all(labels):
        raise BadInput("There is nothing to compare.", hint="Give --label at least twice, each with a name.")

    def load_both() -> tuple[Concepts, dict[str, list[str]]]:
        from ..agent.deps import default_deps
        from ..tools.concepts.signs import signs_of

        expert = _load_concepts()
        return expert, {} if names_only else signs_of(
            default_deps().knowledge(), {name: [name] for name in labels}
        )

    names = {name: [name] for name in labels}
    for (expert, signs), row, picture in _seen_by(load_both, paths, jsonl):
        row["probabilities"] = expert.zero_shot(picture, names, signs)
        emit(row) if jsonl else show_scores(row["path"], row["probabilities"])


def _load_concepts() -> Concepts:
    from ..tools.concepts.tools import load_chosen

    return load_chosen()


def spread_labels(arguments: Sequence[str]) -> list[str]:
    """Reads `--label A B` as `--label A --label B`: a word after a label is one too, unless it is a file."""
    spread: list[str] = []
    state = ""
    for word in arguments:
        if word == "--label":
            state = "first"
        elif word.startswith("-") and word != "-" and state != "first":
            spread, state = [*spread, word], ""
        elif state == "first" or (state == "more" and not Path(word).exists()):
            spread, state = [*spread, "--label", word], "more"
        else:
            spread, state = [*spread, word], ""
    return [*spread, "--label"] if state == "first" else spread


def _seen_by(
    load: Callable[[], T], paths: Sequence[str], jsonl: bool, but: Path | None = None
) -> Iterator[tuple[T, dict[str, Any], Image.Image]]:
    """Pictures with an expert that is loaded when the first one is there."""
    with Progress() as progress:
        expert: T | None = None
        for row, picture in _pictures(paths, jsonl, but):
            if expert is None:
                progress("loading")
                expert = load()
                progress.stop()
            yield expert, row, picture


def _pictures(
    paths: Sequence[str], jsonl: bool, but: Path | None = None
) -> Iterator[tuple[dict[str, Any], Image.Image]]:
    """Reads pictures one by one; a bad one is said and passed over, only bad ones are an error."""
    read = failed = 0
    for path in walk(paths, but):
        try:
            _, picture = load(path)
        except BadImage as error:
            failed += 1
            note(f"clarify: {error.line()}")
            if jsonl:
                emit({"path": path, "error": error.line()})
            continue
        read += 1
        yield {"path": path}, picture
    if failed and not read:
        raise typer.Exit(BadInput.exit_code)


def _free(folder: Path, stem: str, kind: str) -> str:
    """A name of which no picture of a kind lies in the folder yet: several folders may share names."""
    names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
    return next(name for name in names if not (folder / f"{name}_{kind}.png").exists())


def register(app: typer.Typer) -> None:
    """Adds the commands of this file to the root."""
    app.command()(classify)
    app.command()(segment)
    app.command()(concepts)
    app.command("zero-shot")(zero_shot)
