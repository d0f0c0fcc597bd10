"""Terms of an ontology file: OBO 1.2/1.4 or OBO graph JSON, plain or gzip.

OBO is streamed line by line; OBO graph JSON is one document and is read whole.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BadInput
from .lines import numbered_lines, open_bytes
from .report import Report

CURIE = re.compile(r"[A-Za-z][\w.]*:[\w.\-]+")
_TAG = re.compile(r"([\w-]+):\s*(.*)")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"\s*(\w*)')
_PURL = re.compile(r".*/([A-Za-z]\w*)_(\w+)$")
_TRIPLE = ("sub", "pred", "obj")
_PART_OF = ("BFO:0000050", "part_of")


@dataclass
class Term:
    """One term.

    Attributes:
        at: `file:line` of its id.
        id: CURIE.
        name: Label; empty when the file has none.
        parents: Ids of what it is a kind of.
        part_of: Ids of what it is a part of.
        synonyms: Exact synonyms.
        codes: Cross-references as written, `MESH:D000001`.
        definition: Text definition.
        obsolete: Whether the ontology has withdrawn it.
    """

    at: str
    id: str
    name: str = ""
    parents: list[str] = field(default_factory=list)
    part_of: list[str] = field(default_factory=list)
    synonyms: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    definition: str = ""
    obsolete: bool = False


def terms(path: Path, prefix: str, report: Report) -> Iterator[Term]:
    """Yields the terms of a file whose ids have a prefix and that are not obsolete.

    Raises:
        BadInput: It is neither OBO nor OBO graph JSON, cannot be read, or holds no such term.
    """
    with open_bytes(path) as stream:
        try:
            is_json = stream.read(512).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
        except (EOFError, OSError, zlib.error):
            is_json = False
    found = _json_terms(path, report) if is_json else _obo_terms(path, report)
    own = False
    for term in found:
        own = own or term.id.startswith(f"{prefix}:")
        if not CURIE.fullmatch(term.id):
            report.reject(term.at, f"{term.id!r} is no id of the form PREFIX:LOCAL")
        elif not term.id.startswith(f"{prefix}:"):
            report.leave_out("terms of other ontologies")
        elif term.obsolete:
            report.leave_out("obsolete terms")
        elif not term.name:
            report.reject(term.at, f"{term.id} has no name")
        else:
            yield term
    if not own:
        raise BadInput(f"{path} holds no term {prefix}:…", hint="Is it another ontology?")


def below(parents: Mapping[str, Iterable[str]], roots: Iterable[str]) -> set[str]:
    """Returns the roots and everything under them.

    Args:
        parents: Id -> ids of its parents.
        roots: Where to start.
    """
    children: dict[str, list[str]] = {}
    for id_, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(id_)
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        id_ = waiting.pop()
        if id_ not in found:
            found.add(id_)
            waiting += children.get(id_, [])
    return found


def hierarchy(path: Path, prefix: str) -> dict[str, list[str]]:
    """Returns id -> parents of a file, in a first pass that rejects nothing: the second pass does."""
    return {term.id: term.parents for term in terms(path, prefix, Report())}


def _obo_terms(path: Path, report: Report) -> Iterator[Term]:
    term: Term | None = None
    in_term = seen = False
    for at, line in numbered_lines(path, report):
        if line.startswith("["):
            if term:
                yield term
            term, in_term, seen = None, line.strip() == "[Term]", True
            continue
        match = _TAG.match(line)
        if not match or line.startswith("!"):
            if line.strip() and not line.startswith("!"):
                report.reject(at, "not a line of the form tag: value")
            continue
        tag, value = match.groups()
        if tag == "data-version" and not seen:
            report.version = value
        elif in_term and tag == "id":
            term = Term(at, value.strip())
        elif in_term and term is None:
            report.reject(at, f"{tag} before the id of its term")
        elif term is not None:
            _take(term, tag, value, at, report)
    if term:
        yield term
    if not seen:
        raise BadInput(f"{path} is no ontology.", hint="Give OBO or OBO graph JSON, plain or .gz.")


def _take(term: Term, tag: str, value: str, at: str, report: Report) -> None:
    bare = re.split(r"\s+[!{]", value)[0].strip()
    if tag == "name":
        term.name = value.strip()
    elif tag == "is_a":
        term.parents.append(bare)
    elif tag == "relationship" and bare.split()[0] in _PART_OF and len(bare.split()) == 2:
        term.part_of.append(bare.split()[1])
    elif tag == "xref":
        term.codes.append(bare.split()[0] if bare else "")
    elif tag == "is_obsolete":
        term.obsolete = bare == "true"
    elif tag in ("synonym", "def"):
        match = _QUOTED.match(value)
        if not match:
            report.reject(at, f"{tag} is not in quotes")
        elif tag == "def":
            term.definition = _unescaped(match[1])
        elif match[2] == "EXACT":
            term.synonyms.append(_unescaped(match[1]))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text).strip()


def _json_terms(path: Path, report: Report) -> Iterator[Term]:
    try:
        with open_bytes(path) as stream:
            graph = json.loads(stream.read().decode("utf-8"))["graphs"][0]
            nodes, edges = list(graph["nodes"]), list(graph.get("edges", []))
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, zlib.error) as error:
        raise BadInput(
            f"{path} is no OBO graph JSON: {error}.", hint="Give a whole file; a damaged one has no parts."
        ) from error
    report.version = str((graph.get("meta") or {}).get("version", ""))
    parents: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    for number, edge in enumerate(edges):
        at = f"{path.name}:edge {number}"
        if not isinstance(edge, dict) or not all(isinstance(edge.get(k), str) for k in _TRIPLE):
            report.reject(at, "an edge needs sub, pred and obj")
        elif edge["pred"] == "is_a":
            parents.setdefault(_curie(edge["sub"]), []).append(_curie(edge["obj"]))
        elif _curie(edge["pred"]) in _PART_OF:
            parts.setdefault(_curie(edge["sub"]), []).append(_curie(edge["obj"]))
    for number, node in enumerate(nodes):
        at = f"{path.name}:node {number}"
        report.read_line(path.name, number)
        try:
            if node.get("type") != "CLASS":
                continue
            term = _json_term(at, node)
        except (AttributeError, LookupError, TypeError) as error:
            report.reject(at, f"not a node of an OBO graph: {error!r}")
            continue
        term.parents, term.part_of = parents.get(term.id, []), parts.get(term.id, [])
        yield term


def _json_term(at: str, node: Mapping[str, Any]) -> Term:
    meta = node.get("meta") or {}
    return Term(
        at,
        _curie(node["id"]),
        name=str(node.get("lbl") or "").strip(),
        synonyms=[str(s["val"]) for s in meta.get("synonyms", []) if s.get("pred") == "hasExactSynonym"],
        codes=[str(x["val"]) for x in meta.get("xrefs", [])],
        definition=str((meta.get("definition") or {}).get("val", "")),
        obsolete=bool(meta.get("deprecated")),
    )


def _curie(address: str) -> str:
    match = _PURL.match(address)
    return f"{match[1]}:{match[2]}" if match else address
