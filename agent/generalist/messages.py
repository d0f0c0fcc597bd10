"""LangChain messages to the text a model's own chat template makes of them.

What a template can do is found out once, by rendering small conversations with it (`Traits`), not by its
name: text as a string or as blocks, tools, tool calls, a system role, pictures in tool results. What it
cannot do is put into words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from ...errors import BadInput
from .pictures import ImageLoader, Picture, is_picture, load_picture
from .tool_syntax import FAMILIES, ToolSyntax, recognise, render_calls

Part = str | Picture
_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (SystemMessage, "system"),
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (ToolMessage, "tool"),
)
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "probe_tool",
        "description": "probe",
        "parameters": {"type": "object", "properties": {"alpha": {"type": "string"}}, "required": ["alpha"]},
    },
}
_PROBE_CALLS: list[tuple[str, Mapping[str, Any]]] = [("probe_tool", {"alpha": "x", "beta": 1})]


@dataclass(frozen=True)
class Turn:
    """One message before rendering: text and pictures in order, calls, the name of the answering tool."""

    role: str
    parts: tuple[Part, ...]
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    name: str = ""
    call_id: str = ""


@dataclass(frozen=True)
class Traits:
    """What a chat template can do.

    Attributes:
        text_roles: Roles whose content may be a plain string; the others get a list of blocks.
        system: There is a system role for the first message.
        late_system: There is one for later messages too.
        tools: `tools=` shows up in the prompt.
        tool_role: A tool message shows up in the prompt.
        tool_pictures: A tool message may hold pictures.
        syntax: How the template writes tool calls; None when it drops them.
    """

    text_roles: frozenset[str]
    system: bool
    late_system: bool
    tools: bool
    tool_role: bool
    tool_pictures: bool
    syntax: ToolSyntax | None


@dataclass
class ChatTemplate:
    """A model's chat template together with what it can do.

    Args:
        apply: `tokenizer.apply_chat_template` bound to the template: (messages, tools) to text.
        image_token: The placeholder of one picture in rendered text.
        special: Token texts that user text must not be able to spell.
        fallback: Tool syntax for a template that drops tool calls.
    """

    apply: Callable[[list[dict[str, Any]], list[Any] | None], str]
    image_token: str
    special: Sequence[str]
    fallback: ToolSyntax
    traits: Traits = field(init=False)

    def __post_init__(self) -> None:
        tokens = sorted({t for t in self.special if len(t) > 2 and t.strip() == t}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, tokens))) if tokens else None
        self.traits = self._probe()

    @property
    def syntax(self) -> ToolSyntax:
        """How calls are written in this model's prompts and answers."""
        return self.traits.syntax or self.fallback

    def render(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]], loader: ImageLoader | None
    ) -> tuple[str, list[Picture]]:
        """Renders a conversation up to the start of the assistant's next turn.

        Args:
            messages: LangChain messages; pictures may stand in human and tool messages.
            tools: Tools in OpenAI format.
            loader: Resolves `file_id` of image blocks.

        Returns:
            The prompt with one placeholder for each picture, and the pictures in the same order.

        Raises:
            BadInput: A message or block that cannot be shown to a model, or that the template refuses.
            BadImage: A picture that cannot be read.
        """
        turns = self._adapt(self._turns(messages, loader), tools)
        native = [dict(t) for t in tools] if self.traits.tools and tools else None
        try:
            text = self.apply([self._entry(turn) for turn in turns], native)
        except Exception as error:  # jinja2 raises whatever a template's own code raises
            raise BadInput(f"The model's chat template refuses this conversation: {error}") from error
        return text, [part for turn in turns for part in turn.parts if isinstance(part, Picture)]

    def _turns(self, messages: Sequence[BaseMessage], loader: ImageLoader | None) -> list[Turn]:
        names = {c["id"]: c["name"] for m in messages if isinstance(m, AIMessage) for c in m.tool_calls}
        turns = []
        for message in messages:
            role = message.role if isinstance(message, ChatMessage) else _role(message)
            parts = tuple(self._parts(message.content, loader))
            if isinstance(message, ToolMessage):
                name = message.name or names.get(message.tool_call_id, "")
                turns.append(Turn(role, parts, name=name or "", call_id=message.tool_call_id))
            else:
                calls = message.tool_calls if isinstance(message, AIMessage) else []
                turns.append(
                    Turn(role, parts, tuple((c["name"], self._plain_args(c["args"])) for c in calls))
                )
        return turns

    def _parts(self, content: str | list[Any], loader: ImageLoader | None) -> list[Part]:
        parts: list[Part] = []
        for block in [content] if isinstance(content, str) else content:
            if isinstance(block, str):
                parts.append(self._plain(block))
            elif is_picture(block):
                parts.append(load_picture(block, loader))
            elif block.get("type") == "text":
                parts.append(self._plain(str(block.get("text", ""))))
            elif block.get("type") not in ("tool_call", "tool_use", "reasoning", "non_standard"):
                raise BadInput(f"A content block of type {block.get('type')!r} cannot be shown to the model.")
        return parts

    def _plain(self, text: str) -> str:
        """Takes the power from control tokens that someone spelled out in a message."""
        return self._control.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text) if self._control else text

    def _plain_args(self, args: Mapping[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self._plain(json.dumps(args, ensure_ascii=False, default=str))))

    def _adapt(self, turns: list[Turn], tools: Sequence[Mapping[str, Any]]) -> list[Turn]:
        """Puts into words what the template cannot say."""
        traits = self.traits
        if tools and not traits.tools:
            listing = "\n".join(json.dumps(t["function"], ensure_ascii=False) for t in tools)
            example = render_calls([("NAME", {"ARGUMENT": "VALUE"})], self.syntax)
            prompt = (
                files(__package__.rpartition(".agent.")[0])
                .joinpath("prompts/tool_use.txt")
                .read_text("utf-8")
            )
            turns = _prepend(
                turns, "system", prompt.replace("{tools}", listing).replace("{example}", example).strip()
            )
        if traits.syntax is None:
            turns = [
                Turn("assistant", (*t.parts, render_calls(t.calls, self.syntax))) if t.calls else t
                for t in turns
            ]
        if not traits.tool_role:
            turns = [_named(t) if t.role == "tool" else t for t in turns]
        elif not traits.tool_pictures:
            turns = [u for t in turns for u in _split_pictures(t)]
        if not traits.late_system:
            turns = turns[:1] + [replace(t, role="user") if t.role == "system" else t for t in turns[1:]]
        if not traits.system and turns and turns[0].role == "system":
            text = "".join(p for p in turns[0].parts if isinstance(p, str))
            turns = _prepend(turns[1:], "user", text)
        return turns if traits.tool_role and traits.late_system else _merge(turns)

    def _entry(self, turn: Turn) -> dict[str, Any]:
        parts = _glued(turn.parts)
        content: str | list[dict[str, Any]]
        if turn.role in self.traits.text_roles and len(parts) == 1 and isinstance(parts[0], str):
            content = parts[0]
        else:
            content = [
                {"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in parts
            ]
        entry: dict[str, Any] = {"role": turn.role, "content": content}
        if turn.calls:
            entry["tool_calls"] = [
                {"type": "function", "function": {"name": name, "arguments": dict(args)}}
                for name, args in turn.calls
            ]
        if turn.role == "tool":
            entry |= {"name": turn.name, "tool_call_id": turn.call_id}
        return entry

    def _probe(self) -> Traits:
        """Renders small conversations and looks at what comes out."""

        def shown(
            mark: str, entries: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
        ) -> bool:
            try:
                return mark in self.apply(entries, tools)
            except Exception:  # a template says no by raising whatever it likes
                return False

        def entry(role: str, text: str, style: str, **more: Any) -> dict[str, Any]:
            content = text if style == "text" else [{"type": "text", "text": text}]
            return {"role": role, "content": content, **more}

        mark, styles = "zqprobe", ("text", "list")
        style_of: dict[str, str | None] = {}

        def find(role: str, before: list[str], after: list[str], **more: Any) -> None:
            def around(roles: list[str]) -> list[dict[str, Any]]:
                return [entry(r, "hello", style_of[r] or "text") for r in roles]

            ok = [
                s
                for s in styles
                if shown(mark, [*around(before), entry(role, mark, s, **more), *around(after)])
            ]
            style_of[role] = ok[0] if ok else None

        find("user", [], [])
        find("system", [], ["user"])
        find("assistant", ["user"], ["user"])
        user, said = style_of["user"] or "list", style_of["assistant"] or "list"
        call = [{"type": "function", "function": {"name": n, "arguments": dict(a)}} for n, a in _PROBE_CALLS]
        asked = [entry("user", "hello", user), {**entry("assistant", "", said), "tool_calls": call}]
        style_of["tool"] = next(
            (s for s in styles if shown(mark, [*asked, entry("tool", mark, s, name="probe_tool")])), None
        )
        picture = {"role": "tool", "content": [{"type": "image"}], "name": "probe_tool"}
        opening = [entry("system", "hello", style_of["system"])] if style_of["system"] else []
        return Traits(
            text_roles=frozenset(role for role, style in style_of.items() if style == "text"),
            system=style_of["system"] is not None,
            late_system=shown(
                mark,
                [
                    entry("user", "hello", user),
                    entry("assistant", "hello", said),
                    entry("system", mark, style_of["system"] or "text"),
                    entry("user", "hello", user),
                ],
            ),
            tools=shown("probe_tool", [*opening, entry("user", "hello", user)], [_PROBE_TOOL]),
            tool_role=style_of["tool"] is not None,
            tool_pictures=shown(self.image_token, [*asked, picture]),
            syntax=next((s for s in [self._calls_of(asked)] if s), None),
        )

    def _calls_of(self, asked: list[dict[str, Any]]) -> ToolSyntax | None:
        try:
            return recognise(self.apply(asked, None), _PROBE_CALLS)
        except Exception:  # see _probe
            return None


def fallback_syntax(model_type: str, vocabulary: Mapping[str, int]) -> ToolSyntax:
    """Chooses a tool syntax for a model whose template drops tool calls."""
    if "<tool_call>" in vocabulary:
        return FAMILIES["hermes"]
    return FAMILIES["gemma" if model_type.startswith("gemma") else "json"]


def _role(message: BaseMessage) -> str:
    for kind, role in _ROLES:
        if isinstance(message, kind):
            return role
    raise BadInput(f"A {type(message).__name__} cannot be shown to the model.")


def _prepend(turns: list[Turn], role: str, text: str) -> list[Turn]:
    """Adds text to the first turn when it has this role, else puts a new turn before it."""
    if turns and turns[0].role == role:
        first = turns[0]
        return [replace(first, parts=(text + "\n", *first.parts)), *turns[1:]]
    return [Turn(role, (text,)), *turns]


def _split_pictures(turn: Turn) -> list[Turn]:
    """Moves the pictures of a tool result into a user message after it."""
    pictures = tuple(p for p in turn.parts if isinstance(p, Picture))
    if turn.role != "tool" or not pictures:
        return [turn]
    text = tuple(p for p in turn.parts if isinstance(p, str))
    return [Turn("tool", text, name=turn.name, call_id=turn.call_id), Turn("user", pictures)]


def _named(turn: Turn) -> Turn:
    """A tool's result as a user message that begins with the tool's name."""
    text = next(iter(turn.parts), None)
    rest = turn.parts[1:] if isinstance(text, str) else turn.parts
    return Turn("user", (f"{turn.name}: {text}" if isinstance(text, str) else f"{turn.name}:", *rest))


def _merge(turns: list[Turn]) -> list[Turn]:
    """Joins neighbours of the same role, for templates that insist on alternation."""
    merged: list[Turn] = []
    for turn in turns:
        before = merged[-1] if merged else None
        if before and before.role == turn.role != "tool" and not turn.calls and not before.calls:
            merged[-1] = replace(turn, parts=(*before.parts, *turn.parts))
        else:
            merged.append(turn)
    return merged


def _glued(parts: Sequence[Part]) -> list[Part]:
    """Joins neighbouring texts by a line break: templates write blocks without one, and some trim each."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] = f"{out[-1]}\n{part}" if out[-1] and part else out[-1] or part
        else:
            out.append(part)
    return out or [""]
