"""The server store: Neo4j through `langchain_neo4j.Neo4jGraph`, without APOC, reads in READ mode."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import CypherRefused, KGError, KGQueryError, KGReadOnly, KGTimeout, KGUnavailable
from ..lint import unknown_names
from ..schema import SCHEMA, GraphSchema, index_name
from ..text import allowed_edits
from .base import BaseStore, Limits
from .fts import Asked

if TYPE_CHECKING:
    from langchain_neo4j import Neo4jGraph
    from neo4j import Transaction

_SEARCH = (
    "CALL db.index.fulltext.queryNodes($index, $words, {limit: $limit}) YIELD node, score "
    "RETURN node.id AS id ORDER BY score DESC, id"
)
_LUCENE = str.maketrans({c: "\\" + c for c in '+-&|!(){}[]^"~*?:\\/'})
_KNOWN_READS = 256
_CONNECT_S = 5.0
_RETRY_S = 3.0
_IDLE_S = 1.0
_GRACE_S = 2.0
LOAD_TIMEOUT_S = 1800.0
_HINT = "Check the address, CLARIFY_NEO4J_USER, CLARIFY_NEO4J_PASSWORD and CLARIFY_NEO4J_DATABASE."


class Neo4jKG(BaseStore):
    """A graph on a Neo4j server (5.x, Community is enough)."""

    calls = frozenset({"db.labels", "db.relationshiptypes", "db.propertykeys"})

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        database: str = "neo4j",
        schema: GraphSchema = SCHEMA,
        read_only: bool = True,
        limits: Limits | None = None,
    ) -> None:
        """Connects, and creates constraints and the text index when writable.

        Raises:
            KGUnavailable: The server cannot be reached or refuses the login.
        """
        super().__init__(schema, read_only=read_only, limits=limits)
        self._args = (url, user, password, database)
        self._transaction: Transaction | None = None
        self._connect()
        if not read_only:
            for statement in schema.neo4j_ddl():
                self._write(statement, {})
            self._write("CALL db.awaitIndexes(60)", {})

    def _connect(self) -> None:
        from langchain_neo4j import Neo4jGraph

        url, user, password, database = self._args
        timeout = self.limits.timeout_s
        config = {
            "connection_timeout": min(timeout, _CONNECT_S),
            "connection_acquisition_timeout": timeout,
            "max_transaction_retry_time": min(timeout, _RETRY_S),
            "liveness_check_timeout": _IDLE_S,  # A server that was restarted has forgotten its connections.
            "notifications_min_severity": "OFF",
        }
        with _translated(url):
            self._graph: Neo4jGraph | None = Neo4jGraph(
                url,
                user,
                password,
                database=database,
                timeout=timeout,
                refresh_schema=False,
                driver_config=config,
            )
        self._pid = os.getpid()
        self._known: set[str] = set()

    def _run(self, cypher: str, params: Mapping[str, Any], mode: str) -> Iterator[dict[str, Any]]:
        from neo4j import Query

        driver = self._open_graph()._driver
        with (
            _translated(self._args[0]),
            driver.session(database=self._args[3], default_access_mode=mode) as session,
        ):
            for record in session.run(Query(cypher, timeout=self.limits.timeout_s), dict(params)):
                yield record.data()

    def _in_time(self, work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        # A driver waits for as long as a server says nothing: one that hangs, or that plans without a look at
        # its clock. The thread that is left waiting ends with its connection.
        outcome: Future[list[dict[str, Any]]] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        try:
            return outcome.result(self.limits.timeout_s + _GRACE_S)
        except TimeoutError as error:
            if outcome.done():
                raise
            raise KGTimeout(
                "the server did not answer within the time limit.", hint="Ask for less, or check the server."
            ) from error

    def _open_graph(self) -> Neo4jGraph:
        if self._graph is None:
            raise KGUnavailable("the graph has been closed.")
        if os.getpid() != self._pid:  # Sockets are not shared with a forked child.
            self._connect()
        return self._graph

    def _read(self, cypher: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if cypher not in self._known:
            self._check_with_server(cypher, params)
        return self._run(cypher, params, "READ")

    def _check_with_server(self, cypher: str, params: Mapping[str, Any]) -> None:
        """Lets the server plan the statement; refuses what is no read, and names nobody declared."""
        from neo4j import unit_of_work

        unknown = unknown_names(cypher, self.graph_schema)
        if unknown:  # The server would answer a misspelt label with no rows.
            raise KGQueryError(f"not in the schema: {', '.join(unknown)}")

        @unit_of_work(timeout=self.limits.timeout_s)
        def explain(tx: Any) -> Any:
            return tx.run(f"EXPLAIN {cypher}", dict(params)).consume()

        driver = self._open_graph()._driver
        with _translated(self._args[0]), driver.session(database=self._args[3]) as session:
            summary = session.execute_read(explain)
        if summary.query_type != "r":
            raise CypherRefused("the server plans this statement as more than a read")
        if len(self._known) >= _KNOWN_READS:
            self._known.clear()
        self._known.add(cypher)

    def _write(self, cypher: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._transaction is None:
            return list(self._run(cypher, params, "WRITE"))
        with _translated(self._args[0]):
            return [record.data() for record in self._transaction.run(cypher, dict(params))]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes the writes inside one: readers see none of them until all are done, or none ever.

        For one thread at a time.

        Raises:
            KGError: The server refuses, or went away: nothing has been written.
        """
        self._must_write()
        driver = self._open_graph()._driver
        with _translated(self._args[0]), driver.session(database=self._args[3]) as session:
            with session.begin_transaction(timeout=LOAD_TIMEOUT_S) as transaction:
                self._transaction = transaction
                try:
                    yield
                    transaction.commit()
                finally:
                    self._transaction = None

    def _candidates(self, label: str, asked: Asked, limit: int) -> list[str]:
        # Lucene's own fuzzy operator finds the same words as the embedded deletion index; both are rescored
        # alike.
        readings = [
            " AND ".join(f"({' '.join(map(_fuzzy, group))})" for group in groups)
            for groups in asked
            if groups
        ]
        words = " OR ".join(f"({reading})" for reading in readings)
        params = {"index": index_name(label), "words": words, "limit": limit}
        return [row["id"] for row in self._in_time(lambda: list(self._run(_SEARCH, params, "READ")))]

    def close(self) -> None:
        """Closes the driver; a second call does nothing."""
        if self._graph is not None and os.getpid() == self._pid:
            self._graph.close()
        self._graph = None


