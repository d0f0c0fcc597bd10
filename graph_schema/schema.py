"""The one declaration of the graph: DDL, constraints, row checks and prompt text all come from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import KGSchemaError
from .predicates import PREDICATES
from .relations import HIERARCHIES, IMPORTED_LABELS, RELATIONS

_PYTHON: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "INT64": (int,),
    "DOUBLE": (float, int),
    "BOOLEAN": (bool,),
    "STRING[]": (list, tuple),
}
"""Declared type -> accepted Python types. Engines coerce silently (3.7 into INT64 gives 4)."""


@dataclass(frozen=True)
class GraphSchema:
    """Labels, relationship types and their properties.

    Attributes:
        nodes: label -> {property: type}; every node is keyed by `id`, which is not listed.
        edges: type -> ([(source label, target label), ...], {property: type}).
        edge_keys: type -> the property that tells parallel relationships of that type apart (part of MERGE).
        fulltext: label -> the property that a text index covers.
    """

    nodes: Mapping[str, Mapping[str, str]]
    edges: Mapping[str, tuple[Sequence[tuple[str, str]], Mapping[str, str]]]
    edge_keys: Mapping[str, str] = field(default_factory=dict)
    fulltext: Mapping[str, str] = field(default_factory=dict)

    def display(self, label: str) -> str:
        """Returns the property that names a node of `label` to people.

        Raises:
            KGSchemaError: Unknown label.
        """
        props = self.node_props(label)
        return next((p for p in ("name", "title", "text", "version") if p in props), "id")

    def node_props(self, label: str) -> Mapping[str, str]:
        """Returns the declared properties of a label.

        Raises:
            KGSchemaError: Unknown label.
        """
        if label not in self.nodes:
            raise KGSchemaError(f"no label {label!r}; declared: {', '.join(self.nodes)}")
        return self.nodes[label]

    def edge_props(self, type_: str, src: str, dst: str) -> Mapping[str, str]:
        """Returns the declared properties of a relationship type between two labels.

        Raises:
            KGSchemaError: Unknown type, or not declared between these labels.
        """
        if type_ not in self.edges:
            raise KGSchemaError(f"no relationship type {type_!r}; declared: {', '.join(self.edges)}")
        pairs, props = self.edges[type_]
        if (src, dst) not in pairs:
            raise KGSchemaError(f"{type_} is not declared from {src} to {dst}")
        return props

    def check_nodes(self, label: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Checks rows against the declaration and pads missing properties with None.

        Raises:
            KGSchemaError: Unknown label or property, missing id, wrong type.
        """
        return _check(label, rows, self.node_props(label), ("id",), set())

    def check_edges(
        self, type_: str, src: str, dst: str, rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Checks relationship rows (`src`, `dst`, properties) and pads missing properties with None.

        Raises:
            KGSchemaError: As `check_nodes`; also a missing relationship key.
        """
        key = {self.edge_keys[type_]} if type_ in self.edge_keys else set()
        return _check(type_, rows, self.edge_props(type_, src, dst), ("src", "dst"), key)

    def ladybug_ddl(self) -> list[str]:
        """Returns the table definitions and the macros that give ladybug Neo4j's function names."""
        ddl = [
            f"CREATE NODE TABLE IF NOT EXISTS `{label}`(`id` STRING, "
            + "".join(f"`{p}` {t}, " for p, t in props.items())
            + "PRIMARY KEY(`id`))"
            for label, props in self.nodes.items()
        ]
        for type_, (pairs, props) in self.edges.items():
            ends = [f"FROM `{a}` TO `{b}`" for a, b in pairs]
            columns = [f"`{p}` {t}" for p, t in props.items()]
            ddl.append(f"CREATE REL TABLE IF NOT EXISTS `{type_}`({', '.join(ends + columns)})")
        return ddl

    def neo4j_ddl(self) -> list[str]:
        """Returns the uniqueness constraints and the full-text indexes, each `IF NOT EXISTS`."""
        ddl = [
            f"CREATE CONSTRAINT clarify_{label.lower()}_id IF NOT EXISTS "
            f"FOR (n:`{label}`) REQUIRE n.id IS UNIQUE"
            for label in self.nodes
        ]
        options = "{indexConfig: {`fulltext.analyzer`: 'standard-no-stop-words'}}"
        ddl += [
            f"CREATE FULLTEXT INDEX {index_name(label)} IF NOT EXISTS FOR (n:`{label}`) "
            f"ON EACH [n.`{prop}`] OPTIONS {options}"
            for label, prop in self.fulltext.items()
        ]
        return ddl

    def text(self) -> str:
        """Returns the schema as a prompt shows it: one line per label and relationship type."""
        lines = ["Nodes (each also has id: STRING):"]
        lines += [f"  (:{label} {{{_props(props)}}})" for label, props in self.nodes.items()]
        lines.append("Relationships:")
        for type_, (pairs, props) in self.edges.items():
            inside = f" {{{_props(props)}}}" if props else ""
            sources, targets = (list(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
            lines.append(f"  (:{'|'.join(sources)})-[:{type_}{inside}]->(:{'|'.join(targets)})")
        return "\n".join(lines)


def _props(props: Mapping[str, str]) -> str:
    return ", ".join(f"{p}: {t}" for p, t in props.items())


def _check(
    what: str,
    rows: Sequence[Mapping[str, Any]],
    props: Mapping[str, str],
    keys: tuple[str, ...],
    required: set[str],
) -> list[dict[str, Any]]:
    checked = []
    for number, row in enumerate(rows):
        where = f"{what} row {number}"
        for key in keys:
            if not isinstance(row.get(key), str) or not row[key]:
                raise KGSchemaError(f"{where}: {key!r} must be a non-empty string")
        unknown = set(row) - set(props) - set(keys)
        if unknown:
            raise KGSchemaError(f"{where}: undeclared properties {sorted(unknown)}")
        for prop, type_ in props.items():
            value = row.get(prop)
            if value is None and prop not in required:
                continue
            bad = not isinstance(value, _PYTHON[type_]) or (isinstance(value, bool) and type_ != "BOOLEAN")
            if bad or (type_ == "STRING[]" and not all(isinstance(item, str) for item in value or ())):
                raise KGSchemaError(f"{where}: {prop!r} must be {type_}, not {value!r}")
        checked.append({**{key: row[key] for key in keys}, **{prop: _plain(row.get(prop)) for prop in props}})
    return checked


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def index_name(label: str) -> str:
    """Returns the name of a label's full-text index on a server."""
    return f"clarify_{label.lower()}s"


_NAMED = {"name": "STRING"}
_FACT = {
    "fact_id": "STRING",
    "statement": "STRING",
    "predicate": "STRING",
    "object": "STRING",
    "rank": "INT64",
    "source": "STRING",
    "section": "STRING",
    "reviewed": "BOOLEAN",
    "support": "STRING",
}
_IMPORT = {
    **dict.fromkeys(("licence", "version"), "STRING"),
    **dict.fromkeys(("nodes", "relationships", "names", "codes", "left_out", "rejected"), "INT64"),
}
"""What an import records of itself; empty for the source of a curated fact."""
XREFS = ("doid", "icd10cm", "icd11", "snomedct", "mesh", "umls")
NAMED_TARGETS = ("Site", "Sign", "RiskFactor", "Cause", "Test", "Treatment", "Complication")
"""Labels besides Disease whose short names are searchable."""

WORDED = ("Sign", "Site")
"""Labels whose nodes are also found by how the facts word them."""

SCHEMA = GraphSchema(
    nodes={
        "Disease": {
            **_NAMED,
            "slug": "STRING",
            "synonyms": "STRING[]",
            "parents": "STRING[]",
            **dict.fromkeys(XREFS, "STRING"),
        },
        "Definition": _NAMED,
        **{label: _NAMED for label in NAMED_TARGETS},
        "Outcome": _NAMED,
        "RedFlag": _NAMED,
        **{label: _NAMED for label in IMPORTED_LABELS},
        "Source": {
            "title": "STRING",
            "organisation": "STRING",
            "year": "INT64",
            "identifier": "STRING",
            "kind": "STRING",
            **_IMPORT,
        },
        "Term": {"text": "STRING"},
        "Wording": {"text": "STRING", **dict.fromkeys(("words", "node", "name", "label"), "STRING")},
        "GraphInfo": {"version": "STRING"},
    },
    edges={
        **{p.edge: ([("Disease", p.target)], _FACT) for p in PREDICATES.values()},
        **{r.edge: ([(r.subject, r.target)], {**_FACT, **dict(r.more)}) for r in RELATIONS.values()},
        "IS_A": ([(label, label) for label in HIERARCHIES], {"source": "STRING"}),
        "PART_OF": ([("Site", "Site")], {"source": "STRING"}),
        "NAMES": (
            [("Term", label) for label in ("Disease", *NAMED_TARGETS, *IMPORTED_LABELS)],
            {"surface": "STRING", "kind": "STRING", "label": "STRING", "source": "STRING"},
        ),
    },
    edge_keys={r.edge: "fact_id" for table in (PREDICATES, RELATIONS) for r in table.values()},
    fulltext={"Term": "text", "Wording": "text"},
)
"""The graph of CLARIFY. Every fact is one relationship that carries its id, its words and its source."""
