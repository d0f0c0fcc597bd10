"""What `clarify kg build` and `kg load` share about `--source`: the options, the reading, the account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput
from .console import Progress, note

if TYPE_CHECKING:
    from ..graph_schema.build import Rows
    from ..graph_schema.sources.report import Report

Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME=PATH",
        help="Also import this source; repeatable. Names: do, mondo, symp, hpo, uberon, hetionet, skincon, "
        "triples, graphml.",
    ),
]
Rejects = Annotated[Path | None, typer.Option(help="Write every rejected row to this file.")]


@dataclass
class Importing:
    """An import that takes place while a graph is built.

    Attributes:
        extend: Adds the sources to the curated rows; None when there are none.
        reports: One account per source, once they are read.
    """

    extend: Callable[[Rows], None] | None = None
    reports: list[Report] = field(default_factory=list)

    def account(self) -> None:
        """Writes what was imported, left out and rejected to stderr."""
        for report in self.reports:
            for line in report.lines():
                note(line)

    def counted(self, counts: dict[str, Any]) -> dict[str, Any]:
        """Returns the counts of the graph with those of the imports."""
        return {**counts, "imports": [r.as_dict() for r in self.reports]} if self.reports else counts


@contextmanager
def importing(words: Sequence[str] | None, rejects: Path | None, progress: Progress) -> Iterator[Importing]:
    """Prepares an import; nothing is read before the graph is built.

    Raises:
        BadInput: An unknown source, a path that does not exist, or a file of rejects that cannot be written.
    """
    if not words:
        yield Importing()
        return
    from ..graph_schema.sources import chosen_sources
    from ..graph_schema.sources.merge import add_sources

    chosen = chosen_sources(words)
    state = Importing()
    with ExitStack() as stack:
        sink = None
        if rejects:
            try:
                file = stack.enter_context(rejects.open("w", encoding="utf-8"))
            except OSError as error:
                raise BadInput(f"{rejects} cannot be written: {error.strerror}.") from error

            def sink(line: str) -> None:
                file.write(line + "\n")

        def extend(rows: Rows) -> None:
            state.reports += add_sources(rows, chosen, progress=progress, sink=sink)

        state.extend = extend
        yield state
