"""Any dual encoder on the tables that MAKE (arXiv 2505.09372) and DermLIP are evaluated on.

    python -m clarify.bench.make_tables --weights FOLDER --zero-shot pad.csv --retrieval skincap.csv ...
    python -m clarify.bench.make_tables --hub hf-hub:xieji-x/MAKE --concepts skincon --synonyms synonyms.json

Formats are those of the published evaluation (`training.make.eval_tables`); every figure is over all pictures
of a table, with a 95 % interval:

- `--zero-shot`: classes by 8 templates, names from the column `diag` or `--classes` (one a line, by number);
- `--probe`: logistic regression on a tenth of the train rows' labels, five draws;
- `--retrieval`: recall at 10, 50, 100 both ways, equal captions as one;
- `--concepts`: area under the curve of the two-way softmax with `--synonyms`, by concept and on average.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..tools.concepts.concepts import Concepts
from ..tools.concepts.encoder import DualEncoder, Vectors
from ..tools.concepts.prompts import prompts
from ..training.make.data import Known
from ..training.make.eval_tables import (
    Labelled,
    read_concepts,
    read_linear_probe,
    read_retrieval,
    read_zero_shot,
)
from ..training.make.sides import open_picture
from ..training.specialist.metrics import balanced_accuracy, bootstrap, share
from .make import Figures, area_of_two, concept_areas, linear_probe, lines, retrieval

_BATCH = 64


def encoded(encoder: DualEncoder, files: Sequence[Path]) -> Vectors:
    """Encodes all pictures of a table, (n, d)."""
    parts = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    return np.concatenate([encoder.pictures([open_picture(file) for file in part]) for part in parts])


def class_names(pictures: Sequence[Labelled], classes: Path | None) -> dict[int, str]:
    """Class -> name: all classes of the file, or those that the table has and names.

    Raises:
        BadInput: There is a class without a name, or one with two.
    """
    if classes is not None:
        names = dict(enumerate(classes.read_text(encoding="utf-8-sig").rstrip().splitlines()))
    else:
        pairs = sorted({(one.label, one.diagnosis.strip()) for one in pictures if one.diagnosis.strip()})
        names = dict(pairs)
        if len(names) < len(pairs):
            raise BadInput("a class of the table has two names", hint=f"They are {pairs[:6]}.")
    if any(not names.get(one.label, "").strip() for one in pictures):
        raise BadInput(
            "the table does not say which class is which",
            hint="Name them in the column diag, or one a line in a file for --classes.",
        )
    return {number: name.strip() for number, name in names.items()}


def zero_shot(concepts: Concepts, path: Path, classes: Path | None, root: Path | None) -> Figures:
    """Classes by their names alone."""
    pictures = read_zero_shot(path, root)
    names = class_names(pictures, classes)
    order = {label: place for place, label in enumerate(names)}
    labels = np.array([order[one.label] for one in pictures], np.int64)
    images = encoded(concepts.encoder, [one.filename for one in pictures])
    probs = concepts.compare(images, {str(label): [name] for label, name in names.items()}, {})
    found: Figures = {
        "accuracy": share(probs.argmax(1) == labels),
        "balanced accuracy": bootstrap(balanced_accuracy, probs, labels),
    }
    return found | ({"AUC": bootstrap(area_of_two, probs, labels)} if len(names) == 2 else {})


def probe(concepts: Concepts, path: Path, root: Path | None) -> Figures:
    """Logistic regression on a tenth of the train rows."""
    pictures = read_linear_probe(path, root)

    def side(split: str) -> tuple[Vectors, NDArray[np.int64]]:
        chosen = [one for one in pictures if one.split == split]
        if not chosen:
            raise BadInput(f"{path} has no rows of {split}", hint="Both train and test are needed.")
        files = [one.filename for one in chosen]
        return encoded(concepts.encoder, files), np.array([one.label for one in chosen], np.int64)

    return linear_probe(*side("train"), *side("test"))


def pairs(concepts: Concepts, path: Path, root: Path | None) -> Figures:
    """Retrieval among all pairs of a table."""
    found = read_retrieval(path, root=root)
    images = encoded(concepts.encoder, [one.filename for one in found])
    return retrieval(concepts.encoder, images, [one.caption for one in found])


def annotated(concepts: Concepts, folder: Path, synonyms: Path, fewest: int) -> Figures:
    """Concepts of a set like SkinCon or Derm7pt."""
    found = read_concepts(folder, synonyms)
    known = [Known("", {}, dict(zip(found.concepts, row, strict=True)), 0.0) for row in found.present]
    images = encoded(concepts.encoder, found.filenames)
    return concept_areas(concepts, images, known, replace(prompts(), wordings=dict(found.synonyms)), fewest)


def figures(concepts: Concepts, args: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """Every table that is asked for, by its name."""
    for path in args.zero_shot:
        yield path.stem, zero_shot(concepts, path, args.classes, args.pictures)
    for path in args.probe:
        yield path.stem, probe(concepts, path, args.pictures)
    for path in args.retrieval:
        yield path.stem, pairs(concepts, path, args.pictures)
    for path in args.concepts:
        yield path.name, annotated(concepts, path, args.synonyms, args.fewest)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", type=Path, help="a folder that training wrote")
    source.add_argument("--hub", help="any model of open_clip, such as hf-hub:NAME or local-dir:FOLDER")
    for name in ("--zero-shot", "--probe", "--retrieval", "--concepts"):
        parser.add_argument(name, type=Path, nargs="+", default=[])
    parser.add_argument("--pretrained", help="of an architecture in --hub: a tag of open_clip, or a file")
    parser.add_argument("--pictures", type=Path, help="what the filenames of tables are relative to")
    parser.add_argument("--classes", type=Path, help="names of the classes, one a line")
    parser.add_argument("--synonyms", type=Path, help="JSON: concept -> its wordings")
    parser.add_argument("--fewest", type=int, default=20, help="pictures with and without a concept it needs")
    args = parser.parse_args()
    if args.concepts and not args.synonyms:
        parser.error("--concepts needs --synonyms")
    if args.classes and len(args.zero_shot) != 1:
        parser.error("--classes names the classes of one --zero-shot table")
    hub = args.hub and DualEncoder.from_hub(args.hub, args.pretrained)
    encoder = hub or DualEncoder.load(args.weights)
    for name, found in figures(Concepts(encoder), args):
        print("\n".join(lines({name: found})), flush=True)


if __name__ == "__main__":
    main()
