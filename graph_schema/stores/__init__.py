"""Stores: the engines behind `KnowledgeGraph`, and how one is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import KGUnavailable
from .base import BaseStore, Limits

if TYPE_CHECKING:
    from .ladybug_store import LadybugKG

SCHEMES = ("bolt://", "bolt+s://", "bolt+ssc://", "neo4j://", "neo4j+s://", "neo4j+ssc://")
_REBUILD = "Build the graph again with `clarify kg build`."
_PUBLISH_RETRIES = 3
_OPENING = Limits(timeout_s=60.0)  # Counting what a file holds may wait for a busy machine.


def open_graph(
    url_or_path: str | Path | None = None,
    *,
    read_only: bool = True,
    user: str | None = None,
    password: str | None = None,
    database: str | None = None,
    limits: Limits | None = None,
) -> BaseStore:
    """Opens a knowledge graph.

    Args:
        url_or_path: A bolt:// or neo4j:// address; the folder of a built embedded graph; or None for what the
            settings
            name: `CLARIFY_GRAPH`, else the embedded graph of `CLARIFY_HOME`, which is built there from the
                shipped facts
            on first use and again when facts or engine have changed.
        read_only: Refuse writes. The embedded graph is only ever written by `build_graph`.
        user: Neo4j user; default from the settings, as the next two.
        password: Neo4j password.
        database: Neo4j database.
        limits: Bounds of every read.

    Raises:
        KGUnavailable: It cannot be opened or reached.
    """
    from ...settings import load_settings

    settings = load_settings()
    target = str(url_or_path) if url_or_path is not None else settings.graph
    if target.startswith(SCHEMES):
        from .neo4j_store import Neo4jKG

        return Neo4jKG(
            target,
            settings.neo4j_user if user is None else user,
            settings.neo4j_password.get_secret_value() if password is None else password,
            database=settings.neo4j_database if database is None else database,
            read_only=read_only,
            limits=limits,
        )
    if "://" in target:
        raise KGUnavailable(f"no store for {target}.", hint="Use bolt://, neo4j:// or a folder.")
    if not read_only:
        raise KGUnavailable(
            "the embedded graph is served read-only.", hint="Change the facts and run `clarify kg build`."
        )
    if target:
        return open_embedded(Path(target).expanduser(), limits=limits)
    folder = settings.graph_dir.expanduser()
    ensure_built(folder)
    return open_embedded(folder, limits=limits)


def ensure_built(folder: Path) -> None:
    """Builds the shipped graph in a folder unless a current one is there; safe from several processes."""
    from ..build import build_graph

    if not _current(folder):
        build_graph(folder, skip=lambda: _current(folder))


def _current(folder: Path) -> bool:
    from ..build import engine_version
    from ..loading import facts_digest

    try:
        manifest = _manifest(folder)
    except KGUnavailable:
        return False
    if manifest["engine"] != engine_version() or not (folder / manifest["graph"]).is_file():
        return False
    # A graph that somebody built from own facts is theirs: it is not replaced by the shipped one.
    return bool(manifest["facts"] == "own" or manifest["facts_digest"] == facts_digest())


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise KGUnavailable(f"there is no graph in {folder}.", hint=_REBUILD) from error
    except (OSError, ValueError) as error:
        raise KGUnavailable(f"the manifest in {folder} cannot be read: {error}.", hint=_REBUILD) from error
    wanted = {"engine", "graph", "terms", "version", "facts", "facts_digest", "nodes", "relationships"}
    if not isinstance(manifest, dict) or not wanted <= set(manifest):
        raise KGUnavailable(f"the manifest in {folder} is incomplete.", hint=_REBUILD)
    return manifest


def open_embedded(folder: Path, *, limits: Limits | None = None) -> LadybugKG:
    """Opens a published embedded graph and checks it against its manifest.

    Raises:
        KGUnavailable: Absent, of another engine version, or not holding what was published.
    """
    for attempt in range(_PUBLISH_RETRIES):
        manifest = _manifest(folder)
        try:
            return _open_checked(folder, manifest, limits)
        except (
            KGUnavailable
        ):  # A new graph may have been published between reading the manifest and opening the file.
            if attempt == _PUBLISH_RETRIES - 1 or _manifest(folder) == manifest:
                raise
    raise AssertionError("unreachable")


def _open_checked(folder: Path, manifest: dict[str, Any], limits: Limits | None) -> LadybugKG:
    from ..build import engine_version
    from ..retrieval import graph_version
    from .ladybug_store import LadybugKG

    if manifest["engine"] != engine_version():
        raise KGUnavailable(f"the graph in {folder} was built by {manifest['engine']}.", hint=_REBUILD)
    kg = LadybugKG(folder / manifest["graph"], terms=folder / manifest["terms"], limits=_OPENING)
    # A damaged log is dropped silently by the engine, so what is there is compared with what was published.
    nodes = kg.query("MATCH (n) RETURN count(n) AS n")[0]["n"]
    relationships = kg.query("MATCH ()-[r]->() RETURN count(r) AS n")[0]["n"]
    expected = (manifest["nodes"], manifest["relationships"], manifest["version"])
    if (nodes, relationships, graph_version(kg)) != expected:
        kg.close()
        raise KGUnavailable(f"the graph in {folder} does not hold what was published.", hint=_REBUILD)
    kg.use_limits(limits or Limits())
    return kg
