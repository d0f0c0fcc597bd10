"""Mondo exact matches (SSSOM tables): codes of diseases in ICD-11, SNOMED CT, MeSH and UMLS.

A path is a folder with `mondo_exactmatch_doid.sssom.tsv` and the tables of other systems, each plain or .gz.
A code is taken where Mondo gives exactly one of its system for a disease that the graph has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadInput
from .items import CodeRow, Item, Known
from .lines import find, table
from .ontology import CURIE
from .report import Report

_TABLES = {
    "icd11.foundation": ("icd11", "icd11.foundation"),
    "sctid": ("snomedct", "SCTID"),
    "mesh": ("mesh", "mesh"),
    "umls": ("umls", "UMLS"),
    "icd10cm": ("icd10cm", "ICD10CM"),
}
"""Part of the file name -> our code system, prefix of its ids."""
_COLUMNS = ("subject_id", "predicate_id", "object_id")
_EXACT = "skos:exactMatch"


def read_mondo(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields codes of the diseases that the graph has (see `items.Reader`)."""
    matched = _file(path, "doid")
    found = {part: file for part in _TABLES if (file := _file(path, part))}
    if not matched or not found:
        raise BadInput(
            f"{path} has no Mondo matches.",
            hint="Give a folder with mondo_exactmatch_doid.sssom.tsv and others beside it.",
        )
    diseases: dict[str, list[str]] = defaultdict(list)
    for _, mondo, doid in _matches(matched, "DOID", report):
        if known.has("Disease", f"DOID:{doid}"):
            diseases[mondo].append(f"DOID:{doid}")
    for part, file in found.items():
        system, prefix = _TABLES[part]
        codes: dict[str, dict[str, str]] = defaultdict(dict)
        for at, mondo, code in _matches(file, prefix, report):
            own = [mondo] if known.has("Disease", mondo) else []
            for disease in [*diseases.get(mondo, []), *own]:
                codes[disease][code] = at
            if not own and mondo not in diseases:
                report.leave_out("matches of diseases that are not in the graph")
        for disease, of_disease in codes.items():
            if len(of_disease) == 1:
                ((code, at),) = of_disease.items()
                yield CodeRow(at, disease, system, code)
            else:
                report.leave_out("codes where one disease has several of a system", len(of_disease))


def _file(folder: Path, part: str) -> Path | None:
    return find(folder, f"mondo_exactmatch_{part}.sssom.tsv") if folder.is_dir() else None


def _matches(path: Path, prefix: str, report: Report) -> Iterator[tuple[str, str, str]]:
    for at, row in table(path, _COLUMNS, report):
        subject, object_ = row["subject_id"], row["object_id"]
        if not CURIE.fullmatch(subject) or not CURIE.fullmatch(object_):
            report.reject(at, f"{subject!r} or {object_!r} is no id of the form PREFIX:LOCAL")
        elif row["predicate_id"] != _EXACT:
            report.leave_out("matches that are not exact")
        elif object_.startswith(f"{prefix}:"):
            yield at, subject, object_.partition(":")[2]
        else:
            report.reject(at, f"{object_} is not of {prefix}")
