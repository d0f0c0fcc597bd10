"""Every error CLARIFY raises on purpose: what happened, what to do, and the exit code of the command line."""

from __future__ import annotations


class ClarifyError(Exception):
    """Base of all deliberate errors.

    Attributes:
        exit_code: What the command line exits with (design: 2 bad input, 3 part unavailable, 1 other).
        hint: One sentence that tells a person what to do, or an empty string.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(hint)  # a traceback shows it too

    def line(self) -> str:
        """Returns the message and the hint as one line for stderr."""
        message = " ".join(str(self).split())
        stop = "." if self.hint and message[-1:].isalnum() else ""
        return f"{message}{stop} {self.hint}".strip()


class BadInput(ClarifyError):
    """The caller gave something that cannot be used: a file, a query name, an empty question."""

    exit_code = 2


class BadImage(BadInput):
    """A picture that is missing, empty, truncated, too large or no picture at all."""


class CypherRefused(BadInput):
    """The guard refused a statement; the message is the reason."""


class Unavailable(ClarifyError):
    """A part that the request needs is not there: weights, graph, server."""

    exit_code = 3


class WeightsMissing(Unavailable):
    """Weights are absent or do not have the recorded SHA-256."""


class KGError(ClarifyError):
    """Base of knowledge-graph errors."""


class KGQueryError(KGError):
    """A query text or its parameters are wrong."""


class KGSchemaError(KGError):
    """Rows or labels do not fit the declared `GraphSchema`."""


class KGTimeout(KGError):
    """A query ran past its time limit."""


class KGReadOnly(KGError):
    """A write was tried on a read-only graph."""


class KGUnavailable(KGError, Unavailable):
    """The graph cannot be opened or reached."""

    exit_code = 3
