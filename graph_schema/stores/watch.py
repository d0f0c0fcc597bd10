"""Ends what the embedded engine runs too long.

The engine's own time limit makes it hand each query to another thread and wait, which takes as long again as
a named query; so does a timer, a thread a query. One thread that looks now and then costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LOOK_S = 0.05
"""Seconds between two looks: by how much a query may be late."""


class Interruptible(Protocol):
    """A connection whose running statement can be ended from another thread."""

    def interrupt(self) -> None:
        """Ends the running statement; does nothing when there is none."""


class Watch:
    """Interrupts connections that are past their time. Must be made anew after a fork."""

    def __init__(self) -> None:
        self._due: dict[Interruptible, float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._started = False

    @contextmanager
    def limit(self, connection: Interruptible, seconds: float) -> Iterator[None]:
        """Gives what a connection does inside so many seconds; a connection does one thing at a time."""
        with self._lock:
            self._due[connection] = time.monotonic() + seconds
            if not self._started:
                self._started = True
                threading.Thread(target=self._look, name="kg-watch", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:  # After this nothing interrupts the connection's next statement.
                del self._due[connection]

    def _look(self) -> None:
        while not self._closed.wait(LOOK_S):
            with self._lock:
                now = time.monotonic()
                for connection, due in self._due.items():
                    if now > due:
                        connection.interrupt()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