def _fuzzy(word: str) -> str:
    edits = allowed_edits(word)
    return word[:40].translate(_LUCENE) + (f"~{edits}" if edits else "")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turns driver errors into ours."""
    from neo4j import exceptions as neo

    try:
        yield
    except ValueError as error:  # Neo4jGraph hides connection errors in this.
        raise KGUnavailable(f"the graph at {url} cannot be reached: {error}.", hint=_HINT) from error
    except (neo.ServiceUnavailable, neo.SessionExpired, neo.AuthError, neo.ConfigurationError) as error:
        raise KGUnavailable(f"the graph at {url} cannot be reached: {error}.", hint=_HINT) from error
    except neo.Neo4jError as error:
        raise _kind(error.code or "")(" ".join((error.message or str(error)).split())[:500]) from error
    except neo.DriverError as error:
        raise KGError(str(error)) from error


def _kind(code: str) -> type[KGError]:
    if "TransactionTimedOut" in code or code.endswith("Terminated"):
        return KGTimeout
    if "AccessMode" in code or "Forbidden" in code or "ReadOnly" in code:
        return KGReadOnly
    if "Memory" in code or "Statement" in code:
        return KGQueryError
    if "Security" in code or "DatabaseNotFound" in code or "DatabaseUnavailable" in code:
        return KGUnavailable
    return KGError
