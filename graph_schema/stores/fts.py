"""Text search beside an embedded graph: SQLite FTS5 over names, a deletion index for misspelt words.

A word and a misspelling of it share a form with a few letters deleted (SymSpell), so looking one up is an
index access
and not a scan.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...errors import KGUnavailable
from ..text import allowed_edits, deletions, distance

_TABLES = """
CREATE VIRTUAL TABLE IF NOT EXISTS terms
USING fts5(id UNINDEXED, text, tokenize = "unicode61 remove_diacritics 0");
CREATE TABLE IF NOT EXISTS known (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deletions (form TEXT, word TEXT, PRIMARY KEY (form, word)) WITHOUT ROWID;
"""


class TermIndex:
    """Finds terms by words; one file, or memory when `path` is None."""

    def __init__(self, path: Path | None, *, read_only: bool) -> None:
        """Opens the index, and creates it when writable.

        Raises:
            KGUnavailable: The file is missing or no index.
        """
        self._path, self._read_only = path, read_only
        self._lock = threading.Lock()
        self.reopen()

    def reopen(self) -> None:
        """Opens the file; also used in a forked child, which must not share its parent's connection."""
        self._lock = threading.Lock()
        try:
            if self._path is None:
                self._db = sqlite3.connect(":memory:", check_same_thread=False)
            else:
                mode = "ro&immutable=1" if self._read_only else "rwc"
                uri = f"{self._path.absolute().as_uri()}?mode={mode}"
                self._db = sqlite3.connect(uri, uri=True, check_same_thread=False)
            if self._path is None or not self._read_only:
                self._db.executescript(_TABLES)
            self._db.execute("SELECT count(*) FROM deletions WHERE form = ''").fetchone()
        except sqlite3.Error as error:
            raise KGUnavailable(
                f"the text index {self._path} cannot be opened: {error}.", hint="Run `clarify kg build`."
            ) from error

    def add(self, rows: Iterable[tuple[str, str]]) -> None:
        """Adds (id, normal text) pairs; an id that is there already is left as it is."""
        with self._lock, self._db:
            for id_, text in rows:
                if self._db.execute("INSERT OR IGNORE INTO known VALUES (?)", (id_,)).rowcount == 0:
                    continue
                self._db.execute("INSERT INTO terms VALUES (?, ?)", (id_, text))
                forms = {
                    (form, word) for word in text.split() for form in deletions(word, allowed_edits(word))
                }
                self._db.executemany("INSERT OR IGNORE INTO deletions VALUES (?, ?)", forms)

    def candidates(self, words: Sequence[str], limit: int) -> list[str]:
        """Returns ids of terms that hold any of the words or a near misspelling, best first by BM25."""
        with self._lock:
            near = sorted({found for word in words for found in self._near(word)})
            if not near:
                return []
            match = " OR ".join('"' + word.replace('"', '""') + '"' for word in near)
            rows = self._db.execute(
                "SELECT id FROM terms WHERE terms MATCH ? ORDER BY bm25(terms), id LIMIT ?",
                (f"text : ({match})", limit),
            )
            return [row[0] for row in rows]

    def _near(self, word: str) -> list[str]:
        edits = allowed_edits(word)
        forms = list(deletions(word[:40], edits))
        found: set[str] = set()
        for start in range(0, len(forms), 500):
            part = forms[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(f"SELECT DISTINCT word FROM deletions WHERE form IN ({marks})", part)
            found.update(row[0] for row in rows)
        return [w for w in found if distance(word, w, edits) <= edits]

    def commit(self) -> None:
        """Makes the file complete, so that it can be moved."""
        with self._lock:
            self._db.commit()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()
