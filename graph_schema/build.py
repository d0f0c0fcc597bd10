"""From checked facts to a graph: rows for every engine, a file published by rename, a server loaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import KGUnavailable
from .folding import normalise, slug
from .linking import term_id
from .loading import DiseaseFile, FactBase, FactEntry, facts_digest, load_facts
from .predicates import PREDICATES, state
from .protocol import KnowledgeGraph
from .retrieval import Stats, stats
from .schema import NAMED_TARGETS, SCHEMA, WORDED

Progress = Callable[[str], None]
Extend = Callable[["Rows"], None]
Row = dict[str, Any]
_MAX_NAME_WORDS = 4
LOCK_TIMEOUT_S = 180.0


class WritableGraph(KnowledgeGraph, Protocol):
    """A store that a load can bring fully up to date."""

    def transaction(self) -> AbstractContextManager[None]:
        """Makes the writes inside one that is done whole or not at all."""

    def drop_edges(self, type: str) -> None:
        """Removes every relationship of a type."""

    def keep_nodes(self, label: str, ids: list[str]) -> None:
        """Removes the nodes of a label whose id is not among `ids`."""


@dataclass
class Rows:
    """Everything that is written, in order.

    Attributes:
        nodes: label -> id -> row.
        edges: (type, source label, target label) -> rows.
    """

    nodes: dict[str, dict[str, Row]] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], list[Row]] = field(default_factory=dict)

    def node(self, label: str, row: Row) -> str:
        """Adds a node unless its id is there, and returns the id."""
        self.nodes.setdefault(label, {}).setdefault(row["id"], row)
        return str(row["id"])

    def edge(self, type_: str, src: str, dst: str, row: Row) -> None:
        """Adds a relationship."""
        self.edges.setdefault((type_, src, dst), []).append(row)

    def digest(self) -> str:
        """Returns the SHA-256 of the content, independent of the order of files and of the engine."""
        lines = [
            json.dumps([label, row], sort_keys=True)
            for label, rows in self.nodes.items()
            for row in rows.values()
        ]
        lines += [json.dumps([key, row], sort_keys=True) for key, rows in self.edges.items() for row in rows]
        lines.append(SCHEMA.text())
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def make_rows(facts: FactBase, extend: Extend | None = None) -> Rows:
    """Turns facts into node and relationship rows.

    Args:
        facts: Checked facts.
        extend: Adds what comes from other sources, once the facts are there.
    """
    rows = Rows()
    for source in facts.sources:
        rows.node("Source", source.model_dump())
    names = {f.disease.curie: f.disease.name for f in facts.diseases}
    for file in facts.diseases:
        _disease(rows, file, names)
    for file in facts.diseases:
        ranks: dict[str, int] = {}
        for fact in file.facts:
            ranks[fact.predicate] = ranks.get(fact.predicate, 0) + 1
            _fact(rows, file, fact, ranks[fact.predicate], names)
    if extend:
        extend(rows)
    _wordings(rows)
    rows.node("GraphInfo", {"id": "graph", "version": rows.digest()})
    return rows


def _disease(rows: Rows, file: DiseaseFile, names: Mapping[str, str]) -> None:
    d = file.disease
    codes = {key: d.xrefs[key] for key in sorted(d.xrefs) if d.xrefs[key]}
    row = {"id": d.curie, "name": d.name, "slug": d.slug, "synonyms": [*d.synonyms, *d.lay, *d.abbreviations]}
    rows.node("Disease", {**row, "parents": d.parents, **codes})
    for parent in d.parents:  # A parent outside these files has no name to show; its id stays in `parents`.
        if parent in names:
            rows.edge("IS_A", "Disease", "Disease", {"src": d.curie, "dst": parent})
    listed = [(d.name, "name")]
    for kind, more in (("synonym", d.synonyms), ("lay", d.lay), ("abbreviation", d.abbreviations)):
        listed += [(name, kind) for name in more]
    seen: set[str] = set()
    for name, kind in listed:
        if term_id(name) not in seen:
            _term(rows, name, kind, "Disease", d.curie)
            seen.add(term_id(name))


def _term(rows: Rows, name: str, kind: str, label: str, node: str) -> None:
    id_ = rows.node("Term", {"id": term_id(name), "text": normalise(name)})
    rows.edge(
        "NAMES", "Term", label, {"src": id_, "dst": node, "surface": name, "kind": kind, "label": label}
    )


def _fact(rows: Rows, file: DiseaseFile, fact: FactEntry, rank: int, names: Mapping[str, str]) -> None:
    predicate = PREDICATES[fact.predicate]
    disease = file.disease
    if fact.other:
        target, other = fact.other, names[fact.other]
    else:
        name, other = fact.node or fact.object, ""
        target = target_id(predicate.target, name)
        is_new = target not in rows.nodes.get(predicate.target, {})
        rows.node(predicate.target, {"id": target, "name": name})
        if is_new and predicate.target in NAMED_TARGETS and len(name.split()) <= _MAX_NAME_WORDS:
            _term(rows, name, "name", predicate.target, target)
    rows.edge(
        predicate.edge,
        "Disease",
        predicate.target,
        {
            "src": disease.curie,
            "dst": target,
            "fact_id": fact.id,
            "statement": state(fact.predicate, disease.name, fact.object, other),
            "predicate": fact.predicate,
            "object": fact.object,
            "rank": rank,
            "source": fact.source,
            "section": fact.section,
            "reviewed": False,
            "support": "recalled",
        },
    )


def _wordings(rows: Rows) -> None:
    """Adds how each sign and site is called and worded by facts of diseases."""
    for label in WORDED:
        into = ("Disease", label)
        facts = [edge for (_, *ends), edges in rows.edges.items() if tuple(ends) == into for edge in edges]
        names = {edge["dst"]: rows.nodes[label][edge["dst"]]["name"] for edge in facts}
        said = [*names.items(), *((edge["dst"], edge["object"]) for edge in facts if "object" in edge)]
        for node, words in said:
            rows.node("Wording", wording(label, node, names[node], words))


def wording(label: str, node: str, name: str, words: str) -> Row:
    """Returns the entry that finds a node by words a fact has for it; `findings.link_finding` looks it up.

    What it finds stands in it: on the embedded engine one look-up by id takes a tenth of following an edge.
    """
    text = normalise(words)
    id_ = f"WORDING:{node}:{text.replace(' ', '_')}"
    return {"id": id_, "text": text, "words": words, "node": node, "name": name, "label": label}


def target_id(label: str, name: str) -> str:
    """Returns the id of what facts point to; the same words are the same node."""
    return f"CLARIFY:{label.lower()}-{slug(name)}"


def load_into(
    kg: WritableGraph,
    facts: FactBase | Path | None = None,
    *,
    extend: Extend | None = None,
    progress: Progress | None = None,
) -> Stats:
    """Makes an open, writable graph (a server) hold these facts and, under our labels and types, no others.

    All in one transaction: whoever reads meanwhile, or after a load that was cut off, sees the old facts.
    Loading twice changes nothing.

    Args:
        kg: An open store.
        facts: Checked facts or their folder; None for the shipped ones.
        extend: Adds what comes from other sources (see `make_rows`).
        progress: Gets a line per step.

    Raises:
        BadFacts: The fact files cannot be used.
        KGError: The engine refuses.
    """
    base = facts if isinstance(facts, FactBase) else load_facts(facts)
    rows = make_rows(base, extend)
    with kg.transaction():
        for type_ in SCHEMA.edges:
            kg.drop_edges(type_)
        for label in SCHEMA.nodes:
            kg.keep_nodes(label, list(rows.nodes.get(label, {})))
        _write(kg, rows, progress)
    return stats(kg)


def _write(kg: WritableGraph, rows: Rows, progress: Progress | None) -> None:
    info = rows.nodes["GraphInfo"]
    for label, nodes in rows.nodes.items():
        if label != "GraphInfo":
            kg.upsert_nodes(label, list(nodes.values()))
    for (type_, src, dst), edges in rows.edges.items():
        if progress:
            progress(f"{type_}: {len(edges)}")
        kg.upsert_edges(type_, src, dst, edges)
    kg.upsert_nodes("GraphInfo", list(info.values()))  # Last: a graph that names a version holds all of it.


def engine_version() -> str:
    """Returns the engine and the schema a built file belongs to; under others it may not open or answer."""
    from importlib.metadata import version

    schema = hashlib.sha256(SCHEMA.text().encode()).hexdigest()[:8]
    return f"ladybug-{version('ladybug')}-schema-{schema}"


def build_graph(
    path: Path,
    *,
    facts: Path | None = None,
    extend: Extend | None = None,
    progress: Progress | None = None,
    skip: Callable[[], bool] = lambda: False,
) -> Stats:
    """Builds the embedded graph in a folder and publishes it.

    The database and its text index are written under temporary names and renamed; `manifest.json`, replaced
    last, names them, so that a reader sees the old graph or the new one.

    Args:
        path: Folder of the graph; made when absent.
        facts: Folder of fact files; None for the shipped ones.
        extend: Adds what comes from other sources (see `make_rows`).
        progress: Gets a line per step.
        skip: Asked under the lock; True when another process has done the work meanwhile.

    Returns:
        Counts of what was built; those of an empty graph when skipped.

    Raises:
        BadFacts: The fact files cannot be used.
        KGUnavailable: The folder cannot be written or another process keeps building.
    """
    from filelock import FileLock, Timeout

    rows = make_rows(load_facts(facts), extend)
    own = facts is not None or extend is not None
    try:
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / "build.lock", timeout=LOCK_TIMEOUT_S):
            return Stats() if skip() else _publish(path, rows, facts, progress, own=own)
    except Timeout as error:
        raise KGUnavailable(
            f"another process is building {path}.", hint="Try again when it has ended."
        ) from error
    except OSError as error:
        raise KGUnavailable(f"{path} cannot be written: {error}.", hint="Choose another folder.") from error


def _publish(path: Path, rows: Rows, facts: Path | None, progress: Progress | None, *, own: bool) -> Stats:
    from .stores.ladybug_store import LadybugKG

    for left in path.glob("building-*"):  # Of a build that was killed; the lock says that none is running.
        shutil.rmtree(left, ignore_errors=True)
    for left in path.glob("manifest.*.tmp"):
        left.unlink(missing_ok=True)
    version = rows.nodes["GraphInfo"]["graph"]["version"]
    stem = f"graph-{version[:12]}-{engine_version()}"
    with tempfile.TemporaryDirectory(dir=path, prefix="building-") as folder:
        new = Path(folder) / f"{stem}.lbug"
        kg = LadybugKG(new, read_only=False)
        try:
            _write(kg, rows, progress)
            found = stats(kg)
            kg.checkpoint()
        finally:
            kg.close()
        for name in (f"{stem}.lbug", f"{stem}.sqlite"):
            os.replace(Path(folder) / name, path / name)
    manifest = {
        "version": version,
        "engine": engine_version(),
        "graph": f"{stem}.lbug",
        "terms": f"{stem}.sqlite",
        "facts": "own" if own else "shipped",
        "facts_digest": facts_digest(facts),
        "nodes": sum(found.labels.values()) + 1,
        "relationships": sum(found.types.values()),
        "counts": found.as_dict(),
    }
    temporary = path / f"manifest.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    os.replace(temporary, path / "manifest.json")
    for old in [*path.glob("graph-*.lbug*"), *path.glob("graph-*.sqlite")]:
        if not old.name.startswith(stem):  # Readers that have it open keep it.
            old.unlink(missing_ok=True)
    return found
