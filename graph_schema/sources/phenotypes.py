"""Symptom Ontology, HPO lay wordings and UBERON body parts: nodes with names that people use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadInput
from .items import EdgeRow, Item, Known, NameRow, NodeRow
from .lines import find, table
from .ontology import Term, below, hierarchy, terms
from .report import Report

_SYMP_ROOTS = ("SYMP:0000488",)
"""skin and integumentary tissue symptom"""
_HP_ROOTS = ("HP:0001574",)
"""Abnormality of the integument"""
_UBERON_ROOTS = ("UBERON:0000014", "UBERON:0002097", "UBERON:0001037", "UBERON:0001705", "UBERON:0000403")
"""zone of skin, skin of body, strand of hair, nail, scalp"""
_SKIN_WORDS = re.compile(
    r"\b(skin|cutaneous|subcutaneous|cutis|derm\w*|epiderm\w*|hyperkeratos\w*|keratoderma|erythema|rash|"
    r"hair|alopecia|bald\w*|nails?|fingernails?|toenails?|eczema|urticaria|hives|itch\w*|prurit\w*|freckl\w*|"
    r"mole|moles|blister\w*|acne|psoriasis|sweat\w*)\b",
    re.IGNORECASE,
)
_HP_ADDRESS = re.compile(r"<?(?:http\S*/)?HP[_:](\d+)>?")


def read_symptoms(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields symptoms: those of the skin, and those that the graph has already (see `items.Reader`).

    A path is `symp.obo`, plain or .gz, or a folder that holds it. Above a kept symptom nothing is kept.
    """
    file = _in(path, "symp*.obo", "Symptom Ontology")
    kept = below(hierarchy(file, "SYMP"), _SYMP_ROOTS)
    rule = "symptoms that are neither below SYMP:0000488 (skin) nor in the graph"
    wanted = [
        term
        for term in terms(file, "SYMP", report)
        if _keep(term.id in kept or known.has("Symptom", term.id), rule, report)
    ]
    yield from _ontology("Symptom", wanted, known)


def read_phenotypes(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields skin phenotypes of HPO with the wordings of lay people (see `items.Reader`).

    A path is `layperson-synonyms.tsv` (any name with `layperson`), or a folder that holds it; an `hp*.obo`
    beside it gives hierarchy and release. Kept is what that file puts below HP:0001574, and of terms it does
    not know those whose names say skin, hair or nails.
    """
    folder = path if path.is_dir() else path.parent
    lay = find(path, "*layperson*.tsv") if path.is_dir() else path
    if not lay:
        raise BadInput(f"no lay wordings of HPO in {path}.", hint="Give layperson-synonyms.tsv.")
    obo = find(folder, "hp*.obo")
    parents = hierarchy(obo, "HP") if obo else {}
    kept = below(parents, _HP_ROOTS)
    if obo:
        rule = "terms of the OBO file that are not below HP:0001574 (integument)"
        wanted = [t for t in terms(obo, "HP", report) if _keep(t.id in kept, rule, report)]
        yield from _ontology("Phenotype", wanted, known)
    for at, row in table(lay, ("?term", "?term_label", "?layperson"), report, language_tags=True):
        match = _HP_ADDRESS.fullmatch(row["?term"])
        if not match:
            report.reject(at, f"{row['?term']!r} is no HPO term")
            continue
        id_ = f"HP:{match[1]}"
        said = bool(_SKIN_WORDS.search(f"{row['?term_label']} {row['?layperson']}"))
        of_skin = id_ in kept or (id_ not in parents and said)
        if _keep(of_skin, "lay wordings not of skin, hair or nails", report):
            yield NodeRow(at, "Phenotype", {"id": id_, "name": row["?term_label"]})
            yield NameRow(at, "Phenotype", id_, row["?layperson"], "lay")


def read_anatomy(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields the zones of the skin, hair and nails, and the body parts they belong to (see `items.Reader`).

    A path is an UBERON file in OBO (any name with `uberon`), plain or .gz, or a folder that holds it.
    """
    file = _in(path, "*uberon*.obo", "UBERON")
    kept = below(hierarchy(file, "UBERON"), _UBERON_ROOTS)
    holders = {p for t in terms(file, "UBERON", Report()) if t.id in kept for p in t.part_of}
    rule = "structures that are neither skin, hair, nail nor what those belong to, nor in the graph"
    wanted = [
        term
        for term in terms(file, "UBERON", report)
        if _keep(term.id in kept | holders or known.has("Site", term.id), rule, report)
    ]
    yield from _ontology("Site", wanted, known)
    for term in wanted:
        for whole in term.part_of:
            if known.has("Site", whole) and whole != term.id:
                yield EdgeRow(term.at, "PART_OF", "Site", "Site", {"src": term.id, "dst": whole})


def _in(path: Path, pattern: str, what: str) -> Path:
    file = find(path, pattern) if path.is_dir() else path
    if not file:
        raise BadInput(f"no {what} in {path}.", hint=f"Give {pattern}, plain or .gz, or its folder.")
    return file


def _keep(wanted: bool, rule: str, report: Report) -> bool:
    if not wanted:
        report.leave_out(rule)
    return wanted


def _ontology(label: str, wanted: list[Term], known: Known) -> Iterator[Item]:
    for term in wanted:
        yield NodeRow(term.at, label, {"id": term.id, "name": term.name})
    for term in wanted:
        for name in term.synonyms:
            yield NameRow(term.at, label, term.id, name)
        for parent in term.parents:
            if known.has(label, parent):
                yield EdgeRow(term.at, "IS_A", label, label, {"src": term.id, "dst": parent})
