"""Rules of the portable core: query text that gives the same rows on ladybug and on Neo4j.

Each rule comes from a difference that an adapter cannot hide. `lint` is run over every file in `queries/` by
a test.
"""

from __future__ import annotations

import re

from ..errors import CypherRefused
from . import guard
from .schema import GraphSchema

_RULES: tuple[tuple[str, str], ...] = (
    (r"\(\s*\w*\s*:\s*\w+\s*:\s*\w+", "two labels on a node: `:A:B` means A or B in ladybug"),
    (r"\b(EXISTS|COUNT)\s*\{(?!\s*MATCH\b)", "write `EXISTS { MATCH … }` and `COUNT { MATCH … }`"),
    (r"\bCOLLECT\s*\{", "COLLECT { … } exists on one engine only"),
    (r"\[\s*\w+\s+IN\b[^\]]*\|", "list comprehension"),
    (r"\[\s*\(", "pattern comprehension"),
    (r"\b\w+\s*\{\s*\.", "map projection"),
    (r"\bCALL\b", "CALL"),
    (r"\bFOREACH\b", "FOREACH"),
    (r"\bREMOVE\b", "REMOVE"),
    (r"\+=", "`+=`"),
    (
        r"\b(shortestPath|allShortestPaths|labels|datetime|reduce|apoc)\b\s*[(.]",
        "a function one engine lacks or reads otherwise",
    ),
    (r"\b(any|all|none|single)\s*\([^)]*\$", "`$parameter` inside any()/all()"),
    (r"\$\w+\s+IS\s+(NOT\s+)?NULL", "`$x IS NULL`"),
    (r"\[[^\]]*\*\s*(\]|\d+\s*\.\.\s*\])", "a path without an upper bound"),
    (r"\[[^\]]*\*[^\]]*\.\.\s*(\{|\])", "a path without an upper bound"),
)
_CLAUSE = re.compile(
    r"\b(OPTIONAL\s+MATCH|MATCH|WHERE|WITH|UNWIND|RETURN|UNION|ORDER\s+BY|SKIP|LIMIT)\b", re.IGNORECASE
)
_LABELLED = re.compile(r"([(\[])\s*\w*\s*:\s*([\w|&!:\s]+)")


def lint(text: str, schema: GraphSchema) -> list[str]:
    """Returns what makes a query not portable, or wrong for the schema; an empty list when nothing does."""
    try:
        skeleton = guard.check(text).skeleton
    except CypherRefused as error:
        return [str(error)]
    problems = [what for pattern, what in _RULES if re.search(pattern, skeleton, re.IGNORECASE)]
    if not text.lstrip().startswith("//"):
        problems.append("no comment on top that says what the query finds and names its parameters")
    if "`" in text:
        problems.append("quoted names are not needed here and hide from the lint")
    problems += [f"not in the schema: {name}" for name in unknown_names(text, schema)]
    return problems + _clause_problems(skeleton)


def unknown_names(text: str, schema: GraphSchema) -> list[str]:
    """Returns labels and relationship types that the schema does not declare (quoted names aside)."""
    unknown = []
    for bracket, names in _LABELLED.findall(guard.strip(text)):
        declared = schema.nodes if bracket == "(" else schema.edges
        unknown += [n for n in re.findall(r"[^\W\d]\w*", names) if n not in declared and n != "quoted_"]
    return sorted(set(unknown))


def _clause_problems(skeleton: str) -> list[str]:
    pieces = _CLAUSE.split(skeleton)
    clauses = [
        (re.sub(r"\s+", " ", k.upper()), body) for k, body in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    problems: list[str] = []
    nodes: set[str] = set()
    whole: set[str] = set()
    for i, (keyword, body) in enumerate(clauses):
        after = [k for k, _ in clauses[i + 1 : i + 4]]
        if keyword.endswith("MATCH"):
            nodes |= set(re.findall(r"\(\s*(\w+)\s*[:){]", body))
            whole |= (
                nodes
                | set(re.findall(r"\[\s*(\w+)\s*[:*\]]", body))
                | set(re.findall(r"(\w+)\s*=\s*\(", body))
            )
            types = [
                t for group in re.findall(r"\[\s*\w*\s*:([\w|\s]+)", body) for t in re.findall(r"\w+", group)
            ]
            following = clauses[i + 1][1] if i + 1 < len(clauses) and clauses[i + 1][0] == "WHERE" else ""
            if len(types) != len(set(types)) and "<>" not in following:
                problems.append("one relationship type twice in a MATCH: exclude the start with `<>`")
        if keyword == "WITH" and "ORDER BY" in after[:2] and "LIMIT" not in after:
            problems.append("WITH … ORDER BY without LIMIT")
        if keyword == "RETURN":
            items = _items(re.sub(r"^\s*DISTINCT\b", "", body, flags=re.IGNORECASE))
            if any(re.split(r"\s+AS\s+", item.strip(), flags=re.IGNORECASE)[0] in whole for item in items):
                problems.append("a whole node, relationship or path is returned; return scalars or maps")
            if "*" in [item.strip() for item in items]:
                problems.append("RETURN *")
            aliases = {
                a for item in items for a in re.findall(r"\bAS\s+(\w+)\s*$", item, flags=re.IGNORECASE)
            }
            if "ORDER BY" in after[:1] and aliases & nodes:
                problems.append("an alias is named like a node variable")
    return problems


def _items(body: str) -> list[str]:
    items, depth, start = [], 0, 0
    for i, char in enumerate(body):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            items.append(body[start:i])
            start = i + 1
    return [*items, body[start:]]
