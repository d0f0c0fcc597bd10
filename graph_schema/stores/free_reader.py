"""Runs free read statements on an embedded graph in a process of their own, which can be stopped.

An embedded engine shares its caller's process: inside one expression it looks at no clock, and lists it makes
are not counted against its buffer pool. A statement that nobody has read before therefore runs in a child,
which is killed past the deadline and which ends itself when it has grown too large; the next statement gets a
new child.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ...errors import ClarifyError, KGQueryError, KGTimeout, KGUnavailable
from .base import Limits

START_TIMEOUT_S = 60.0
GRACE_S = 1.0
MAX_GROWTH = 2**30
"""Bytes a child may grow by, of which the engine's buffer pool takes a quarter."""
_TOO_LARGE = 77
_WATCH_S = 0.02
_STATM = Path("/proc/self/statm")


class FreeReader:
    """Statements for one graph file, one at a time; the child is started by the first."""

    def __init__(self, path: Path, terms: Path | None, limits: Limits) -> None:
        self._graph = (path, terms, limits)
        self._limits = limits
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()

    def query(self, text: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Runs one read statement.

        Raises:
            KGTimeout: Past `limits.timeout_s`, also where the engine does not notice.
            KGQueryError: As `BaseStore.query`; also when the statement needs too much memory.
            KGUnavailable: The child cannot open the graph: a newer one may have been published.
        """
        if os.getpid() != self._pid:  # A forked process leaves its parent's child alone.
            self.__init__(*self._graph)  # type: ignore[misc]
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._child = self._start()
            rows: list[dict[str, Any]] = self._ask((text, dict(params)), self._limits.timeout_s + GRACE_S)
            return rows

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [path or os.getcwd() for path in sys.path]
        self._child = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._ask(self._graph, START_TIMEOUT_S)
        return self._child

    def _ask(self, question: object, seconds: float) -> Any:
        child = self._child
        assert child and child.stdin and child.stdout
        timer = threading.Timer(seconds, child.kill)
        timer.start()
        try:
            pickle.dump(question, child.stdin)
            child.stdin.flush()
            answer = pickle.load(child.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            child.kill()
            raise _ending(child.wait()) from error
        finally:
            timer.cancel()
        if isinstance(answer, ClarifyError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the child; a second call does nothing."""
        child, self._child = self._child, None
        if child is None or os.getpid() != self._pid:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:  # What it had not read of a last statement is of no use to anyone.
                    continue


def _ending(status: int) -> ClarifyError:
    if status == _TOO_LARGE:
        return KGQueryError(
            f"the statement needs more than {MAX_GROWTH // 2**20} MB.", hint="Ask for less, or add a LIMIT."
        )
    if status < 0:
        return KGTimeout("the query ran past its time limit.", hint="Ask for less, or add a LIMIT.")
    return KGUnavailable(f"the process that reads the graph ended with status {status}.")


def serve() -> None:
    """What the child does: opens the graph it is told, then answers statements until its input ends."""
    questions = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # What an engine prints must not get between the answers.
        _serve(questions, answers)


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    from .ladybug_store import SMALL_POOL, LadybugKG

    def answer(value: object) -> None:
        pickle.dump(value, answers)
        answers.flush()

    path, terms, limits = pickle.load(questions)
    try:
        kg = LadybugKG(path, terms=terms, limits=limits, pool=SMALL_POOL)
    except ClarifyError as error:
        answer(error)
        return
    if _STATM.exists():  # Elsewhere than on Linux only the clock and the engine's own pool are bounds.
        threading.Thread(target=_watch, args=(_resident() + MAX_GROWTH,), daemon=True).start()
    answer(None)
    while True:
        try:
            text, params = pickle.load(questions)
        except EOFError:
            return
        try:
            answer(kg.query(text, params))
        except ClarifyError as error:
            answer(error)


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _watch(most: int) -> None:
    while _resident() < most:
        time.sleep(_WATCH_S)
    os._exit(_TOO_LARGE)
