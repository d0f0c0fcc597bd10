"""Where the shipped facts and query files are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FACTS = Path(__file__).parent / "facts"
QUERY_FILES = Path(__file__).parent / "queries"


@cache
def load_query(name: str) -> str:
    """Returns the text of `queries/<name>.cypher`.

    Raises:
        FileNotFoundError: There is no such file; names are written in code, never taken from input.
    """
    return (QUERY_FILES / f"{name}.cypher").read_text(encoding="utf-8")


def all_queries() -> dict[str, str]:
    """Returns the text of every query file by name."""
    return {path.stem: load_query(path.stem) for path in sorted(QUERY_FILES.glob("*.cypher"))}
