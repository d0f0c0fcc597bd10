"""`clarify kg …`: build, load, look into and ask the knowledge graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput, ClarifyError, CypherRefused, KGQueryError
from .console import Progress, answer_texts, check, emit, required
from .importing import Rejects, Sources, importing

if TYPE_CHECKING:
    from ..graph_schema.protocol import KnowledgeGraph, Link

app = typer.Typer(help="The knowledge graph: build, load, look into, ask.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def opened() -> Iterator[KnowledgeGraph]:
    """Opens the configured graph for reading; the embedded one is built on first use."""
    from ..graph_schema.stores import open_graph

    with Progress() as progress:
        progress("opening the graph")
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
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the graph; default: the one in use.")
    ] = None,
    source: Sources = None,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Build the embedded graph into new files and publish them by rename."""
    from ..graph_schema.build import build_graph
    from ..settings import load_settings
    from .render import show_counts

    target = folder or load_settings().graph_dir
    with Progress() as progress, importing(source, rejects, progress) as imports:
        built = build_graph(target, facts=facts, extend=imports.extend, progress=progress)
    imports.account()
    counts = imports.counted(built.as_dict())
    emit(counts) if as_json else show_counts(counts)


@app.command()
def load(
    url: Annotated[
        str | None, typer.Argument(help="bolt:// or neo4j:// address; default CLARIFY_GRAPH.")
    ] = None,
    neo4j: Annotated[bool, typer.Option("--neo4j", help="Load into Neo4j, the only server there is.")] = True,
    facts: Annotated[
        Path | None, typer.Option(help="Folder of fact files instead of the shipped ones.")
    ] = None,
    source: Sources = None,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Write the facts into a Neo4j server; loading twice changes nothing."""
    from ..graph_schema.build import load_into
    from ..graph_schema.stores import SCHEMES, open_graph
    from ..settings import load_settings
    from .render import show_counts

    target = url or load_settings().graph
    if not target.startswith(SCHEMES):
        raise BadInput(f"{target or 'no address'!r} is no Neo4j server.", hint="Give bolt://HOST:7687.")
    with Progress() as progress, importing(source, rejects, progress) as imports:
        progress(f"connecting to {target}")
        kg = open_graph(target, read_only=False)
        try:
            loaded = load_into(kg, facts, extend=imports.extend, progress=progress)
        finally:
            kg.close()
    imports.account()
    counts = imports.counted(loaded.as_dict())
    emit(counts) if as_json else show_counts(counts)


@app.command()
def stats(as_json: Json = False) -> None:
    """Count nodes by label, relationships by type and facts by source."""
    from ..graph_schema import retrieval
    from .render import show_counts

    with opened() as kg:
        counts = retrieval.stats(kg).as_dict()
    emit(counts) if as_json else show_counts(counts)


@app.command()
def sources(
    source: Annotated[str | None, typer.Argument(help="Show the facts that lean on this one.")] = None,
    as_json: Json = False,
) -> None:
    """List every source with the number of facts that lean on it, or the facts of one, for review."""
    from ..graph_schema import retrieval
    from .render import show_facts, show_sources

    with opened() as kg:
        if source:
            facts = retrieval.facts_of(kg, source)
            emit(facts) if as_json else show_facts(facts)
            return
        listed = retrieval.list_sources(kg)
    emit(listed) if as_json else show_sources(listed)


@app.command()
def show(
    disease: Annotated[str, typer.Argument(help="A CURIE or a name.")],
    svg: Annotated[Path | None, typer.Option(help="Draw it into this file instead.")] = None,
    as_json: Json = False,
) -> None:
    """Show everything the graph holds about a disease, as a tree or a picture."""
    from ..graph_schema import retrieval
    from .picture import disease_svg
    from .render import show_disease

    with opened() as kg:
        found = retrieval.show(kg, required(disease, "disease"))
    if svg:
        if len(found) > 1:
            both = " and ".join(entry["name"] for entry in found)
            raise BadInput(f"{disease!r} means {both}.", hint="A picture shows one: name it.")
        try:
            svg.write_text(disease_svg(found[0]), encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{svg} cannot be written: {error}.", hint="Choose another file.") from error
    if as_json:
        emit(found)
    elif not svg:
        for entry in found:
            show_disease(entry)


@app.command(name="list")
def list_(
    label: Annotated[str, typer.Argument(help="A node label, for example Disease.")],
    as_json: Json = False,
) -> None:
    """List every node with a label."""
    from ..graph_schema import retrieval
    from .render import show_lines

    with opened() as kg:
        rows = retrieval.list_nodes(kg, label)
    emit(rows) if as_json else show_lines(f"{row['curie']:<24} {row['name']}" for row in rows)


@app.command()
def query(
    name: Annotated[str, typer.Argument(help="A named query, for example treatment or conditions_with.")],
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="disease=NAME...", help="Also signs=A,B and site=PLACE for conditions_with."),
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many facts.")] = None,
    as_json: Json = False,
) -> None:
    """Run a named query and print its facts with source and Cypher."""
    from ..graph_schema.retrieval import run_query
    from .render import show_facts

    given = parameters(arguments)
    signs = [sign for said in given["signs"] for sign in said.split(",")]
    with opened() as kg:
        rows = run_query(kg, name, given["disease"], limit, signs=signs, site=" ".join(given["site"]))
    emit(rows) if as_json else show_facts(rows)


def parameters(words: Sequence[str]) -> dict[str, list[str]]:
    """Reads `disease=…`, `signs=…` and `site=…` words.

    Raises:
        BadInput: A word has another form.
    """
    given: dict[str, list[str]] = {"disease": [], "signs": [], "site": []}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key.strip() not in given:
            raise BadInput(f"{word!r} is not a parameter of this query.", hint="Write disease=melanoma.")
        given[key.strip()].append(required(value, key.strip()))
    return given


@app.command()
def link(
    text: Annotated[str, typer.Argument(help="Free text; - reads one per line from stdin.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="At most so many nodes.")] = 5,
    as_json: Json = False,
) -> None:
    """Find the diseases that a name may mean or a sentence names; nothing when none is near enough."""
    check(text, "text")
    from ..graph_schema import linking
    from .render import show_links

    with opened() as kg:

        def one(words: str) -> list[Link]:
            return linking.link_text(kg, words, k)

        answer_texts(text, "text", one, show_links, as_json=as_json)


@app.command()
def cypher(
    text: Annotated[str, typer.Argument(help="One read statement; - reads one per line from stdin.")],
    as_json: Json = False,
) -> None:
    """Run one guarded read statement: the operator's door; the agent does not use it."""
    check(text, "statement")
    from ..graph_schema.guard import run_free
    from .render import show_table

    with opened() as kg:

        def one(statement: str) -> dict[str, Any]:
            try:
                return {"rows": run_free(kg, statement)}
            except KGQueryError as error:  # here the text is the operator's, so a mistake in it is bad input
                raise BadInput(str(error)) from error

        def failed(error: ClarifyError) -> dict[str, Any]:
            return {"refused" if isinstance(error, CypherRefused) else "error": error.line()}

        answer_texts(text, "statement", one, lambda r: show_table(r["rows"]), as_json=as_json, failed=failed)
