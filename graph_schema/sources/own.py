"""What the two formats for one's own facts share: how a statement becomes rows like those of a fact file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ...errors import KGSchemaError
from ..build import target_id
from ..folding import slug
from ..loading import KIND_OF
from ..predicates import PREDICATES, Predicate, state
from ..relations import IMPORTED
from .items import EdgeRow, Item, Known, NodeRow, Ranks


@dataclass
class OwnFacts:
    """Turns statements of one file into rows.

    Attributes:
        source: Id of the file as a source.
        known: The graph so far.
        ranks: Keeps the order of the file.
    """

    source: str
    known: Known
    ranks: Ranks = field(default_factory=Ranks)

    def stated(
        self,
        at: str,
        predicate: Predicate,
        subject: str,
        words: str,
        *,
        target: tuple[str, str] | None = None,
        cited: Mapping[str, str] | None = None,
    ) -> Iterator[Item]:
        """Yields the target's node and the fact.

        Args:
            at: `file:line`.
            predicate: One of the closed list.
            subject: Id of the disease.
            words: The object, a phrase.
            target: Id and name of the node it points to; default: one named like the words.
            cited: `source` and `section` of this row where they are not those of the file.

        Raises:
            KGSchemaError: The disease or the other disease is unknown, or the words are missing.
        """
        if not self.known.has("Disease", subject):
            raise KGSchemaError(f"unknown Disease {subject}; give its subject_name")
        if not words:
            raise KGSchemaError("the object is empty")
        differs = predicate.target == "Disease"
        if differs and (target is None or not self.known.has("Disease", target[0])):
            raise KGSchemaError(f"'differs from' needs another disease, not {target and target[0]}")
        id_, name = target or (target_id(predicate.target, words), words)
        if not differs and not self.known.has(predicate.target, id_):
            yield NodeRow(at, predicate.target, {"id": id_, "name": name})
        other = self.known.name("Disease", id_) if differs else ""
        digest = hashlib.sha256(f"{id_}\n{words}".encode()).hexdigest()[:8]
        row = {
            "src": subject,
            "dst": id_,
            "fact_id": "-".join((self.source, KIND_OF[predicate.name], slug(subject), digest)),
            "statement": state(predicate.name, self.known.name("Disease", subject), words, other),
            "predicate": predicate.name,
            "object": words,
            "rank": self.ranks.next(subject, predicate.name),
            "section": "",
            "reviewed": False,
            "support": IMPORTED,
            **(cited or {}),
        }
        yield EdgeRow(at, predicate.edge, "Disease", predicate.target, row)


def predicate_of(edge: str) -> Predicate | None:
    """Returns the predicate that a relationship type stores, or None for a type that no person writes."""
    return next((p for p in PREDICATES.values() if p.edge == edge), None)
