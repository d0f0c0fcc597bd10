"""How model families write tool calls: one table, one renderer, one parser that never raises."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn


@dataclass(frozen=True)
class ToolSyntax:
    """How one family writes a call.

    Attributes:
        name: Name of the family.
        begin: Literal that opens a call; for `bare` families it is the start of the JSON itself.
        end: Literal that closes it, possibly empty.
        lead: Literal between `begin` and the JSON.
        tail: Literal between the JSON and `end`.
        join: Literal between two calls.
        separators: Item and key separators of the JSON, as in `json.dumps`.
        opening: What the parser takes for an opening.
        closing: What the parser skips after a call.
        bare: The JSON starts at the opening, not after it.
        strict: An opening without a readable call is an invalid call; otherwise it is prose.
        padded: Strings may start with a space, so that a word has the same tokens as in a sentence; it is
            taken off.
        partial: What may yet become an opening, at the end of a text; by default a start of `begin`.
    """

    name: str
    begin: str
    end: str
    opening: re.Pattern[str]
    closing: re.Pattern[str]
    lead: str = ""
    tail: str = ""
    join: str = ""
    separators: tuple[str, str] = (", ", ": ")
    bare: bool = False
    strict: bool = True
    padded: bool = False
    partial: re.Pattern[str] | None = None


_TAG = {
    "begin": "<tool_call>",
    "end": "</tool_call>",
    "opening": re.compile(r"<tool_call>\s*"),
    "closing": re.compile(r"\s*</tool_call>|\s*\Z|"),
}
_FENCE = re.compile(r"\s*```|\s*\Z|")

FAMILIES: dict[str, ToolSyntax] = {
    family.name: family
    for family in (
        ToolSyntax("compact", **_TAG, separators=(",", ":"), padded=True),  # type: ignore[arg-type]
        ToolSyntax("hermes", **_TAG, lead="\n", tail="\n", join="\n"),  # type: ignore[arg-type]
        ToolSyntax("inline", **_TAG),  # type: ignore[arg-type]
        ToolSyntax(
            "gemma", "```tool_code", "```", re.compile(r"```(?:tool_code|json)\s*"), _FENCE,
            lead="\n", tail="\n", join="\n", strict=False,
            partial=re.compile(r"`{1,3}(?:t?o?o?l?_?c?o?d?e?|j?s?o?n?)\s*\Z"),
        ),
        ToolSyntax(
            "json", '{"name"', "", re.compile(r'(?:```(?:json)?\s*)?(?=\[?\s*\{\s*"name")'), _FENCE,
            join="\n", bare=True, strict=False,
            partial=re.compile(r'(?:`{1,3}j?s?o?n?\s*)?(?:\[\s*)?(?:\{\s*"?n?a?m?e?)?\Z'),
        ),
    )
}  # fmt: skip
"""Most specific first: the order in which a chat template's own rendering is recognised."""


@dataclass(frozen=True)
class ParsedCall:
    """A readable call."""

    name: str
    args: dict[str, Any]


@dataclass(frozen=True)
class BrokenCall:
    """A call that was opened and cannot be read."""

    raw: str
    error: str
    name: str | None = None


@dataclass
class Parsed:
    """A model's text taken apart; `content` is what stands outside calls, stripped."""

    content: str = ""
    calls: list[ParsedCall] = field(default_factory=list)
    broken: list[BrokenCall] = field(default_factory=list)


def render_call(name: str, args: Mapping[str, Any], syntax: ToolSyntax) -> str:
    """Writes one call in a family's syntax."""
    body = json.dumps({"name": name, "arguments": args}, ensure_ascii=False, separators=syntax.separators)
    begin = "" if syntax.bare else syntax.begin
    return f"{begin}{syntax.lead}{body}{syntax.tail}{syntax.end}"


def render_calls(calls: Iterable[tuple[str, Mapping[str, Any]]], syntax: ToolSyntax) -> str:
    """Writes several calls of one turn."""
    return syntax.join.join(render_call(name, args, syntax) for name, args in calls)


def recognise(rendered: str, calls: list[tuple[str, Mapping[str, Any]]]) -> ToolSyntax | None:
    """Finds the family whose rendering of these calls stands in a chat template's output."""
    for syntax in FAMILIES.values():
        if render_call(*calls[0], syntax) in rendered:
            return syntax
    return None


