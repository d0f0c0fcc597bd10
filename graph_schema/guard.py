"""Lets one plain read statement through and nothing else.

Even a read-only embedded database runs `COPY … TO`, `LOAD FROM`, `INSTALL` and several statements per call,
so text is checked before an engine sees it. Literals, quoted names and comments are taken out first; what is
left must be ASCII (or letters that no engine could read as ASCII), start with a reading clause and hold no
other clause word. What a read may cost is checked in `cost`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import CypherRefused
from .cost import check_cost, check_pattern
from .protocol import KnowledgeGraph

MAX_LENGTH = 4000
FREE_ROWS = 1000
_STARTS = frozenset({"MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN"})
_REFUSED = frozenset(
    """ALTER ANALYZE ATTACH BEGIN CALL CHECKPOINT COMMENT COMMIT COPY CREATE CYPHER DEALLOCATE DELETE DENY
    DETACH DROP DRYRUN ENABLE EXECUTE EXPLAIN EXPORT EXTENSION FINISH FORCE FOREACH GRANT IMPORT INSERT
    INSTALL LOAD MACRO MERGE NODETACH PREPARE PROFILE PROJECT REMOVE RENAME REVOKE ROLLBACK SET SHOW
    START STOP TERMINATE TRANSACTION TRANSACTIONS UNINSTALL UPDATE USE USING""".split()
)
_NAMESPACES = frozenset("date datetime time localtime localdatetime duration point vector.similarity".split())
_QUOTED = re.compile(
    r"""(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<name>`(?:``|[^`])*`)|(?P<comment>//[^\n\r]*|/\*.*?\*/)""",
    re.DOTALL,
)
_TOKEN = re.compile(r"[^\W\d]\w*|\d\w*(?:\.\d\w*)?|\.\.|\S")
_MATCHES = re.compile(r"=~\s*(''|\$\s*\w+)(?!\s*(?:\+|\|\||\[|\.))")
_PARAMETER = re.compile(r"\$\s*(\w+)")
_ESCAPE = re.compile(r"\\+u+([0-9a-fA-F]{4})|\\+U([0-9a-fA-F]{8})")
# Placeholders that keep token boundaries: a string must not fuse two words, a quoted name must not look like
# a clause.
_BLANK = {"string": " '' ", "name": " quoted_ ", "comment": " "}


@dataclass(frozen=True)
class Checked:
    """A statement that passed.

    Attributes:
        skeleton: The text without literals, quoted names and comments.
        parameters: Names of the `$parameters` it needs.
    """

    skeleton: str
    parameters: frozenset[str]


@lru_cache(maxsize=256)  # The same few statements come again and again; what is refused is not kept.
def check(text: str, *, calls: frozenset[str] = frozenset()) -> Checked:
    """Checks one statement.

    Args:
        text: Cypher.
        calls: Lower-case procedure names that may be called.

    Raises:
        CypherRefused: With the reason.
    """
    if not text.strip():
        raise CypherRefused("empty statement")
    if len(text) > MAX_LENGTH:
        raise CypherRefused(f"longer than {MAX_LENGTH} characters")
    skeleton = strip(text)
    parameters = frozenset(_PARAMETER.findall(_without_quoted(text, keep_names=True)))
    tokens = _TOKEN.findall(skeleton)
    if ";" in tokens:
        raise CypherRefused("one statement only: `;` is not accepted")
    if not tokens or tokens[0].upper() not in _STARTS | ({"CALL"} if calls else set()):
        raise CypherRefused("a read must start with MATCH, OPTIONAL MATCH, UNWIND, WITH or RETURN")
    _check_words(tokens, calls)
    _check_functions(tokens)
    check_cost(tokens, skeleton)
    _check_patterns(text, skeleton)
    return Checked(skeleton, parameters)


def strip(text: str) -> str:
    """Returns the text with literals, quoted names and comments replaced by placeholders, in NFKC form.

    Raises:
        CypherRefused: Unclosed quotes or comments, escapes or look-alikes that could hide any of these.
    """
    # A bare carriage return ends a line comment for some readers and not for others.
    if any(ord(c) < 32 and c not in "\t\n" or ord(c) == 127 for c in text.replace("\r\n", "\n")):
        raise CypherRefused("control characters are not accepted")
    for match in _ESCAPE.finditer(text):  # Neo4j may decode these before it looks for quotes.
        if int(match.group(1) or match.group(2), 16) < 128:
            raise CypherRefused("Unicode escapes of ASCII characters are not accepted")
    skeleton = _without_quoted(text)
    for char in skeleton:
        if ord(char) > 127 and not _harmless(char):
            raise CypherRefused(f"{char!r} (U+{ord(char):04X}) outside a string looks like something else")
    skeleton = unicodedata.normalize("NFKC", skeleton)
    rest = skeleton.replace("''", "")
    if any(mark in rest for mark in ("'", '"', "`", "/*", "*/", "\\")):
        raise CypherRefused("unclosed string, quoted name or comment")
    return skeleton


