"""`clarify kg …`: build, load, look into and ask the knowledge graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput, ClarifyError, CypherRefused
from .console import answer_texts, check, emit, required

if TYPE_CHECKING:
    from ..graph_schema.protocol import KnowledgeGraph, Link

app = typer.Typer(help="The knowledge graph: build, load, look into, ask.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def opened() -> Iterator[KnowledgeGraph]:
    """Opens the configured graph for reading; the embedded one is built on first use."""
    from ..graph_schema.stores import open_graph

    kg = open_graph()
    try:
        yield kg
    finally:
        kg.close()


@app.command()
def build(
    facts: Annotated[
        Path | None, typer.Option(help="Folder of fact files instead of the shipped ones.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to build it; default: where CLARIFY looks for it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build the embedded graph into a new file and publish it by rename."""
    raise NotImplementedError


@app.command()
def query(
    name: Annotated[str, typer.Argument(help="A named query, for example treatment.")],
    arguments: Annotated[
        list[str], typer.Argument(metavar="disease=NAME...", help="A CURIE or a name each.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many facts.")] = None,
    as_json: Json = False,
) -> None:
    """Run a named query and print its facts with source and Cypher."""
    from ..graph_schema.retrieval import run_query
    from .render import show_facts

    diseases = parameters(arguments)
    with opened() as kg:
        rows = run_query(kg, name, diseases, limit)
    emit(rows) if as_json else show_facts(rows)


def parameters(words: Sequence[str]) -> list[str]:
    """Reads `disease=…` words.

    Raises:
        BadInput: A word has another form.
    """
    diseases = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key.strip() != "disease":
            raise BadInput(f"{word!r} is not a parameter of this query.", hint="Write disease=melanoma.")
        diseases.append(required(value, "disease"))
    return diseases


@app.command()
def link(
    text: Annotated[str, typer.Argument(help="Free text; - reads one per line from stdin.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="At most so many nodes.")] = 5,
    as_json: Json = False,
) -> None:
    """Find the diseases that a text may mean; nothing when none is near enough."""
    check(text, "text")
    from ..graph_schema import linking
    from .render import show_links

    with opened() as kg:

        def one(words: str) -> list[Link]:
            return linking.link(kg, words, k)

        answer_texts(text, "text", one, show_links, as_json=as_json)


@app.command()
def cypher(
    text: Annotated[str, typer.Argument(help="One read statement; - reads one per line from stdin.")],
    as_json: Json = False,
) -> None:
    """Run one guarded read statement: the operator's door; the agent does not use it."""
    check(text, "statement")
    from .render import show_table

    with opened() as kg:

        def one(statement: str) -> dict[str, Any]:
            return {"rows": kg.query(statement)}

        def failed(error: ClarifyError) -> dict[str, Any]:
            return {"refused" if isinstance(error, CypherRefused) else "error": error.line()}

        answer_texts(text, "statement", one, lambda r: show_table(r["rows"]), as_json=as_json, failed=failed)
