"""`Session`: the one way in for programs on this machine; the command line and the pages sit on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from ..errors import BadImage, BadInput, Unavailable
from .answer import ClarifyAnswer
from .context import Context
from .deps import Deps, default_deps
from .graph import build_graph
from .nodes.intake import MAX_WORDS

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from ..settings import Settings

Picture = bytes | str | Path
"""The bytes of a picture, or the path of one. Paths come from the person at this machine, never a client."""


class Session:
    """Asks questions and keeps conversations.

    Example:
        >>> from clarify.agent.runtime import Session  # doctest: +SKIP
        >>> Session().ask("How is melanoma treated?").answer  # doctest: +SKIP
    """

    def __init__(
        self,
        profile: str = "",
        *,
        settings: Settings | None = None,
        kept: bool = False,
        deps: Deps | None = None,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        context: Context | None = None,
    ) -> None:
        """Prepares a session; parts are loaded when first needed (`check` loads them all now).

        Args:
            profile: The generalist; empty: the one of the settings.
            settings: Where things are; read from the environment when None.
            kept: Keep conversations in the settings' SQLite file; otherwise they end with this session.
            deps: Other parts than those the settings name.
            checkpointer: Another place for conversations.
            context: Thresholds and budgets.
        """
        from dataclasses import replace

        from ..settings import load_settings

        chosen = settings or load_settings()
        self.deps = deps or default_deps(chosen, any_profile=True)
        self.context = replace(context or Context(), profile=profile or (context or Context()).profile)
        self._connection: Any = None
        self._graph = build_graph(self.deps).compile(checkpointer=checkpointer or self._saver(chosen, kept))

    def ask(
        self,
        question: str,
        *,
        images: Sequence[Picture] = (),
        thread: str | None = None,
        patient: Mapping[str, Any] | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> ClarifyAnswer:
        """Answers one turn.

        Args:
            question: The user's words.
            images: Pictures that come with them.
            thread: Conversation to go on with; a new one when None.
            patient: What is known about the patient, as `patient_context` gives it.
            on_event: Called with a few words at each step.

        Raises:
            BadInput: Empty or overlong question. Nothing of the turn is kept.
            BadImage: A picture cannot be used. Nothing of the turn is kept.
        """
        answer = None
        for event in self.stream(question, images=images, thread=thread, patient=patient):
            if isinstance(event, ClarifyAnswer):
                answer = event
            elif on_event is not None:
                on_event(event)
        assert answer is not None
        return answer

    def stream(
        self,
        question: str,
        *,
        images: Sequence[Picture] = (),
        thread: str | None = None,
        patient: Mapping[str, Any] | None = None,
    ) -> Iterator[str | ClarifyAnswer]:
        """Answers one turn; yields words about each step, and the answer last. As `ask` otherwise."""
        asked = {"messages": [self._message(question, images)], "patient": dict(patient or {})}
        config = {"configurable": {"thread_id": thread or uuid.uuid4().hex}}
        # One checkpoint a turn, when it is over or was cut short.
        parts = self._graph.stream(
            asked,
            config,
            context=self.context,
            stream_mode=["custom", "values"],
            durability="exit",  # type: ignore[call-overload]
        )
        last: dict[str, Any] = {}
        for mode, part in parts:
            if mode == "custom":
                yield str(part)
            else:
                last = part
        yield ClarifyAnswer.model_validate(last["answer"])

    def history(self, thread: str) -> list[tuple[str, str]]:
        """The conversation so far as (role, text) pairs, roles `user` and `assistant`."""
        values = self._graph.get_state({"configurable": {"thread_id": thread}}).values
        said = {"human": "user", "ai": "assistant"}
        return [
            (said[m.type], _shown(m))
            for m in values.get("messages", [])
            if m.type in said and not getattr(m, "tool_calls", [])
        ]

    def check(self) -> None:
        """Loads every part, so that what is missing is known before the first question.

        Raises:
            Unavailable: The generalist, the specialist or the graph cannot be used.
            BadInput: The profile does not exist.
        """
        self.deps.generalist(self.context.profile)  # first: a wrong profile is known at once
        self.deps.knowledge()
        self.deps.specialist()

    def close(self) -> None:
        """Closes the file of conversations."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Session:
        """Returns the session."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def _message(self, question: str, images: Sequence[Picture]) -> HumanMessage:
        text = question.strip()
        if not text:
            raise BadInput("The question is empty.")
        if len(text) > MAX_WORDS:
            raise BadInput(f"The question is longer than {MAX_WORDS} characters.")
        if not images:
            return HumanMessage(text)
        blocks: list[str | dict[str, Any]] = [self._block(image) for image in images]
        return HumanMessage([*blocks, {"type": "text", "text": text}])

    def _block(self, image: Picture) -> dict[str, Any]:
        """Checks and keeps a picture before the graph sees it: a bad one is an error here only."""
        if isinstance(image, bytes):
            stored = self.deps.images.put(image)
        else:
            try:
                stored = self.deps.images.put(Path(image).read_bytes())
            except OSError as error:
                raise BadImage(f"{image} cannot be read: {error.strerror or error}.") from error
            except BadImage as error:
                raise BadImage(f"{image}: {error}", hint=error.hint) from error
        return {"type": "image", "file_id": stored.sha256, "source_sha256": stored.source_sha256}

    def _saver(self, settings: Settings, kept: bool) -> BaseCheckpointSaver[Any]:
        if not kept:
            from langgraph.checkpoint.memory import InMemorySaver

            return InMemorySaver()
        import sqlite3

        from langgraph.checkpoint.sqlite import SqliteSaver

        file = settings.threads_file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(file, check_same_thread=False, timeout=30)
            saver = SqliteSaver(self._connection)
            saver.setup()
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(
                f"Conversations cannot be kept in {file}: {error}.", hint="Set CLARIFY_HOME."
            ) from error
        return saver


def _shown(message: Any) -> str:
    """The text of a message for people."""
    if isinstance(message.content, str):
        return message.content
    texts = [b["text"] for b in message.content if isinstance(b, dict) and b.get("type") == "text"]
    return str(texts[-1]) if texts else ""
