"""Merges what importers give into the rows of the curated graph, which they never overwrite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import BadInput, KGSchemaError
from ..build import Rows
from ..folding import normalise, slug
from ..linking import term_id
from ..relations import IMPORTED_LABELS
from ..schema import NAMED_TARGETS, SCHEMA, XREFS
from .items import CodeRow, EdgeRow, Importer, Item, NameRow, NodeRow
from .names import bare_adjective, general, unsayable
from .ontology import CURIE
from .report import ADDED, Report

_NAMED = ("Disease", *NAMED_TARGETS, *IMPORTED_LABELS)
_LONGEST = {"object": 300, "statement": 700}
"""Characters; the first as in the fact files."""


class _Follows(Exception):
    """A row names a node that was rejected, and that has been said once."""


class Merger:
    """The rows of a graph as importers may see and extend them (`items.Known`)."""

    def __init__(self, rows: Rows) -> None:
        """Starts from rows that hold the curated facts and no import yet."""
        self._rows = rows
        self._curated = frozenset(rows.nodes.get("Disease", {}))
        self._edges: set[tuple[str, str, str, str]] = set()
        self._facts: set[str] = set()
        self._refused: set[tuple[str, str]] = set()
        self._stated: set[tuple[str, str]] = set()
        self._named: dict[str, dict[str, str]] = {}
        for (type_, _, _), edges in rows.edges.items():
            for edge in edges:
                self._note(type_, edge)
                self._stated.add((type_, edge["src"]))
        self._curated_names = frozenset(self._named)

    def has(self, label: str, node: str) -> bool:
        """Whether there is such a node."""
        return node in self._rows.nodes.get(label, {})

    def name(self, label: str, node: str) -> str:
        """Returns the name of a node that there is."""
        return str(self._rows.nodes[label][node]["name"])

    def is_curated(self, disease: str) -> bool:
        """Whether the fact files describe this disease."""
        return disease in self._curated

    def states(self, edge: str, disease: str) -> bool:
        """Whether a curated fact of this relationship type starts from the disease."""
        return (edge, disease) in self._stated

    def diseases_named(self, text: str) -> list[str]:
        """Returns the diseases with this name, those that carry it as their first name alone if there are."""
        found = self._named.get(term_id(text), {})
        first = [disease for disease, kind in found.items() if kind == "name"]
        return sorted(first or found)

    def add(self, item: Item, source: str, report: Report) -> None:
        """Takes one row, or sends it to the report with the reason."""
        try:
            if isinstance(item, NodeRow):
                self._add_node(item, source, report)
            elif isinstance(item, NameRow):
                self._add_name(item, source, report)
            elif isinstance(item, CodeRow):
                self._add_code(item, report)
            else:
                self._add_edge(item, source, report)
        except _Follows:
            report.leave_out("rows about a rejected node")
        except KGSchemaError as error:
            if isinstance(item, NodeRow):
                self._refused.add((item.label, str(item.row.get("id"))))
            report.reject(item.at, str(error))

    def _add_node(self, item: NodeRow, source: str, report: Report) -> None:
        id_, name = str(item.row.get("id")), item.row.get(SCHEMA.display(item.label))
        SCHEMA.check_nodes(item.label, [item.row])
        if item.label == "Source":
            self._rows.node("Source", dict(item.row))
            return
        if not CURIE.fullmatch(id_):
            raise KGSchemaError(f"{id_!r} is no id of the form PREFIX:LOCAL")
        if reason := unsayable(name or "", _LONGEST["object"]):
            raise KGSchemaError(f"name of {id_}: {reason}")
        if self.has(item.label, id_):
            if name != self.name(item.label, id_):
                self._add_name(NameRow(item.at, item.label, id_, str(name)), source, report)
            return
        if item.label == "Disease":
            row = {"slug": slug(id_), "synonyms": [], "parents": [], **item.row}
        else:
            row = dict(item.row)
        self._rows.node(item.label, row)
        report.added["nodes"] += 1
        self._add_name(NameRow(item.at, item.label, id_, str(name), "name"), source, report)

    def _add_name(self, item: NameRow, source: str, report: Report) -> None:
        if item.label not in _NAMED:
            return
        self._must_have(item.label, item.node)
        if reason := unsayable(item.text):
            raise KGSchemaError(f"name of {item.node}: {reason}")
        term = term_id(item.text)
        if not normalise(item.text):
            raise KGSchemaError(f"name of {item.node}: no word in {item.text!r}")
        if ("NAMES", term, item.node, "") in self._edges:
            return
        if item.label == "Disease" and term in self._curated_names:
            report.leave_out("names that a curated disease has already")
            return
        if item.label == "Disease" and general(item.text):
            report.leave_out("names that are general words")
            return
        if item.kind == "synonym" and bare_adjective(item.text):
            report.leave_out("synonyms that are one adjective")
            return
        self._rows.node("Term", {"id": term, "text": normalise(item.text)})
        row = {"src": term, "dst": item.node, "surface": item.text, "kind": item.kind, "label": item.label}
        self._put("NAMES", "Term", item.label, {**row, "source": source})
        if item.label == "Disease" and item.kind != "name" and not self.is_curated(item.node):
            self._rows.nodes["Disease"][item.node]["synonyms"].append(item.text)
        report.added["names"] += 1

    def _add_code(self, item: CodeRow, report: Report) -> None:
        self._must_have("Disease", item.disease)
        if item.system not in XREFS:
            raise KGSchemaError(f"unknown code system {item.system!r}; known: {', '.join(XREFS)}")
        if reason := unsayable(item.code):
            raise KGSchemaError(f"code of {item.disease}: {reason}")
        row = self._rows.nodes["Disease"][item.disease]
        if not row.get(item.system):
            row[item.system] = item.code
            report.added["codes"] += 1

    def _add_edge(self, item: EdgeRow, source: str, report: Report) -> None:
        row: dict[str, Any] = {"source": source, **item.row}
        SCHEMA.check_edges(item.type, item.src, item.dst, [row])
        self._must_have(item.src, row["src"])
        self._must_have(item.dst, row["dst"])
        if (item.src, row["src"]) == (item.dst, row["dst"]):
            raise KGSchemaError(f"{item.type} from {row['src']} to itself")
        if "fact_id" in row:
            self._must_have("Source", row["source"])
            for key, longest in _LONGEST.items():
                if reason := unsayable(row.get(key) or "", longest):
                    raise KGSchemaError(f"{key}: {reason}")
            if row["fact_id"] in self._facts:
                report.leave_out("facts that the graph has already")
                return
        elif (item.type, row["src"], row["dst"], "") in self._edges:
            return
        self._put(item.type, item.src, item.dst, row)
        report.added["relationships"] += 1

    def _put(self, type_: str, src: str, dst: str, row: dict[str, Any]) -> None:
        self._rows.edge(type_, src, dst, row)
        self._note(type_, row)

    def _note(self, type_: str, row: dict[str, Any]) -> None:
        fact = str(row.get("fact_id", ""))
        self._edges.add((type_, row["src"], row["dst"], fact))
        if fact:
            self._facts.add(fact)
        if type_ == "NAMES" and row["label"] == "Disease":
            self._named.setdefault(row["src"], {})[row["dst"]] = row["kind"]

    def _must_have(self, label: str, node: str) -> None:
        if (label, node) in self._refused and not self.has(label, node):
            raise _Follows
        if not self.has(label, node):
            raise KGSchemaError(f"unknown {label} {node}")


def add_sources(
    rows: Rows,
    chosen: Sequence[tuple[Importer, Path]],
    *,
    progress: Callable[[str], None] | None = None,
    sink: Callable[[str], None] | None = None,
) -> list[Report]:
    """Reads sources into the rows of a graph; the same sources and files give the same rows.

    Args:
        rows: Rows that hold the curated facts.
        chosen: Importers and the paths a person gave, in the order in which they build on each other.
        progress: Gets a line as the reading goes on.
        sink: Gets every rejection as a line.

    Returns:
        One account per source.

    Raises:
        BadInput: A path holds nothing that its importer reads, or nothing in it could be used.
    """
    merger = Merger(rows)
    reports = []
    for importer, path in chosen:
        id_ = f"{importer.name}-{slug(path.name.split('.')[0])}" if importer.per_file else importer.name
        if id_ in rows.nodes["Source"]:
            raise BadInput(f"the source {id_} is given twice.", hint="Name each file once.")
        report = Report(id_, progress, sink)
        rows.node("Source", _source(importer, id_, path))
        for item in importer.read(path, merger, report):
            merger.add(item, id_, report)
        if report.rejected and not report.added and not report.left_out:
            raise BadInput(f"nothing in {path} could be used: {report.first[0]}.", hint=importer.title)
        rows.nodes["Source"][id_] |= {
            "version": report.version,
            "left_out": sum(report.left_out.values()),
            "rejected": report.rejected,
            **{what: report.added[what] for what in ADDED},
        }
        reports.append(report)
    return reports


def _source(importer: Importer, id_: str, path: Path) -> dict[str, Any]:
    return {
        "id": id_,
        "title": f"{importer.title} ({path.name})" if importer.per_file else importer.title,
        "organisation": importer.organisation,
        "year": importer.year,
        "identifier": importer.identifier,
        "kind": "import",
        "licence": importer.licence,
    }
