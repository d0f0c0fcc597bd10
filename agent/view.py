"""What of a thread the generalist sees: the system prompt, the last turns and the current one."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from .signs import ASIDE

TURNS_BEFORE = 3


def model_view(
    messages: Sequence[BaseMessage],
    system: str,
    turns_before: int = TURNS_BEFORE,
    without: Sequence[str] = (),
) -> list[BaseMessage]:
    """Cuts and cleans a conversation for the model.

    Answers for people are replaced by the drafts they were rendered from; system messages of clients are left
    out, since the system prompt is ours; so are calls of the tools `without`, which the model does not know,
    and what the graph asks aside of such a model.
    """
    starts = [i for i, message in enumerate(messages) if isinstance(message, HumanMessage)]
    first = starts[-(turns_before + 1)] if len(starts) > turns_before else (starts[0] if starts else 0)
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    shown = [
        _plain(known)
        for message in messages[first:]
        if isinstance(message, HumanMessage | AIMessage | ToolMessage)
        and not _cut_short(message, answered)
        and (known := _known(message, without)) is not None
    ]
    return [SystemMessage(system), *shown]


def _cut_short(message: BaseMessage, answered: set[str]) -> bool:
    """Whether these are calls of a run that ended before their results came."""
    return isinstance(message, AIMessage) and any(call["id"] not in answered for call in message.tool_calls)


def _known(message: BaseMessage, without: Sequence[str]) -> BaseMessage | None:
    """A message without calls of tools that the model does not know; None when nothing else is in it."""
    if isinstance(message, ToolMessage):
        return None if _strange(message.name or "", message.tool_call_id, without) else message
    if not isinstance(message, AIMessage) or not message.tool_calls:
        return message
    calls = [c for c in message.tool_calls if not _strange(c["name"], str(c["id"]), without)]
    return message.model_copy(update={"tool_calls": calls}) if calls else None


def _strange(name: str, call: str, without: Sequence[str]) -> bool:
    return bool(without) and (name in without or call.startswith(ASIDE))


def _plain(message: BaseMessage) -> BaseMessage:
    if isinstance(message, AIMessage):
        draft = message.additional_kwargs.get("draft")
        content = draft if isinstance(draft, str) else message.content
        return AIMessage(content=content, tool_calls=message.tool_calls, id=message.id)
    if isinstance(message, ToolMessage):
        return ToolMessage(content=message.content, tool_call_id=message.tool_call_id, name=message.name)
    if isinstance(message.content, list):
        blocks = [
            {k: v for k, v in b.items() if k != "url"} if isinstance(b, dict) else b for b in message.content
        ]
        return HumanMessage(content=blocks, id=message.id)
    return message
