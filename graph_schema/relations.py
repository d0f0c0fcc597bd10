"""The relations that only imports state: how each is stored and how it is said.

They are kept apart from `predicates.py`, which is the closed list of what a curated fact can state: the named
queries, the generalist and `verify` know that list and not this one.
"""

from __future__ import annotations

from dataclasses import dataclass

IMPORTED = "imported"
CO_OCCURRENCE = "co-occurrence"


@dataclass(frozen=True)
class Relation:
    """One relation that a source outside the fact files can state.

    Attributes:
        name: The words in `FactRow.predicate`.
        edge: Relationship type in the graph.
        subject: Label of the node it starts from.
        target: Label of the node it points to.
        template: The statement, with `{subject}` and `{object}`; it says how far the source can be trusted.
        support: `imported`, or `co-occurrence` where nobody has claimed the relation.
        more: Properties beside those of every fact, and their types.
    """

    name: str
    edge: str
    subject: str
    target: str
    template: str
    support: str
    more: tuple[tuple[str, str], ...] = ()


# fmt: off
_TOGETHER = "Papers in MEDLINE mention {{subject}} and {kind} {{object}} together more often than by chance; this is co-occurrence, not a clinical fact."  # noqa: E501
_LISTED = "PharmacotherapyDB, a catalogue of 2016, lists {{object}} as a drug that {does} {{subject}}; it is not current advice."  # noqa: E501
_COUNTED = (("marked", "INT64"), ("pictures", "INT64"), ("share", "DOUBLE"))

_TABLE = (
    ("symptom", "HAS_SYMPTOM", "Disease", "Symptom", "The Human Disease Ontology lists {object} as a symptom of {subject}.", IMPORTED),  # noqa: E501
    ("mentioned with symptom", "COOCCURS_WITH_SYMPTOM", "Disease", "Symptom", _TOGETHER.format(kind="the symptom"), CO_OCCURRENCE),  # noqa: E501
    ("mentioned with site", "COOCCURS_WITH_SITE", "Disease", "Site", _TOGETHER.format(kind="the body part"), CO_OCCURRENCE),  # noqa: E501
    ("mentioned with disease", "COOCCURS_WITH_DISEASE", "Disease", "Disease", _TOGETHER.format(kind="the disease"), CO_OCCURRENCE),  # noqa: E501
    ("drug listed in 2016", "LISTED_AS_TREATED_BY", "Disease", "Drug", _LISTED.format(does="treats"), IMPORTED),  # noqa: E501
    ("palliative drug listed in 2016", "LISTED_AS_PALLIATED_BY", "Disease", "Drug", _LISTED.format(does="palliates"), IMPORTED),  # noqa: E501
    ("drug of the class", "INCLUDES", "DrugClass", "Drug", "DrugCentral, as of 2016, counts {object} among the {subject}.", IMPORTED),  # noqa: E501
    ("shows concept", "SHOWS_CONCEPT", "Disease", "VisualConcept", "In SkinCon, dermatologists marked {object} labelled {subject}.", IMPORTED, _COUNTED),  # noqa: E501
)
# fmt: on

RELATIONS: dict[str, Relation] = {row[0]: Relation(*row) for row in _TABLE}
IMPORTED_LABELS = ("Symptom", "Phenotype", "Drug", "DrugClass", "VisualConcept")
"""Labels that only imports fill; their names are searchable."""
HIERARCHIES = ("Disease", "Symptom", "Phenotype", "Site")
"""Labels whose nodes can be one kind of another."""


def state(relation: Relation, subject: str, object_: str) -> str:
    """Renders an imported fact as a plain English statement, capitalised."""
    text = relation.template.format(subject=subject, object=object_)
    return text[0].upper() + text[1:]