def _without_quoted(text: str, *, keep_names: bool = False) -> str:
    def blank(match: re.Match[str]) -> str:
        kind = match.lastgroup or "comment"
        return f" {match.group()[1:-1]} " if keep_names and kind == "name" else _BLANK[kind]

    return _QUOTED.sub(blank, text)


def _harmless(char: str) -> bool:
    # A letter that stays itself in NFKC and under every case mapping; dotless i and long s would become
    # ASCII.
    forms = (unicodedata.normalize("NFKC", char), char.upper(), char.lower(), char.casefold())
    return char.isalpha() and forms[0] == char and not any(ord(c) < 128 for form in forms for c in form)


def _is_name(tokens: list[str], i: int) -> bool:
    """Whether token `i` can only be a name: after `AS`, `:`, `$` or a property's dot, or a map key."""
    before = tokens[i - 1] if i else ""
    if before == ".":
        owner = tokens[i - 2] if i > 1 else ""
        return owner in (")", "]") or owner[:1].isalpha() or owner[:1] == "_"
    is_key = before in ("{", ",") and tokens[i + 1 : i + 2] == [":"]
    return is_key or before in (":", "$") or before.upper() == "AS"


def _check_words(tokens: list[str], calls: frozenset[str]) -> None:
    for i, token in enumerate(tokens):
        word = token.upper()
        if word not in _REFUSED or _is_name(tokens, i):
            continue
        if word == "CALL" and (procedure := _dotted(tokens, i + 1)) in calls:
            continue
        what = f"CALL {procedure}".strip() if word == "CALL" else word
        raise CypherRefused(f"{what} is not a reading clause", hint="Put a name in backticks if it is one.")


def _dotted(tokens: list[str], i: int) -> str:
    parts = []
    while i < len(tokens) and (tokens[i] == "." or tokens[i].isidentifier()):
        parts.append(tokens[i])
        if i + 1 >= len(tokens) or (tokens[i] != "." and tokens[i + 1] != "."):
            break
        i += 1
    return "".join(parts).lower()


def _check_functions(tokens: list[str]) -> None:
    for i, token in enumerate(tokens[:-1]):
        if tokens[i + 1] != "(" or not token.isidentifier() or i < 2 or tokens[i - 1] != ".":
            continue
        start = i
        while start > 1 and tokens[start - 1] == ".":
            start -= 2
        in_call = start > 0 and tokens[start - 1].upper() == "CALL"
        namespace = "".join(tokens[start : i - 1]).lower()
        if not in_call and namespace not in _NAMESPACES:
            raise CypherRefused(f"function {namespace}.{token} is not accepted")


def _check_patterns(text: str, skeleton: str) -> None:
    if skeleton.count("=~") != len(_MATCHES.findall(skeleton)):
        raise CypherRefused("after `=~` stands one string or one parameter")
    for match in _QUOTED.finditer(text):
        if match.lastgroup == "string" and _without_quoted(text[: match.start()]).rstrip().endswith("=~"):
            check_pattern(match.group()[1:-1])


def run_free(kg: KnowledgeGraph, text: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Runs one free read statement, with a row limit put on it when it names none.

    Raises:
        CypherRefused: The guard or the engine's own EXPLAIN says it is not a read.
        KGError: As `KnowledgeGraph.query`.
    """
    checked = check(text, calls=getattr(kg, "calls", frozenset()))
    words = [t.upper() for t in _TOKEN.findall(checked.skeleton)]
    last_return = len(words) - words[::-1].index("RETURN") if "RETURN" in words else None
    if last_return is not None and "LIMIT" not in words[last_return:]:
        text = f"{text}\nLIMIT {FREE_ROWS}"
    return kg.query_free(text, params)
