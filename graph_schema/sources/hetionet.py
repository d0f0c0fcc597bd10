"""Hetionet v1.0: symptoms, sites and diseases mentioned together, drugs listed in 2016, and drug classes.

A path is a folder with a `*nodes*.tsv` (id, name, kind) and an `*edges*.tsv` or `.sif` (source, metaedge,
target), each plain or .gz. Kept are the edges of diseases that the graph has already (the fact files, the
Disease Ontology), and the classes of the drugs those edges name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import BadInput
from ..relations import RELATIONS, Relation
from .items import Item, Known, NodeRow, Ranks, fact
from .lines import find, table
from .report import Report

_KINDS = {
    "Disease": ("Disease", ""),
    "Anatomy": ("Site", ""),
    "Symptom": ("Symptom", "MESH:"),
    "Compound": ("Drug", "DRUGBANK:"),
    "Pharmacologic Class": ("DrugClass", "NDFRT:"),
}
"""Kind in Hetionet -> our label, prefix of the id where Hetionet writes none."""
_METAEDGES = {
    "DpS": ("mentioned with symptom", False),
    "DlA": ("mentioned with site", False),
    "DrD": ("mentioned with disease", False),
    "CtD": ("drug listed in 2016", True),
    "CpD": ("palliative drug listed in 2016", True),
    "PCiC": ("drug of the class", False),
}
"""Metaedge -> our relation, whether it runs from the object to the subject."""
_LATER = "PCiC"
Ends = tuple[tuple[str, str], tuple[str, str]]


def read_hetionet(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields facts of known diseases, then drug classes (see `items.Reader`)."""
    nodes, edges = (_file(path, part) for part in ("nodes", "edges"))
    if not nodes or not edges:
        raise BadInput(f"no Hetionet in {path}.", hint="Give a folder with nodes.tsv and edges.tsv.")
    names = dict(_names(nodes, report))
    ranks = Ranks()
    waiting: list[tuple[str, Relation, Ends]] = []
    for at, row in table(edges, ("source", "metaedge", "target"), report):
        if row["metaedge"] not in _METAEDGES:
            report.leave_out("edges of other kinds")
            continue
        unknown = [row[end] for end in ("source", "target") if row[end] not in names]
        if unknown:
            report.reject(at, f"unknown node {unknown[0]}")
            continue
        name, backwards = _METAEDGES[row["metaedge"]]
        ends = names[row["source"]], names[row["target"]]
        relation, about = RELATIONS[name], ends[::-1] if backwards else ends
        if [end[0] for end in about] != [relation.subject, relation.target]:
            report.reject(at, f"{row['metaedge']} from {row['source']} to {row['target']}")
        elif row["metaedge"] == _LATER:
            waiting.append((at, relation, (about[0][1], about[1][1])))
        elif all(label != "Disease" or known.has("Disease", end[0]) for label, end in about):
            yield from _fact(at, relation, (about[0][1], about[1][1]), known, ranks)
        else:
            report.leave_out("edges of diseases that are not in the graph")
    for at, relation, pair in waiting:
        if known.has("Drug", pair[1][0]):
            yield from _fact(at, relation, pair, known, ranks)
        else:
            report.leave_out("classes of drugs that no kept edge names")


def _fact(at: str, relation: Relation, ends: Ends, known: Known, ranks: Ranks) -> Iterator[Item]:
    named = []
    for label, (id_, name) in zip((relation.subject, relation.target), ends, strict=True):
        if not known.has(label, id_):
            yield NodeRow(at, label, {"id": id_, "name": name})
        named.append((id_, known.name(label, id_) if known.has(label, id_) else name))
    rank = ranks.next(named[0][0], relation.name)
    yield fact(at, relation, "hetionet", named[0], named[1], rank=rank, section=relation.edge)


def _file(folder: Path, part: str) -> Path | None:
    if not folder.is_dir():
        return None
    return next((f for end in ("tsv", "sif") if (f := find(folder, f"*{part}*.{end}"))), None)


def _names(path: Path, report: Report) -> Iterator[tuple[str, tuple[str, tuple[str, str]]]]:
    for at, row in table(path, ("id", "name", "kind"), report):
        kind, _, local = row["id"].partition("::")
        if row["kind"] not in _KINDS:
            report.leave_out("nodes of other kinds")
        elif kind != row["kind"] or not local:
            report.reject(at, f"{row['id']!r} is no id of the form {row['kind']}::LOCAL")
        else:
            label, prefix = _KINDS[kind]
            yield row["id"], (label, (prefix + local, row["name"]))
