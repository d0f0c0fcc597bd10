"""CLARIFY's own GraphML: diseases, what is stated about them, and how they are ordered; plain or gzip.

    <graphml><key id="label" for="node" attr.name="label"/> ... <graph edgedefault="directed">
      <node id="DOID:8502"><data key="label">Disease</data><data key="name">bullous skin disease</data>
        <data key="synonyms">blistering disease|bullous dermatosis</data><data key="icd10cm">L13</data></node>
      <node id="MY:1"><data key="label">Sign</data><data key="name">tense blisters</data></node>
      <edge source="DOID:8502" target="MY:1"><data key="type">HAS_SIGN</data>
        <data key="object">tense blisters on red skin</data><data key="section">p. 7</data></edge>
    </graph></graphml>

Nodes stand before the edges that name them. A node has `label` (Disease, or a label that a predicate points
to) and `name`; a disease may have codes and `synonyms` divided by bars. An edge has `type`: one of those in
`predicates.py`, IS_A between diseases, or PART_OF between sites; the words of a fact are `object`, else the
name of the node. Other data are not read. Document type declarations are refused: entities could fill the
memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from ...errors import BadInput, KGSchemaError
from ..predicates import PREDICATES
from ..schema import XREFS
from .items import CodeRow, EdgeRow, Item, Known, NameRow, NodeRow
from .lines import open_bytes
from .own import OwnFacts, predicate_of
from .report import Report

_LABELS = frozenset({"Disease", *(p.target for p in PREDICATES.values())})
_CHUNK = 65536
_LONGEST = 10_000


@dataclass
class _Element:
    """A node or an edge with its data."""

    line: int
    kind: str
    attributes: dict[str, str]
    data: dict[str, str] = field(default_factory=dict)


def read_graphml(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields the nodes and edges of a file (see the module and `items.Reader`)."""
    facts = OwnFacts(report.source, known)
    labels: dict[str, str] = {}
    for element in _elements(path, report):
        at = f"{path.name}:{element.line}"
        report.read_line(path.name, element.line)
        try:
            yield from (_node if element.kind == "node" else _edge)(at, element, labels, facts)
        except KGSchemaError as error:
            report.reject(at, str(error))


def _node(at: str, node: _Element, labels: dict[str, str], facts: OwnFacts) -> Iterator[Item]:
    id_, label = node.attributes.get("id", ""), node.data.get("label", "")
    if label not in _LABELS:
        raise KGSchemaError(f"node {id_!r}: label {label!r} is none of {', '.join(sorted(_LABELS))}")
    labels[id_] = label
    yield NodeRow(at, label, {"id": id_, "name": node.data.get("name", "")})
    for name in filter(None, node.data.get("synonyms", "").split("|")):
        yield NameRow(at, label, id_, name.strip())
    if label == "Disease":
        for system in XREFS:
            if node.data.get(system):
                yield CodeRow(at, id_, system, node.data[system])


def _edge(at: str, edge: _Element, labels: dict[str, str], facts: OwnFacts) -> Iterator[Item]:
    src, dst, type_ = (
        edge.attributes.get("source", ""),
        edge.attributes.get("target", ""),
        edge.data.get("type", ""),
    )
    label = labels.get(dst) or "Disease"
    predicate = predicate_of(type_)
    if type_ in ("IS_A", "PART_OF"):
        ends = {"src": src, "dst": dst}
        yield EdgeRow(at, type_, label, label, ends)
    elif predicate is None:
        raise KGSchemaError(f"type {type_!r} is none that a file can state; see predicates.py")
    elif not facts.known.has(predicate.target, dst):
        raise KGSchemaError(f"unknown {predicate.target} {dst}")
    else:
        name = facts.known.name(predicate.target, dst)
        words = edge.data.get("object") or name
        cited = {"section": edge.data.get("section", "")}
        yield from facts.stated(at, predicate, src, words, target=(dst, name), cited=cited)


def _elements(path: Path, report: Report) -> Iterator[_Element]:
    """Streams nodes and edges; what stands before the first flaw of the XML is yielded."""
    reader = _Reader()
    with open_bytes(path) as stream:
        while True:
            try:
                chunk = stream.read(_CHUNK)
                reader.parser.Parse(chunk, not chunk)
            except (EOFError, OSError, zlib.error, expat.ExpatError, KGSchemaError) as error:
                yield from reader.taken()
                at = f"{path.name}:{reader.parser.CurrentLineNumber}"
                report.reject(at, f"the file is no sound GraphML from here on: {error}")
                return
            yield from reader.taken()
            if not chunk:
                break
    if not reader.is_graphml:
        raise BadInput(f"{path} is no GraphML.", hint="See clarify.graph_schema.sources.graphml.")


class _Reader:
    """Collects finished nodes and edges from expat's calls."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.is_graphml = False
        self._keys: dict[str, str] = {}
        self._done: list[_Element] = []
        self._open: _Element | None = None
        self._key = ""

    def taken(self) -> list[_Element]:
        done, self._done = self._done, []
        return done

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        kind = tag.rpartition(" ")[2]
        self.is_graphml |= kind == "graphml"
        if kind == "key":
            self._keys[attributes.get("id", "")] = attributes.get("attr.name", attributes.get("id", ""))
        elif kind in ("node", "edge"):
            self._open = _Element(self.parser.CurrentLineNumber, kind, attributes)
        elif kind == "data":
            key = attributes.get("key", "")
            self._key = self._keys.get(key, key)

    def _text(self, text: str) -> None:
        if self._open and self._key:
            held = self._open.data.get(self._key, "") + text
            if len(held) > _LONGEST:
                raise KGSchemaError(f"{self._key} is longer than {_LONGEST} characters")
            self._open.data[self._key] = held

    def _end(self, tag: str) -> None:
        kind = tag.rpartition(" ")[2]
        if kind == "data":
            if self._open and self._key in self._open.data:
                self._open.data[self._key] = " ".join(self._open.data[self._key].split())
            self._key = ""
        elif kind in ("node", "edge") and self._open:
            self._done.append(self._open)
            self._open = None

    def _doctype(self, *_: object) -> None:
        raise KGSchemaError("a document type declaration is refused")
