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

Asked = Sequence[Sequence[Sequence[str]]]
"""Readings of a text; each is groups of words that mean one thing. A text that has, for every group of some
reading, one of its words or a near misspelling fits."""
_TEXTS = """
CREATE VIRTUAL TABLE IF NOT EXISTS "{label}"
USING fts5(id UNINDEXED, text, tokenize = "unicode61 remove_diacritics 0");
"""
_TABLES = """
CREATE TABLE IF NOT EXISTS known (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deletions (form TEXT, word TEXT, PRIMARY KEY (form, word)) WITHOUT ROWID;
"""


class TermIndex:
    """Finds nodes by the words of their text; one file, or memory when `path` is None."""

    def __init__(self, path: Path | None, labels: Iterable[str], *, read_only: bool) -> None:
        """Opens the index, and creates a table for each label when writable.

        Raises:
            KGUnavailable: The file is missing or no index.
        """
        self._path, self._labels, self._read_only = path, tuple(labels), read_only
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
                self._db.executescript(_TABLES + "".join(_TEXTS.format(label=x) for x in self._labels))
            self._db.execute("SELECT count(*) FROM deletions WHERE form = ''").fetchone()
        except sqlite3.Error as error:
            raise KGUnavailable(
                f"the text index {self._path} cannot be opened: {error}.", hint="Run `clarify kg build`."
            ) from error

    def add(self, label: str, rows: Iterable[tuple[str, str]]) -> None:
        """Adds (id, normal text) pairs; an id that is there already is left as it is."""
        with self._lock, self._db:
            for id_, text in rows:
                if self._db.execute("INSERT OR IGNORE INTO known VALUES (?)", (id_,)).rowcount == 0:
                    continue
                self._db.execute(f'INSERT INTO "{label}" VALUES (?, ?)', (id_, text))
                for word in text.split():
                    if self._db.execute("INSERT OR IGNORE INTO words VALUES (?)", (word,)).rowcount:
                        forms = ((form, word) for form in deletions(word, allowed_edits(word)))
                        self._db.executemany("INSERT OR IGNORE INTO deletions VALUES (?, ?)", forms)

    def candidates(self, label: str, asked: Asked, limit: int) -> list[str]:
        """Returns ids of texts that fit what is asked, the best by BM25 where more than `limit` do."""
        with self._lock:
            parts = []
            for groups in asked:
                near = [sorted({found for word in group for found in self._near(word)}) for group in groups]
                if near and all(near):
                    parts.append(" AND ".join(f"({' OR '.join(map(_quoted, words))})" for words in near))
            if not parts:
                return []
            match = " OR ".join(f"({part})" for part in parts)
            found = self._ids(label, match, "", limit + 1)
            if len(found) > limit:  # Ranking reads every text that has one of the words: only when needed.
                found = self._ids(label, match, f'ORDER BY bm25("{label}"), id', limit)
            return found

    def _ids(self, label: str, match: str, order: str, limit: int) -> list[str]:
        statement = f'SELECT id FROM "{label}" WHERE "{label}" MATCH ? {order} LIMIT ?'
        return [row[0] for row in self._db.execute(statement, (match, limit))]

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


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
