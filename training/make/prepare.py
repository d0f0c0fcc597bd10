"""Makes the training table of MAKE (arXiv 2505.09372) from pictures with captions.

    python -m clarify.training.make.prepare captions.csv train.csv --ontology groups.json [--profile NAME]
    python -m clarify.training.make.prepare captions.csv train.csv --ontology terms.tsv edges.tsv

`captions.csv` has `filename` and `caption`; its other columns are kept. Captions are taken apart by rules and
an ontology (a JSON of groups, or the tables of the Disease Ontology), or, with `--profile` (as of `clarify
ask`), by a chat model, whose answers are held against the caption; where one cannot be read rules do it, and
how often is said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadInput
from .aspects import Aspects
from .decompose import RuleDecomposer
from .decompose_llm import LLMDecomposer
from .ontology import Ontology
from .rows import in_row, picture_path, read_rows
from .tables import Row, write_training


class Careful:
    """A chat model that takes captions apart, and rules where its answer cannot be read.

    Attributes:
        unread: Why answers could not be read.
    """

    def __init__(self, model: LLMDecomposer, rules: RuleDecomposer) -> None:
        self._model, self._rules = model, rules
        self.unread: list[str] = []

    def decompose(self, caption: str) -> Aspects:
        """Takes a caption apart."""
        try:
            return self._model.decompose(caption)
        except BadInput as error:
            self.unread.append(str(error))
            return self._rules.decompose(caption)


def rows(captions: Path, decomposer: Careful | RuleDecomposer) -> Iterator[Row]:
    """Takes a table of captions apart, row by row.

    Raises:
        BadInput: A missing file or column, no filename.
    """
    for number, row in read_rows(captions, ("filename", "caption")):
        with in_row(captions, number):
            extra = {name: text for name, text in row.items() if name not in ("filename", "caption")}
            file = picture_path(row["filename"], captions.parent)
            yield Row(file, decomposer.decompose(row["caption"]), extra)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("captions", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--ontology", type=Path, nargs="+", required=True, help="JSON, or terms and edges")
    parser.add_argument("--profile", help="a chat model that takes the captions apart")
    args = parser.parse_args()
    if len(args.ontology) > 2:
        parser.error("--ontology takes one JSON, or the two tables of terms and edges")
    read = Ontology.from_tables if len(args.ontology) == 2 else Ontology.from_json
    ontology = read(*args.ontology)
    rules = RuleDecomposer(ontology)
    if not args.profile:
        print(f"{write_training(args.table, rows(args.captions, rules))} rows")
        return
    from ...agent.generalist.profiles import load_generalist

    careful = Careful(LLMDecomposer(load_generalist(args.profile), ontology), rules)
    print(f"{write_training(args.table, rows(args.captions, careful))} rows")
    if careful.unread:
        print(f"{len(careful.unread)} of them by rules: {careful.unread[0]}", file=sys.stderr)


if __name__ == "__main__":
    main()
