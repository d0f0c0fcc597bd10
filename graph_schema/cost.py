"""Shapes of a read whose time or memory no engine bounds.

Engines look at the clock and count memory between rows. Planning, and the inside of one expression, are not
watched: nested list expressions, long generated lists, chains of NOT, deep CASE or EXISTS each kept one of
the two engines busy for minutes, so they are refused before an engine sees them. What is left is bounded by
the stores' deadlines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import CypherRefused

MAX_DEPTH = 50
MAX_RANGE = 100_000
MAX_COMPUTED_RANGE = 1000
MAX_ITERATIONS = 2
MAX_SUBQUERIES = 4
MAX_CASES = 10
MAX_NOTS = 4
MAX_PATTERN_REPEATS = 3
_CLOSING = {")": "(", "]": "[", "}": "{"}
_GENERATORS = frozenset({"RANGE", "LPAD", "RPAD", "REPEAT"})
_ITERATORS = frozenset("ANY ALL NONE SINGLE REDUCE LIST_TRANSFORM LIST_FILTER LIST_REDUCE".split())
_SUBQUERIES = frozenset({"EXISTS", "COUNT", "COLLECT"})
_RELATIONSHIP = re.compile(r"-\s*\[[^\]]*\]\s*-")
_PRODUCT = re.compile(r"\^|[\w)\]]\s*\*\s*[\w($]")
_MAKERS = frozenset("TOINTEGER TOFLOAT CAST POW POWER EXP FACTORIAL HASH TIMESTAMP".split())
_NOTS = re.compile(rf"(?:\bNOT\b[\s(]*){{{MAX_NOTS + 1},}}", re.IGNORECASE)
_REPEAT = re.compile(r"[*+?{]")
_REPEATED_GROUP = re.compile(r"\)\s*[*+{]")
_BACK_OR_COMMENT = re.compile(r"\\\\[1-9k]|\(\?\w*x")


def check_cost(tokens: Sequence[str], skeleton: str) -> None:
    """Checks a statement's shape.

    Args:
        tokens: Of the skeleton.
        skeleton: The text without literals, quoted names and comments.

    Raises:
        CypherRefused: With the reason.
    """
    _check_nesting(tokens)
    if _NOTS.search(skeleton):
        raise CypherRefused(f"more than {MAX_NOTS} NOT in a row")
    _check_generators(tokens, skeleton)


def check_pattern(pattern: str) -> None:
    """Checks a regular expression: Java's engine backtracks, for hours when repeats are nested.

    Raises:
        CypherRefused: A repeated group, a reference back, or too many repeats.
    """
    plain = re.sub(r"\\\\.", "", pattern)
    if _REPEATED_GROUP.search(plain) or _BACK_OR_COMMENT.search(pattern):
        raise CypherRefused("a pattern after `=~` may not repeat a group or refer back to one")
    if len(_REPEAT.findall(plain.replace("(?", "("))) > MAX_PATTERN_REPEATS:
        raise CypherRefused(f"a pattern after `=~` may hold {MAX_PATTERN_REPEATS} repeats at most")


def _check_nesting(tokens: Sequence[str]) -> None:
    opened: list[tuple[str, str]] = []  # (bracket, what it holds: "iteration", "subquery" or nothing)
    cases = 0
    generates = any(_generates(tokens, i) for i in range(len(tokens)))
    for i, token in enumerate(tokens):
        if token in ("(", "[", "{"):
            opened.append((token, _held(tokens, i)))
        elif token in _CLOSING and (not opened or opened.pop()[0] != _CLOSING[token]):
            raise CypherRefused("brackets do not match")
        word = token.upper()
        named = i > 0 and tokens[i - 1] in (".", ":", "$")
        cases += (word == "CASE" and not named) - (word == "END" and not named)
        held = [what for _, what in opened]
        iterations = 1 if generates else MAX_ITERATIONS
        for much, most, what in (
            (len(opened), MAX_DEPTH, "brackets"),
            (cases, MAX_CASES, "CASE"),
            (held.count("iteration"), iterations, "list expressions"),
            (held.count("subquery"), MAX_SUBQUERIES, "subqueries"),
        ):
            if much > most:
                raise CypherRefused(f"{what} nested deeper than {most}")
    if opened:
        raise CypherRefused("brackets do not match")


def _held(tokens: Sequence[str], i: int) -> str:
    before = tokens[i - 1].upper() if i else ""
    if tokens[i] == "{":
        return "subquery" if before in _SUBQUERIES else ""
    comprehension = tokens[i] == "[" and [t.upper() for t in tokens[i + 2 : i + 3]] == ["IN"]
    called = tokens[i] == "(" and before in _ITERATORS
    return "iteration" if comprehension or called else ""


def _generates(tokens: Sequence[str], i: int) -> bool:
    return tokens[i].upper() in _GENERATORS and tokens[i + 1 : i + 2] == ["("]


def _check_generators(tokens: Sequence[str], skeleton: str) -> None:
    starts = [i for i in range(len(tokens)) if _generates(tokens, i)]
    if not starts:
        return
    numbers = [t for t in tokens if t[0].isdigit()]
    computed = _PRODUCT.search(_RELATIONSHIP.sub("", skeleton)) or _MAKERS & {t.upper() for t in tokens}
    if computed or any(not n.isdigit() or int(n) > MAX_RANGE for n in numbers):
        raise CypherRefused(f"range, lpad, rpad and repeat only with whole numbers up to {MAX_RANGE}")
    # A list made of variables is made anew for each row, and a batch of rows holds thousands of them.
    fixed = all(_is_fixed(tokens, i + 1) for i in starts)
    if not (fixed and len(starts) == 1) and any(int(n) > MAX_COMPUTED_RANGE for n in numbers):
        raise CypherRefused(f"several or computed ranges only with numbers up to {MAX_COMPUTED_RANGE}")


def _is_fixed(tokens: Sequence[str], start: int) -> bool:
    depth = 0
    for token in tokens[start:]:
        depth += (token == "(") - (token == ")")
        if depth == 0:
            return True
        if token.isidentifier() or token == "$":
            return False
    return True
