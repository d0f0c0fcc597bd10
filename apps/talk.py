"""`clarify ask`, `clarify chat` and `clarify triage`."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput, ClarifyError, Unavailable
from .console import Progress, answer_texts, check, decoded, emit, note, required
from .patient import Age, Sex, Site, patient_of
from .pictures import load

if TYPE_CHECKING:
    from ..agent.answer import ClarifyAnswer
    from ..agent.runtime import Session

Images = Annotated[list[str] | None, typer.Option("-i", "--image", help="A picture; several may be given.")]
Profile = Annotated[str | None, typer.Option("--profile", help="Generalist; default nano, the shipped one.")]
Thread = Annotated[str | None, typer.Option("--thread", help="Name of a kept conversation to go on with.")]


def open_session(profile: str | None, *, kept: bool) -> Session:
    """Opens the engine with every part loaded; conversations outlive the process when `kept`.

    Raises:
        Unavailable: A part is missing; the message says which and what to do.
        BadInput: There is no such profile.
    """
    from ..agent.runtime import Session

    session = Session(profile or "", kept=kept)
    session.check()
    return session


def ready(paths: list[str] | None) -> list[bytes]:
    """Reads every picture before any model is loaded.

    Raises:
        BadImage: One cannot be used; the message names it.
    """
    return [load(path)[0] for path in paths or []]


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads one per line from stdin.")],
    image: Images = None,
    age: Age = None,
    sex: Sex = None,
    site: Site = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole answer as one JSON document.")
    ] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Print decisions and tool calls too.")] = False,
    profile: Profile = None,
    thread: Thread = None,
) -> None:
    """Answer a question, with the facts it leans on."""
    from .render import show_answer, show_trace

    check(question, "question")
    pictures, patient = ready(image), patient_of(age, sex, site)
    with Progress() as progress:
        session: list[Session] = []

        def one(text: str) -> ClarifyAnswer:
            if not session:
                progress("loading")
                session.append(open_session(profile, kept=thread is not None))
            answer = session[0].ask(text, images=pictures, thread=thread, patient=patient, on_event=progress)
            progress.stop()
            if trace and (as_json or question == "-"):
                show_trace(answer, stderr=True)
            return answer

        def show(answer: ClarifyAnswer) -> None:
            show_answer(answer)
            if trace:
                show_trace(answer)

        answer_texts(question, "question", one, show, as_json=as_json)


def chat(
    image: Images = None,
    thread: Thread = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON answer a turn.")] = False,
    profile: Profile = None,
) -> None:
    """Talk over several turns; /image PATH adds a picture, /quit ends. The conversation is kept."""
    from .render import show_answer

    pending = ready(image)
    name = required(thread, "thread") if thread is not None else uuid.uuid4().hex[:8]
    with Progress() as progress:
        progress("loading")
        session = open_session(profile, kept=True)
        progress.stop()
        note(f"Conversation {name}; go on with it later: clarify chat --thread {name}")
        for line in _turns():
            try:
                if line == "/quit":
                    break
                if line.startswith("/"):
                    pending += ready([_image_command(line)])
                    note("picture added; it goes with your next question.")
                    continue
                answer = session.ask(
                    required(line, "question"), images=pending, thread=name, on_event=progress
                )
                pending = []
            except Unavailable:
                raise
            except ClarifyError as error:
                progress.stop()
                note(f"clarify: {error.line()}")
                if jsonl:
                    emit({"error": error.line()})
                continue
            progress.stop()
            emit(answer) if jsonl else show_answer(answer)


def _image_command(line: str) -> str:
    """Returns the path of a line `/image PATH`, which may be quoted and start with `~`."""
    command, _, rest = line.partition(" ")
    if command != "/image":
        raise BadInput(f"{command} is not a command.", hint="There are /image PATH and /quit.")
    return os.path.expanduser(required(rest, "path after /image").strip("'\""))


def _turns() -> Iterator[str]:
    """Yields what is typed, or the lines of stdin when it is not a terminal; blank lines are passed over."""
    if not sys.stdin.isatty():
        yield from (text for text in map(decoded, sys.stdin) if text)
        return
    import readline  # noqa: F401  gives `input` its line editing

    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line:
            yield line


def triage(
    text: Annotated[str, typer.Argument(help="What a person writes; - reads one text per line from stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how urgent a message is, by rules alone; no model is loaded."""
    check(text, "text")
    from ..agent.red_flags import triage as rules
    from .render import show_triage

    def one(message: str) -> dict[str, Any]:
        return rules(message).as_json()

    answer_texts(text, "text", one, show_triage, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file to the root."""
    for command in (ask, chat, triage):
        app.command()(command)
