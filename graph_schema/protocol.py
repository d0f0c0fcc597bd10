"""The seam between CLARIFY and a Cypher engine, and the typed rows that come back through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field


@runtime_checkable
class KnowledgeGraph(Protocol):
    """A graph store; the same query text runs on every implementation (`stores/`)."""

    def query(self, cypher: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Runs one read statement and returns plain property dicts."""

    def query_free(self, cypher: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Runs one read statement that an operator or a model wrote: `query`, under harder limits."""

    def upsert_nodes(self, label: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes nodes; each row has `id` and declared properties only."""

    def upsert_edges(self, type: str, src: str, dst: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes relationships of `type` from label `src` to label `dst`; rows: `src`, `dst`, properties."""

    def search(self, text: str, k: int = 10) -> list[dict[str, Any]]:
        """Full-text search over names: dicts with id, name, label, matched, score."""

    def near_wordings(self, groups: Sequence[Sequence[str]], label: str) -> list[dict[str, Any]]:
        """Returns the signs or sites that some fact words with a word of each group, misspellings forgiven.

        Args:
            groups: Folded words; those of a group mean one thing.
            label: `Sign` or `Site`.

        Returns:
            Dicts with id, name and words, one for each such wording.
        """
        ...

    def near_names(self, text: str) -> list[dict[str, Any]]:
        """Every name with a word like one of the text's: dicts with id, name, label, matched, kind, term."""

    @property
    def schema(self) -> str:
        """The schema as text for a prompt."""

    def close(self) -> None:
        """Releases the engine."""


class SourceRef(BaseModel):
    """Where a fact comes from."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    year: int | None = None
    organisation: str = ""
    section: str = ""


class FactRow(BaseModel):
    """One retrieved fact: design section 8, `clarify kg query`."""

    model_config = ConfigDict(frozen=True)

    fact_id: str
    statement: str
    source: SourceRef
    subject: str
    predicate: str
    object: str
    subject_curie: str = ""
    object_curie: str = ""
    reviewed: bool = False
    support: str = "recalled"
    query: str = ""
    cypher: str = ""
    parameters: dict[str, Any] = {}


class JoinedRow(FactRow):
    """A row that several facts together give; `fact_id` and `source` are those of the first.

    Attributes:
        fact_ids: Every fact the statement rests on.
        sources: Their sources, each once.
    """

    fact_ids: tuple[str, ...]
    sources: tuple[SourceRef, ...]


class ConditionRow(JoinedRow):
    """A disease that fits signs at a site.

    Attributes:
        score: 0..1, the share of what was asked that fits; a sign that few diseases have counts more.
        matched: What was asked and fits -> the facts that say so.
        missing: What was asked and no fact of the disease says.
        unknown: What was asked and no fact of the graph says.
        further: Fact id -> sign of the disease that was not asked for.
        facts: The single facts of `fact_ids`; not part of the JSON.
    """

    score: float
    matched: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    further: dict[str, str]
    facts: tuple[FactRow, ...] = Field(exclude=True)


class Link(BaseModel):
    """A node that a piece of text may mean: design section 8, `clarify kg link`."""

    model_config = ConfigDict(frozen=True)

    curie: str
    name: str
    matched: str
    score: float
    how: str
    label: str = "Disease"
