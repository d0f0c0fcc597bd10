"""What importers give: plain rows that know where they were read, and the seam every importer fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..folding import slug
from ..relations import Relation, state
from .report import Report

RANK = 1000
"""Rank of the first imported fact: after every curated one."""


@dataclass(frozen=True)
class NodeRow:
    """A node; of a node that the graph has already, only the name is taken, as a synonym.

    Attributes:
        at: `file:line`.
        label: Node label.
        row: `id`, `name` and other declared properties.
    """

    at: str
    label: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class NameRow:
    """One more name of a node; `kind` is name, synonym, lay or abbreviation."""

    at: str
    label: str
    node: str
    text: str
    kind: str = "synonym"


@dataclass(frozen=True)
class CodeRow:
    """The code of a disease in another system; one that the graph has already stays."""

    at: str
    disease: str
    system: str
    code: str


@dataclass(frozen=True)
class EdgeRow:
    """A relationship; `row` has src, dst and declared properties; a merge fills in the source."""

    at: str
    type: str
    src: str
    dst: str
    row: Mapping[str, Any]


Item = NodeRow | NameRow | CodeRow | EdgeRow


class Known(Protocol):
    """What the graph holds before and while a source is read."""

    def has(self, label: str, node: str) -> bool:
        """Whether there is such a node."""

    def name(self, label: str, node: str) -> str:
        """Returns the name of a node that there is."""

    def is_curated(self, disease: str) -> bool:
        """Whether the fact files describe this disease."""

    def states(self, edge: str, disease: str) -> bool:
        """Whether a curated fact of this relationship type starts from the disease."""

    def diseases_named(self, text: str) -> list[str]:
        """Returns the diseases with this name, those that carry it as their first name alone if there are."""


class Reader(Protocol):
    """Reads a file or folder that a person names, and yields rows in an order in which they can be merged."""

    def __call__(self, path: Path, known: Known, report: Report) -> Iterator[Item]:
        """Yields rows; sends what cannot be used to the report and goes on.

        Raises:
            BadInput: The path holds nothing that this importer reads.
        """


@dataclass(frozen=True)
class Importer:
    """One kind of source.

    Attributes:
        name: How `--source NAME=PATH` calls it.
        title: Title of the source.
        organisation: Who publishes it.
        licence: Under which terms, as its publisher states them.
        read: Reads a path.
        year: Year of the data, when it is one for all releases.
        identifier: Address of the publisher's page or a DOI.
        per_file: Whether each path is a source of its own (files that a person wrote).
    """

    name: str
    title: str
    organisation: str
    licence: str
    read: Reader
    year: int | None = None
    identifier: str = ""
    per_file: bool = False


@dataclass
class Ranks:
    """Counts facts of one disease and relation, so that they keep the order of their file."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def next(self, subject: str, relation: str) -> int:
        """Returns the rank of the next fact."""
        key = (subject, relation)
        self.counts[key] = self.counts.get(key, -1) + 1
        return RANK + self.counts[key]


def fact(
    at: str,
    relation: Relation,
    source: str,
    subject: tuple[str, str],
    target: tuple[str, str],
    *,
    object_: str = "",
    rank: int = RANK,
    section: str = "",
    mark: str = "",
    more: Mapping[str, Any] | None = None,
) -> EdgeRow:
    """Builds the relationship of an imported fact; its id depends on its content and not on its place.

    Args:
        at: `file:line`.
        relation: What is stated.
        source: Id of the source.
        subject: Id and name of the node it is about.
        target: Id and name of the node it points to.
        object_: The words of the object; default: the target's name.
        rank: Order among facts of the same kind.
        section: Where in the source.
        mark: Tells facts with the same ends apart.
        more: The relation's own properties.
    """
    words = object_ or target[1]
    parts = (source, relation.edge, subject[0], target[0], mark)
    row = {
        "src": subject[0],
        "dst": target[0],
        "fact_id": "-".join(slug(part) for part in parts if part),
        "statement": state(relation, subject[1], words),
        "predicate": relation.name,
        "object": words,
        "rank": rank,
        "section": section,
        "reviewed": False,
        "support": relation.support,
        **(more or {}),
    }
    return EdgeRow(at, relation.edge, relation.subject, relation.target, row)
