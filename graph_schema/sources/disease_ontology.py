"""Human Disease Ontology: diseases of the skin, their hierarchy, synonyms, codes, definitions and symptoms.

A path is an ontology file (`doid.obo`, OBO graph JSON), the table `do_skin_terms.tsv`, or a folder with the
report tables of a release: `HumanDO.tsv` (names the parents by label), `allXREFinDO.tsv`, `definitions.tsv`,
`DO-subClassOf-anonymous.tsv`, `disease-symptom.tsv`, and `do_skin_terms.tsv` for synonyms; each plain or .gz.

Kept are the diseases below `_ROOTS`, those whose axioms locate them in skin, hair or nails, and those that
the fact files describe. A code is taken where the ontology gives exactly one of its system.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import BadInput
from ..folding import slug
from ..predicates import PREDICATES
from ..predicates import state as say
from ..relations import IMPORTED, RELATIONS
from .items import RANK, CodeRow, EdgeRow, Item, Known, NameRow, NodeRow, Ranks, fact
from .lines import find, table
from .ontology import Term, below, hierarchy, terms
from .report import Report

_ROOTS = {
    "DOID:16": "integumentary system disease",
    "DOID:0060122": "integumentary system cancer",
    "DOID:0060121": "integumentary system benign neoplasm",
    # Infections and diseases of many organs that a dermatologist sees by their skin signs.
    "DOID:1024": "leprosy",
    "DOID:4166": "syphilis",
    "DOID:8857": "lupus erythematosus",
    "DOID:8913": "dermatophytosis",
    "DOID:8536": "herpes zoster",
    "DOID:8566": "herpes simplex",
    "DOID:8659": "chickenpox",
    "DOID:8622": "measles",
    "DOID:8867": "molluscum contagiosum",
    "DOID:10881": "hand, foot and mouth disease",
    "DOID:8295": "scabies",
    "DOID:11729": "Lyme disease",
    "DOID:8632": "Kaposi's sarcoma",
    "DOID:8691": "mycosis fungoides",
    "DOID:10223": "dermatomyositis",
    "DOID:418": "systemic scleroderma",
    "DOID:13241": "Behcet's disease",
    "DOID:9008": "psoriatic arthritis",
    "DOID:8712": "neurofibromatosis",
    "DOID:13515": "tuberous sclerosis",
}
_SKIN = re.compile(r"\b(skin|hair|nail|dermis|epidermis|hypodermis)\b")
_LOCATED = re.compile(r"'disease has location' some ('[^']*'|\w+|\([^)]*\))")
_SYSTEMS = {
    "ICD10CM": "icd10cm",
    "ICD11": "icd11",
    "SNOMEDCT_US": "snomedct",
    "MESH": "mesh",
    "UMLS_CUI": "umls",
}
_TOP = "DOID:4"
_ARTICLE = re.compile(r"(An?|The) \w")
_MOST_WORDS = 25
_NOT_SKIN = "diseases neither below the integumentary roots nor located in skin, hair or nail"


def read_disease_ontology(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields the diseases of the skin, then what hangs on them (see `items.Reader`)."""
    found: Iterable[Term]
    if path.is_file() and path.name.startswith("do_skin_terms"):
        found = list(_skin_table(path, report))
        kept = {term.id for term in found}
    elif path.is_file():
        found = terms(path, "DOID", report)
        kept = below(hierarchy(path, "DOID"), _ROOTS)
    else:
        found = list(_from_tables(path, report))
        parents = {term.id: term.parents for term in found}
        kept = below(parents, _ROOTS) | _located(path, parents, report)
    links: list[Item] = []
    for term in found:
        if term.id in kept or known.is_curated(term.id):
            yield NodeRow(term.at, "Disease", {"id": term.id, "name": term.name, "parents": term.parents})
            links += _links(term, known, report)
        else:
            report.leave_out(_NOT_SKIN)
    for link in links:
        if not isinstance(link, EdgeRow) or link.type != "IS_A" or known.has("Disease", link.row["dst"]):
            yield link
    if path.is_dir() and (symptoms := find(path, "disease-symptom.tsv")):
        yield from _symptoms(symptoms, known, report)


def _links(term: Term, known: Known, report: Report) -> Iterator[Item]:
    for parent in term.parents:
        yield EdgeRow(term.at, "IS_A", "Disease", "Disease", {"src": term.id, "dst": parent})
    for name in term.synonyms:
        yield NameRow(term.at, "Disease", term.id, name)
    codes: dict[str, set[str]] = defaultdict(set)
    for written in term.codes:
        prefix, _, code = written.partition(":")
        system = _SYSTEMS.get("SNOMEDCT_US" if prefix.startswith("SNOMEDCT_US") else prefix)
        if system:
            codes[system].add(code)
    for system, of_system in codes.items():
        if len(of_system) == 1:
            yield CodeRow(term.at, term.id, system, of_system.pop())
        else:
            report.leave_out("codes where one disease has several of a system", len(of_system))
    definition = _definition(term.definition)
    if definition and not known.states("DEFINED_AS", term.id):
        name = known.name("Disease", term.id) if known.has("Disease", term.id) else term.name
        yield from _defined(term, name, definition)
    elif term.definition and not definition:
        report.leave_out(f"definitions that are no phrase of at most {_MOST_WORDS} words")


