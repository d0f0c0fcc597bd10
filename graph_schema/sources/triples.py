"""CLARIFY's own table of facts: CSV or TSV, plain or gzip, one statement a line, a header on top.

    subject,subject_name,predicate,object,other,source,source_title,source_year,section
    DOID:8502,bullous skin disease,clinical sign,tense blisters,,my-atlas-2020,My atlas,2020,Blisters
    DOID:8502,,differs from,its age of onset,DOID:8893,,,,
    DOID:8502,,synonym,blistering disease,,,,,
    DOID:8502,,is a,DOID:37,,,,,
    DOID:8502,,icd10cm,L13,,,,,

Columns: `subject`, `predicate` and `object` must be there; the others may be left out or empty.

- `subject`: id of a disease, `PREFIX:LOCAL`; one that the graph lacks needs `subject_name`.
- `predicate`: one of the words in `predicates.py` (definition, site, clinical sign, ... differs from); `is a`
  with the id of a disease as object; `synonym`, `lay` or `abbreviation` with a name; or a code system
  (icd10cm, icd11, snomedct, mesh, umls) with a code.
- `object`: a phrase that fits the predicate's template, without a full stop, brackets or bars.
- `other`: the disease that `differs from` tells it apart from.
- `source`, `source_title`, `source_year`, `section`: what the statement leans on; default: the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...errors import KGSchemaError
from ..predicates import PREDICATES
from ..schema import XREFS
from .items import CodeRow, EdgeRow, Item, Known, NameRow, NodeRow
from .lines import table
from .ontology import CURIE
from .own import OwnFacts
from .report import Report

_NAMES = ("synonym", "lay", "abbreviation")
_SOURCE_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def read_triples(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields the statements of a table (see the module and `items.Reader`)."""
    facts = OwnFacts(report.source, known)
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    for at, row in table(path, ("subject", "predicate", "object"), report, delimiter=delimiter):
        try:
            yield from _row(at, row, facts)
        except KGSchemaError as error:
            report.reject(at, str(error))


def _row(at: str, row: Mapping[str, str], facts: OwnFacts) -> Iterator[Item]:
    subject, predicate, object_ = row["subject"], row["predicate"], row["object"]
    if not CURIE.fullmatch(subject):
        raise KGSchemaError(f"{subject!r} is no id of the form PREFIX:LOCAL")
    if name := row.get("subject_name"):
        yield NodeRow(at, "Disease", {"id": subject, "name": name})
    if predicate in PREDICATES:
        cited = {"section": row.get("section", "")}
        if source := row.get("source"):
            yield from _source(at, source, row, facts.known)
            cited["source"] = source
        other = (row["other"], "") if row.get("other") else None
        yield from facts.stated(at, PREDICATES[predicate], subject, object_, target=other, cited=cited)
    elif predicate == "is a":
        yield EdgeRow(at, "IS_A", "Disease", "Disease", {"src": subject, "dst": object_})
    elif predicate in _NAMES:
        yield NameRow(at, "Disease", subject, object_, predicate)
    elif predicate in XREFS:
        yield CodeRow(at, subject, predicate, object_)
    else:
        known = ", ".join((*PREDICATES, "is a", *_NAMES, *XREFS))
        raise KGSchemaError(f"unknown predicate {predicate!r}; known: {known}")


def _source(at: str, id_: str, row: Mapping[str, str], known: Known) -> Iterator[Item]:
    if known.has("Source", id_):
        return
    year, title = row.get("source_year", ""), row.get("source_title", "")
    if not _SOURCE_ID.fullmatch(id_) or not title or not re.fullmatch(r"(\d{4})?", year):
        raise KGSchemaError(f"the new source {id_!r} needs a lower-case id, a title and a year of 4 digits")
    made = {"id": id_, "title": title, "year": int(year) if year else None, "kind": "import"}
    yield NodeRow(at, "Source", made)
