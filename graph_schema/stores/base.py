"""What both stores share: guarding, parameter and row checks, limits, and the texts of writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic_core import to_json

from ...errors import KGQueryError, KGReadOnly, KGSchemaError
from .. import guard
from ..folding import readings
from ..paths import load_query
from ..schema import SCHEMA, GraphSchema
from ..text import alike, little, rank_names, telling
from .fts import Asked

_BATCH = 1000
_MAX_WORDS = 200
_MAX_CANDIDATES = 300
_MAX_WORDINGS = 1000
_SCALARS = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True)
class Limits:
    """Bounds of every read.

    Attributes:
        timeout_s: Seconds a statement may run.
        max_rows: Rows a statement may return; more is an error, never a silent cut.
        max_bytes: Bytes of the rows as JSON.
    """

    timeout_s: float = 20.0
    max_rows: int = 50_000
    max_bytes: int = 16_000_000


class BaseStore(ABC):
    """A `KnowledgeGraph` without its engine: subclasses give `_read`, `_write`, `_candidates`, `close`."""

    calls: frozenset[str] = frozenset()
    """Procedures a read may call on this engine."""

    def __init__(
        self, schema: GraphSchema = SCHEMA, *, read_only: bool = True, limits: Limits | None = None
    ) -> None:
        self.graph_schema = schema
        self.read_only = read_only
        self.limits = limits or Limits()

    @abstractmethod
    def _read(self, cypher: str, params: Mapping[str, Any]) -> Iterable[dict[str, Any]]: ...

    @abstractmethod
    def _write(self, cypher: str, params: Mapping[str, Any]) -> list[dict[str, Any]]: ...

    @abstractmethod
    def _candidates(self, label: str, asked: Asked, limit: int) -> list[str]:
        """Returns ids of nodes of an indexed label whose text fits, where more than `limit` do the best."""

    @abstractmethod
    def close(self) -> None:
        """Releases the engine."""

    @property
    def schema(self) -> str:
        """The schema as text for a prompt."""
        return self.graph_schema.text()

    def query(self, cypher: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Runs one read statement and returns plain property dicts.

        Raises:
            CypherRefused: Not one plain read statement.
            KGQueryError: Wrong text, a missing parameter, or more rows or bytes than `limits` allows.
            KGTimeout: Past `limits.timeout_s`.
            KGUnavailable: The engine cannot be reached.
        """
        checked = guard.check(cypher, calls=self.calls)
        given = dict(params or {})
        missing = sorted(checked.parameters - set(given))
        if missing:
            raise KGQueryError(f"missing parameters: {', '.join('$' + name for name in missing)}")
        return self._in_time(lambda: self._gather(self._read(cypher, given)))

    def query_free(self, cypher: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Runs a read statement that nobody has read before, as `query`, with whatever more that needs."""
        return self.query(cypher, params)

    def _in_time(self, work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Does a read; an engine that keeps its time limit badly is watched here."""
        return work()

    def _gather(self, raws: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        size = 0
        for raw in raws:
            row = {key: v if type(v) in _SCALARS else plain(v) for key, v in raw.items()}
            size += len(to_json(row, fallback=str, bytes_mode="base64"))
            if len(rows) >= self.limits.max_rows or size > self.limits.max_bytes:
                raise KGQueryError(
                    f"the result is larger than {self.limits.max_rows} rows or {self.limits.max_bytes} bytes",
                    hint="Add a LIMIT or return fewer columns.",
                )
            rows.append(row)
        return rows

    def upsert_nodes(self, label: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes nodes; rows have `id` and declared properties; a property that a row lacks becomes null.

        Raises:
            KGReadOnly: Opened read-only.
            KGSchemaError: Rows do not fit the declaration.
        """
        self._must_write()
        for batch in _batches(self.graph_schema.check_nodes(label, rows)):
            props = _assignments("n", self.graph_schema.node_props(label), batch)
            self._write(f"UNWIND $rows AS row MERGE (n:`{label}` {{id: row.id}}) {props}", {"rows": batch})

    def upsert_edges(self, type: str, src: str, dst: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes relationships; a declared key is part of what is merged, so parallel facts stay apart.

        Raises:
            KGReadOnly: Opened read-only.
            KGSchemaError: Rows do not fit the declaration, or an end does not exist (the others are written).
        """
        self._must_write()
        key = self.graph_schema.edge_keys.get(type)
        inside = f" {{`{key}`: row.`{key}`}}" if key else ""
        declared = {p: t for p, t in self.graph_schema.edge_props(type, src, dst).items() if p != key}
        for batch in _batches(self.graph_schema.check_edges(type, src, dst, rows)):
            done = self._write(
                f"UNWIND $rows AS row MATCH (a:`{src}` {{id: row.src}}) MATCH (b:`{dst}` {{id: row.dst}}) "
                f"MERGE (a)-[r:`{type}`{inside}]->(b) {_assignments('r', declared, batch)} "
                "RETURN count(*) AS n",
                {"rows": batch},
            )
            if done[0]["n"] != len(batch):
                raise KGSchemaError(
                    f"{type}: {len(batch) - done[0]['n']} rows name a {src} or {dst} that does not exist"
                )

    def transaction(self) -> AbstractContextManager[None]:
        """Makes the writes inside one; here nothing: an embedded graph is not read until it is whole."""
        return nullcontext()

    def drop_edges(self, type: str) -> None:
        """Removes every relationship of a declared type, before a load writes those that hold now."""
        self._must_write()
        self._write(f"MATCH ()-[r:`{type}`]->() DELETE r", {})

    def keep_nodes(self, label: str, ids: Sequence[str]) -> None:
        """Removes the nodes of a declared label whose id is not among `ids`: what was withdrawn."""
        self._must_write()
        self._write(f"MATCH (n:`{label}`) WHERE NOT n.id IN $ids DETACH DELETE n", {"ids": list(ids)})

    def search(self, text: str, k: int = 10) -> list[dict[str, Any]]:
        """Searches names, forgiving misspellings: dicts with id, name, label, matched, kind, score (0..1)."""
        asked = []
        for reading in readings(text[:200]):  # `text.similarity` is 0 for a name without one of these
            needed = [word for word in reading if telling([word]) and not little(word)]
            if needed:
                asked.append([sorted(alike(word)) for word in needed])
        rows = self._named(asked) if asked else self.near_names(text[:200])
        return rank_names(text, rows, k)

    def near_names(self, text: str) -> list[dict[str, Any]]:
        """Every name with a word like, or meaning, one of the text's: as `KnowledgeGraph.near_names`."""
        said = {word for reading in readings(text) for word in reading if telling([word])}
        words = sorted(set().union(*map(alike, said)))
        return self._named([[words[:_MAX_WORDS]]]) if words else []

    def _named(self, asked: Asked) -> list[dict[str, Any]]:
        ids = self._candidates("Term", asked, _MAX_CANDIDATES)
        return self.query(load_query("terms"), {"terms": ids}) if ids else []

    def near_wordings(self, groups: Sequence[Sequence[str]], label: str) -> list[dict[str, Any]]:
        """Signs or sites whose wording has a word of each group: as `KnowledgeGraph.near_wordings`."""
        ids = self._candidates("Wording", [groups], _MAX_WORDINGS)
        return self.query(load_query("wordings"), {"wordings": ids, "label": label}) if ids else []

    def _must_write(self) -> None:
        if self.read_only:
            raise KGReadOnly(
                "the graph is open read-only", hint="Open it with read_only=False, or run `clarify kg build`."
            )


def plain(value: Any) -> Any:
    """Turns an engine's nodes, relationships and paths into property dicts without engine keys."""
    if isinstance(value, dict):
        if "_NODES" in value:
            return {"nodes": plain(value["_NODES"]), "relationships": plain(value["_RELS"])}
        engine = "_LABEL" in value
        return {k: plain(v) for k, v in value.items() if not (engine and (k.startswith("_") or v is None))}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):  # ladybug's sum of whole numbers
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _assignments(variable: str, props: Mapping[str, str], batch: Sequence[Mapping[str, Any]]) -> str:
    # A column that is null in the whole batch has no type that ladybug could infer, so it is written as a
    # literal.
    sets = [
        f"{variable}.`{p}` = " + ("NULL" if all(row[p] is None for row in batch) else f"row.`{p}`")
        for p in props
    ]
    return "SET " + ", ".join(sets) if sets else ""


def _batches(rows: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    return (rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH))
