"""The embedded store: ladybug for the graph, an SQLite FTS5 side file for text search."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import KGError, KGQueryError, KGReadOnly, KGTimeout, KGUnavailable
from ..schema import SCHEMA, GraphSchema
from .base import BaseStore, Limits
from .free_reader import FreeReader
from .fts import Asked, TermIndex
from .watch import Watch

# ladybug reserves address space for the largest database it may hold; the default of 8 TB fails under `ulimit
# -v`.
MAX_DB_SIZE = 2**34
SMALL_POOL, LARGE_POOL = 2**28, 2**31
"""Bytes of the page cache: at least; and of a writer, who may fill a graph of a million nodes. It is taken as
pages are read. A reader gets the size of the graph in between: where a cache is smaller than what is read, a
query that reads all over the graph takes twice as long."""
_MACROS = {
    "type": "(r) AS label(r)",
    "toString": "(x) AS cast(x, 'STRING')",
    "elementId": "(x) AS cast(id(x), 'STRING')",
    "split": "(s, d) AS string_split(s, d)",
    "toInteger": "(x) AS cast(x, 'INT64')",
    "toFloat": "(x) AS cast(x, 'DOUBLE')",
}
"""Neo4j's function names, created once in a new file."""
_ERRORS: tuple[tuple[str, type[KGError]], ...] = (
    ("interrupted", KGTimeout),
    ("read-only", KGReadOnly),
    ("read only", KGReadOnly),
    ("buffer manager exception", KGQueryError),
    ("parser exception", KGQueryError),
    ("binder exception", KGQueryError),
    ("catalog exception", KGQueryError),
    ("conversion exception", KGQueryError),
    ("runtime exception", KGQueryError),
)
_RETRYABLE = ("lock", "checkpoint")
REBUILD = "Build the graph again with `clarify kg build`."


