"""What commands share: JSON on stdout, progress and errors on stderr, texts from an argument or stdin."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import BadInput, ClarifyError, Unavailable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "BITSANDBYTES_NOWELCOME": "1",
}


def set_up(*, debug: bool) -> None:
    """Makes the streams UTF-8 and keeps libraries quiet; with `debug` they log to stderr instead.

    Must run before a model library is imported: some read the environment only then.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def printable(text: str) -> str:
    """Replaces control characters, so that a file name or a graph text cannot steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def note(text: str) -> None:
    """Writes one line to stderr."""
    sys.stderr.write(printable(text).replace("\n", " ") + "\n")
    sys.stderr.flush()


def out(*, stderr: bool = False) -> Console:
    """Gives a console that colours only on a terminal and never reads `[id]` as markup."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 500  # a file is not folded or cut where some terminal would end
    return console


def emit(value: Any) -> None:
    """Writes one JSON document on one line of stdout; pydantic models, also inside lists, are dumped."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:  # a query can compute NaN or infinity, which JSON does not have
        loose = json.dumps(value, ensure_ascii=False, default=_plain)
        text = json.dumps(json.loads(loose, parse_constant=lambda _: None), ensure_ascii=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)


class Progress:
    """One line on stderr saying what is happening: alive on a terminal, a plain line per step otherwise.

    Off a terminal a step that ends within `patience` seconds leaves no line, so an error is the only one.
    """

    def __init__(self, *, stream: TextIO | None = None, patience: float = 0.4) -> None:
        self._stream = stream or sys.stderr
        self._patience = patience
        self._status: Status | None = None
        self._timer: threading.Timer | None = None
        self._last = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, step: str) -> None:
        """Shows a step, for example `looking at img1`; a repeated step is not shown again."""
        if step == self._last:
            return
        if not self._stream.isatty():
            self.stop()
            self._timer = threading.Timer(self._patience, self._write, [step])
            self._timer.daemon = True
            self._timer.start()
        elif self._status is None:
            self._status = out(stderr=True).status(step)
            self._status.start()
        else:
            self._status.update(step)
        self._last = step

    def stop(self) -> None:
        """Takes the line away; the next step starts a new one."""
        if self._timer is not None:
            self._timer.cancel()
        if self._status is not None:
            self._status.stop()
        self._status, self._timer, self._last = None, None, ""

    def _write(self, step: str) -> None:
        self._stream.write(f"... {printable(step)}\n")
        self._stream.flush()


def required(text: str, what: str) -> str:
    """Returns `text` stripped and free of lone surrogates.

    Raises:
        BadInput: Nothing is left of it.
    """
    clean = text.encode("utf-8", "replace").decode().strip()
    if not clean:
        raise BadInput(
            f"the {what} is empty.", hint=f"Give text, or - to read one {what} per line from stdin."
        )
    return clean


def check(text: str, what: str) -> None:
    """Refuses an empty text argument before anything is opened for it; `-` stands for stdin.

    Raises:
        BadInput: It is empty.
    """
    if text != "-":
        required(text, what)


def decoded(line: str) -> str:
    """Returns the text of a line of stdin; a line that is a JSON string is decoded."""
    bare = line.strip()
    if bare.startswith('"'):
        try:
            value = json.loads(bare)
        except ValueError:
            return bare
        return str(value)
    return bare


def lines_of_stdin() -> Iterator[str]:
    """Yields the texts of stdin as they come, one per line."""
    for line in sys.stdin:
        yield decoded(line)


def answer_texts(
    text: str,
    what: str,
    one: Callable[[str], Any],
    show: Callable[[Any], None],
    *,
    as_json: bool,
    failed: Callable[[ClarifyError], dict[str, Any]] | None = None,
) -> None:
    """Answers the text of an argument, or with `-` every line of stdin with one JSON line each, in order.

    Args:
        text: The argument.
        what: What the text is, for messages.
        one: Computes the answer to one text.
        show: Prints an answer for people.
        as_json: Whether to print JSON for a single text too.
        failed: The JSON line of a text that could not be answered; the rest go on.

    Raises:
        ClarifyError: A single text could not be answered, or a part is unavailable.
    """
    if text != "-":
        answer = one(required(text, what))
        emit(answer) if as_json else show(answer)
        return
    for line in lines_of_stdin():
        try:
            emit(one(required(line, what)))
        except Unavailable:
            raise
        except ClarifyError as error:
            emit(failed(error) if failed else {"error": error.line()})