def _definition(text: str) -> str:
    """Turns "A skin disease that is located_in skin. More." into "a skin disease that is located in skin"."""
    first = re.split(r"\.\s|\.$", text.strip())[0].replace("_", " ").strip()
    if not _ARTICLE.match(first) or len(first.split()) > _MOST_WORDS:
        return ""
    return first[0].lower() + first[1:]


def _defined(term: Term, name: str, words: str) -> Iterator[Item]:
    predicate = PREDICATES["definition"]
    target = f"CLARIFY:definition-{slug(term.id)}"
    yield NodeRow(term.at, predicate.target, {"id": target, "name": words})
    row = {
        "src": term.id,
        "dst": target,
        "fact_id": f"do-def-{slug(term.id)}",
        "statement": say(predicate.name, name, words),
        "predicate": predicate.name,
        "object": words,
        "rank": RANK,
        "section": term.id,
        "reviewed": False,
        "support": IMPORTED,
    }
    yield EdgeRow(term.at, predicate.edge, "Disease", predicate.target, row)


def _from_tables(folder: Path, report: Report) -> Iterator[Term]:
    main = find(folder, "HumanDO.tsv")
    if not main:
        raise BadInput(
            f"no Disease Ontology in {folder}: no HumanDO.tsv.",
            hint="Give that folder, or one doid.obo, doid.json or do_skin_terms.tsv, plain or .gz.",
        )
    by_id: dict[str, Term] = {}
    above: list[tuple[str, str, str]] = []
    for at, row in table(main, ("id", "label", "subClassOf"), report):
        term = by_id.setdefault(row["id"], Term(at, row["id"], row["label"]))
        if row["subClassOf"]:
            above.append((at, term.id, row["subClassOf"]))
    by_id.setdefault(_TOP, Term(main.name, _TOP, "disease"))  # the table has no row without a parent
    by_label = {term.name: term.id for term in by_id.values()}
    for at, id_, label in above:
        if label in by_label:
            by_id[id_].parents.append(by_label[label])
        else:
            report.reject(at, f"unknown parent {label!r}")
    _fill(folder, by_id, report)
    yield from by_id.values()


def _fill(folder: Path, by_id: dict[str, Term], report: Report) -> None:
    if codes := find(folder, "allXREFinDO.tsv"):
        for at, row in table(codes, ("id", "xref"), report):
            if term := _of(by_id, at, row["id"], report):
                term.codes.append(row["xref"])
    if definitions := find(folder, "definitions.tsv"):
        for at, row in table(definitions, ("id", "definition"), report):
            if term := _of(by_id, at, row["id"], report):
                term.definition = row["definition"]
    if synonyms := find(folder, "do_skin_terms.tsv"):
        for described in _skin_table(synonyms, report):
            if term := _of(by_id, described.at, described.id, report):
                term.synonyms = described.synonyms


def _of(by_id: dict[str, Term], at: str, id_: str, report: Report) -> Term | None:
    if id_ not in by_id:
        report.reject(at, f"unknown disease {id_}")
    return by_id.get(id_)


def _located(folder: Path, ids: dict[str, list[str]], report: Report) -> set[str]:
    path = find(folder, "DO-subClassOf-anonymous.tsv")
    rows = table(path, ("ID", "SubClass Of [ANON]"), report) if path else ()
    located = set()
    for at, row in rows:
        if row["ID"] not in ids:
            report.reject(at, f"unknown disease {row['ID']}")
        elif any(_SKIN.search(place) for place in _LOCATED.findall(row["SubClass Of [ANON]"])):
            located.add(row["ID"])
    return located


def _skin_table(path: Path, report: Report) -> Iterator[Term]:
    columns = ("id", "label", "definition", "synonyms", "parents", *list(_SYSTEMS)[:1])
    for at, row in table(path, columns, report):
        codes = [f"{system}:{code}" for system in _SYSTEMS for code in _split(row.get(system, ""))]
        yield Term(
            at,
            row["id"],
            row["label"],
            parents=_split(row["parents"]),
            synonyms=_split(row["synonyms"]),
            codes=codes,
            definition=row["definition"],
        )


def _split(cell: str) -> list[str]:
    return [part for piece in cell.split("|") if (part := piece.strip())]


def _symptoms(path: Path, known: Known, report: Report) -> Iterator[Item]:
    columns: Sequence[str] = ("disease_id", "symptom_id", "symptom_label")
    ranks = Ranks()
    relation = RELATIONS["symptom"]
    for at, row in table(path, columns, report):
        disease, symptom = row["disease_id"], row["symptom_id"]
        if not known.has("Disease", disease):
            report.leave_out("symptoms of diseases that are not in the graph")
            continue
        if not known.has("Symptom", symptom):
            yield NodeRow(at, "Symptom", {"id": symptom, "name": row["symptom_label"]})
        names = known.name("Disease", disease), row["symptom_label"]
        rank = ranks.next(disease, relation.name)
        yield fact(at, relation, "do", (disease, names[0]), (symptom, names[1]), rank=rank)
