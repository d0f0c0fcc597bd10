"""The command line: `clarify`. Only wiring: each command group has a file, imported without models."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import ClarifyError
from . import doctor, kg, sight, talk
from .console import note, set_up

app = typer.Typer(
    name="clarify",
    help="Questions about a picture of skin: a classifier diagnoses, a graph gives cited facts, a VLM talks.",
    epilog="Research software, not a medical device; no clinician has reviewed the facts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show logs of the libraries and tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Holds the options of every command; `main` reads `--debug` itself, wherever it stands."""


talk.register(app)
sight.register(app)
app.add_typer(kg.app, name="kg")
doctor.register(app)


def run(arguments: Sequence[str], *, debug: bool = False) -> int:
    """Runs one command; returns 0 answered, 2 wrong usage or input, 3 part unavailable, 1 anything else."""
    words = sight.spread_labels(arguments) if arguments[:1] == ["zero-shot"] else list(arguments)
    try:
        code = app(args=words, prog_name="clarify", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except ClarifyError as error:
        if debug:
            raise
        note(f"clarify: {error.line()}")
        return error.exit_code
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        note("clarify: stopped.")
        return 130
    except Exception as error:  # the last line of defence: a person gets one line, --debug the traceback
        usage = getattr(error, "format_message", None)
        if usage is not None:
            note(f"clarify: {usage()} See clarify --help.")
            return int(getattr(error, "exit_code", 2))
        if debug:
            raise
        note(f"clarify: unexpected {type(error).__name__}: {error}. Run it with --debug for more.")
        return 1


def split_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Takes `--debug` out, wherever it stands before `--`; tells whether it was there."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def main() -> None:
    """Entry point of the `clarify` script."""
    arguments, debug = split_debug(sys.argv[1:])
    set_up(debug=debug)
    sys.exit(run(arguments, debug=debug))


if __name__ == "__main__":
    main()