class LadybugKG(BaseStore):
    """A graph in one file, or in memory when `path` is None.

    Safe to use from several threads (a connection each) and after a fork (opened again in the child). One
    process may write; readers keep the snapshot they opened.
    """

    def __init__(
        self,
        path: Path | None,
        schema: GraphSchema = SCHEMA,
        *,
        terms: Path | None = None,
        read_only: bool = True,
        limits: Limits | None = None,
        pool: int | None = None,
    ) -> None:
        """Opens a database, and creates tables when it is writable.

        Args:
            path: Database file; None for memory.
            schema: Declared labels and types.
            terms: SQLite file of the text index; default: beside `path`.
            read_only: Refuse writes.
            limits: Bounds of every read.
            pool: Most bytes of the page cache; default: between `SMALL_POOL` and `LARGE_POOL`, as the graph.

        Raises:
            KGUnavailable: The file is missing, locked, or written by another engine version.
        """
        super().__init__(schema, read_only=read_only, limits=limits)
        self.path = path
        if path is not None and read_only and not path.is_file():
            raise KGUnavailable(f"there is no graph at {path}.", hint=REBUILD)
        self._pool = pool or _pool_for(path if read_only else None)
        side = None if path is None else terms or path.with_suffix(".sqlite")
        self._terms = TermIndex(side, schema.fulltext, read_only=read_only)
        self._side = side
        self._free: FreeReader | None = None
        self._write_lock = threading.Lock()
        self._left_behind: list[Any] = []
        self._open()
        if not read_only:
            for statement in schema.ladybug_ddl():
                self._write(statement, {})
            for name, body in _MACROS.items():
                self._macro(f"CREATE MACRO {name}{body}")

    def _open(self) -> None:
        import ladybug

        for attempt in range(6):
            try:
                self._db: Any = ladybug.Database(
                    str(self.path) if self.path else ":memory:",
                    read_only=self.read_only,
                    buffer_pool_size=self._pool,
                    max_db_size=MAX_DB_SIZE,
                    throw_on_wal_replay_failure=False,
                )
                break
            except RuntimeError as error:
                if attempt == 5 or not any(word in str(error).lower() for word in _RETRYABLE):
                    raise KGUnavailable(
                        f"the graph at {self.path} cannot be opened: {error}.", hint=REBUILD
                    ) from error
                time.sleep(0.1 * 2**attempt)
        self._pid = os.getpid()
        self._watch = Watch()
        self._local = threading.local()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def _connection(self) -> Any:
        if self._db is None:
            raise KGUnavailable("the graph has been closed.")
        if (
            os.getpid() != self._pid
        ):  # A child that touches its parent's engine hangs: leave it and open anew.
            self._left_behind += [self._db, self._local, list(self._connections)]
            self._terms.reopen()
            self._open()
        connection = getattr(self._local, "connection", None)
        if connection is None:
            import ladybug

            connection = ladybug.Connection(self._db, num_threads=1)  # Why no more, and no limit: watch.py
            self._local.connection = connection
            self._connections.add(connection)
        return connection

    def _in_time(self, work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        with self._watch.limit(self._connection(), self.limits.timeout_s):
            return work()

    def _execute(self, cypher: str, params: Mapping[str, Any]) -> Any:
        try:
            return self._connection().execute(cypher, dict(params))
        except RuntimeError as error:
            raise _translate(error) from error

    def _read(self, cypher: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        result = self._execute(cypher, params)
        try:
            names = result.get_column_names()
            while result.has_next():
                yield dict(zip(names, result.get_next(), strict=True))
        except RuntimeError as error:
            raise _translate(error) from error
        finally:
            result.close()

    def _write(self, cypher: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        with self._write_lock:
            return list(self._read(cypher, params))

    def _macro(self, statement: str) -> None:
        try:
            self._write(statement, {})
        except KGError as error:
            if "already exists" not in str(error):
                raise

    def query_free(self, cypher: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Runs one read statement in a process of its own when the graph is a file that is open for reading.

        Raises:
            KGTimeout: As `query`, also where the engine itself would not notice.
            KGError: As `query`.
        """
        if self.path is None or not self.read_only:  # Only this process can see what it is writing.
            return self.query(cypher, params)
        if self._db is None:
            raise KGUnavailable("the graph has been closed.")
        with self._write_lock:
            self._free = self._free or FreeReader(self.path, self._side, self.limits)
        return self._free.query(cypher, params or {})

    def upsert_nodes(self, label: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes nodes, and their text into the side file when the label is indexed."""
        super().upsert_nodes(label, rows)
        prop = self.graph_schema.fulltext.get(label)
        if prop:
            self._terms.add(label, [(row["id"], row[prop]) for row in rows])

    def _candidates(self, label: str, asked: Asked, limit: int) -> list[str]:
        return self._terms.candidates(label, asked, limit)

    def use_limits(self, limits: Limits) -> None:
        """Changes the bounds of reads."""
        self.limits = limits
        if self._free:
            self._free.close()
            self._free = None

    def checkpoint(self) -> None:
        """Writes the log into the database file, so that it can be moved."""
        self._write("CHECKPOINT", {})
        self._terms.commit()

    def close(self) -> None:
        """Releases the engine; a second call does nothing."""
        if self._db is None or os.getpid() != self._pid:
            return
        if self._free:
            self._free.close()
        self._watch.close()
        for connection in list(self._connections):
            connection.close()
        self._db.close()
        self._db = None
        self._terms.close()


def _pool_for(graph: Path | None) -> int:
    return LARGE_POOL if graph is None else min(LARGE_POOL, max(SMALL_POOL, graph.stat().st_size * 5 // 4))


def _translate(error: RuntimeError) -> KGError:
    text = " ".join(str(error).split())
    kind = next((k for mark, k in _ERRORS if mark in text.lower()), KGError)
    if kind is KGTimeout:
        return KGTimeout("the query ran past its time limit.", hint="Ask for less, or add a LIMIT.")
    return kind(text[:500])