def prose_length(text: str, syntax: ToolSyntax) -> int:
    """How many leading characters are certainly prose, whatever is generated next."""
    found = syntax.opening.search(text)
    if found:
        return found.start()
    if syntax.partial and (tail := syntax.partial.search(text)):
        return tail.start()
    return len(text) - partial_suffix(text, (syntax.begin,))


def partial_suffix(text: str, literals: Iterable[str]) -> int:
    """Length of the longest end of `text` that is a proper start of one of the literals."""
    return max((n for lit in literals for n in range(1, len(lit)) if text.endswith(lit[:n])), default=0)


def parse(text: str, syntax: ToolSyntax) -> Parsed:
    """Takes calls out of a model's text.

    A string inside the JSON may contain the closing marker; keys `parameters` and `args` are read as
    `arguments`; a list of calls in one block is several calls; the Gemma family may also call in Python
    syntax.

    Returns:
        Content, calls and broken calls, in order. Never raises.
    """
    out, prose, position = Parsed(), [], 0
    while found := syntax.opening.search(text, position):
        items, stop, error = _read(text, found.end(), syntax)
        if error and not syntax.strict:
            stop = max(found.end(), found.start() + 1)  # an empty match would be found again
            prose.append(text[position:stop])
            position = stop
            continue
        prose.append(text[position : found.start()])
        out.calls += [item for item in items if isinstance(item, ParsedCall)]
        out.broken += [item for item in items if isinstance(item, BrokenCall)]
        closing = syntax.closing.match(text, stop)
        position = closing.end() if closing else stop
    out.content = ("".join(prose) + text[position:]).strip()
    return out


def _read(text: str, start: int, syntax: ToolSyntax) -> tuple[list[ParsedCall | BrokenCall], int, str]:
    """Reads the call or list of calls at `start`; returns items, where they end, and why nothing was read."""
    try:
        value, stop = _DECODER.raw_decode(text, start)
        value = _unpad(value) if syntax.padded else value
        items = [_call(item) for item in (value if isinstance(value, list) else [value])]
        if not items:
            raise ValueError("an empty list of calls")
        return list(items), stop, ""
    except (ValueError, RecursionError) as error:
        reason = str(error)
    stop = text.find(syntax.end, start) if syntax.end else -1
    stop = len(text) if stop < 0 else stop
    raw = text[start:stop]
    if syntax.name == "gemma":
        try:
            return list(_python_calls(raw)), stop, ""
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            reason = str(error)
    return [BrokenCall(raw.strip(), reason)], stop, reason


def _unpad(value: Any) -> Any:
    if isinstance(value, str):
        return value.removeprefix(" ")
    if isinstance(value, list):
        return [_unpad(item) for item in value]
    return {k: _unpad(v) for k, v in value.items()} if isinstance(value, dict) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _call(value: Any) -> ParsedCall:
    """Reads `{"name": ..., "arguments": {...}}` and its spellings.

    Raises:
        ValueError: It is not a call.
    """
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        raise ValueError("a call needs a name")
    args: Any = next((value[key] for key in ("arguments", "parameters", "args") if key in value), {})
    if isinstance(args, str):
        args = _DECODER.decode(args)
    if not isinstance(args, dict):
        raise ValueError("arguments are not an object")
    json.dumps(args, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored: a ValueError
    return ParsedCall(value["name"], args)


def _python_calls(source: str) -> list[ParsedCall]:
    """Reads `name(key=literal)` or a list of such calls, without running anything.

    Raises:
        ValueError: Something else stands there.
        SyntaxError: It is not Python.
    """
    body = ast.parse(source.strip(), mode="eval").body
    nodes = body.elts if isinstance(body, ast.List) else [body]
    if not nodes:
        raise ValueError("an empty list of calls")
    calls = []
    for node in nodes:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            and node.args
        ):
            node = node.args[0]
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
            raise ValueError("not a call with named arguments")
        args = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
        calls.append(ParsedCall(node.func.id, json.loads(json.dumps(args, allow_nan=False))))
    return calls
