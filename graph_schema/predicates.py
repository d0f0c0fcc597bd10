"""The closed list of relations a fact can state: how each is stored and how it is said.

Queries, the rows the generalist reads, `verify` and the training dialogues all use this one table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Predicate:
    """One relation between a disease and something.

    Attributes:
        name: The words in `FactRow.predicate`; "differs from" is followed by the other disease's name.
        edge: Relationship type in the graph.
        target: Label of the node it points to.
        template: The statement, with `{subject}`, `{object}` and, for differentials, `{other}`.
        query: The named query that returns it first.
    """

    name: str
    edge: str
    target: str
    template: str
    query: str


# fmt: off
_TABLE = (
    ("definition", "DEFINED_AS", "Definition", "{subject} is {object}.", "describe"),
    ("site", "AFFECTS", "Site", "{subject} is typically found on {object}.", "describe"),
    ("clinical sign", "HAS_SIGN", "Sign", "A clinical sign of {subject} is {object}.", "signs"),
    ("dermoscopic sign", "HAS_DERMOSCOPIC_SIGN", "Sign", "Under dermoscopy, {subject} may show {object}.", "signs"),  # noqa: E501
    ("risk factor", "HAS_RISK_FACTOR", "RiskFactor", "A risk factor for {subject} is {object}.", "causes"),
    ("cause", "CAUSED_BY", "Cause", "{subject} is caused by {object}.", "causes"),
    ("test", "TESTED_BY", "Test", "{subject} is confirmed or examined by {object}.", "tests"),
    ("first-line treatment", "FIRST_TREATED_BY", "Treatment", "{subject} is first treated with {object}.", "treatment"),  # noqa: E501
    ("further treatment", "FURTHER_TREATED_BY", "Treatment", "A further treatment of {subject} is {object}.", "treatment"),  # noqa: E501
    ("avoid", "AVOIDS", "Treatment", "{subject} should not be treated with {object}.", "treatment"),
    ("complication", "HAS_COMPLICATION", "Complication", "A complication of {subject} is {object}.", "prognosis"),  # noqa: E501
    ("prognosis", "HAS_PROGNOSIS", "Outcome", "The outlook of {subject}: {object}.", "prognosis"),
    ("red flag", "HAS_RED_FLAG", "RedFlag", "A warning sign in {subject} is {object}.", "urgency"),
    ("differs from", "DIFFERS_FROM", "Disease", "{subject} differs from {other} by {object}.", "differential"),  # noqa: E501
)
# fmt: on

PREDICATES: dict[str, Predicate] = {row[0]: Predicate(*row) for row in _TABLE}

QUERIES: dict[str, tuple[str, ...]] = {
    "describe": ("definition", "site", "clinical sign"),
    "signs": ("clinical sign", "dermoscopic sign"),
    "treatment": ("first-line treatment", "further treatment", "avoid"),
    "causes": ("cause", "risk factor"),
    "tests": ("test",),
    "prognosis": ("prognosis", "complication"),
    "differential": ("differs from",),
    "urgency": ("red flag",),
}
"""Named queries (intents) and the predicates each returns, most important first."""


def state(predicate: str, subject: str, object_: str, other: str = "") -> str:
    """Renders a fact as a plain English statement, capitalised.

    Raises:
        KeyError: The predicate is not in the table.
    """
    text = PREDICATES[predicate].template.format(subject=subject, object=object_, other=other)
    return text[0].upper() + text[1:]
