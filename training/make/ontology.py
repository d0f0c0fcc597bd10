"""Diseases in a tree of groups: names, synonyms, and the path from the top group to a disease."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BadInput
from ...graph_schema.folding import normalise
from ...graph_schema.vocabulary import vocabulary
from .rows import read_rows
from .wording import Found, PhraseIndex, words

_ROOTS = frozenset({"root"})
"""Names of nodes that files only begin with; they are no groups."""
_SKIN = re.compile(r"^(?:skin|cutaneous)\s+(?=\S)|\s+of\s+(?:the\s+)?skin$", re.IGNORECASE)
_AFTER = re.compile(r"[ -](\w+)(?: (?:the )?(\w+))?")
_BEFORE = re.compile(r"(\w+)[ -]$")
_LONGEST_ABBREVIATION = 6


@dataclass(frozen=True)
class Node:
    """A disease or a group of diseases.

    Attributes:
        id: Its identifier; for a file that has none, the normal form of its name.
        name: As the file spells it.
        synonyms: Its other names.
        parents: Ids of the groups that it belongs to.
    """

    id: str
    name: str
    synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


class Ontology:
    """Diseases, their names, and one path to each.

    Several parents and cycles are allowed: the path is the shortest one from a node without parents, of
    equally short ones the first in the alphabet. In a cycle that no such node leads into, the node whose
    name comes first in the alphabet counts as a top group.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: dict[str, Node] = {node.id: node for node in nodes}
        self._children: dict[str, list[str]] = {id_: [] for id_ in self.nodes}
        for node in self.nodes.values():
            for parent in dict.fromkeys(node.parents):
                if parent in self.nodes and parent != node.id:
                    self._children[parent].append(node.id)
        self._paths = self._shortest_paths()
        self._index = self._names()

    @classmethod
    def from_json(cls, source: Path | Mapping[str, Any]) -> Ontology:
        """Reads groups within groups, or a table of parents and their children; both may be mixed.

        `{"inflammatory": {"eczema": {}}}`, `{"inflammatory": ["eczema"]}` and
        `{"name": "inflammatory", "children": [{"name": "eczema", "synonyms": ["dermatitis"]}]}` say the same,
        but for the synonym. A name that stands in several places is one node with several parents.

        Raises:
            BadInput: The file is missing or no JSON, or something stands in the place of a name or a group.
        """
        data = _load(source) if isinstance(source, Path) else source
        if not isinstance(data, Mapping) or not data:
            raise BadInput("an ontology is a JSON object of groups", hint='Write {"group": ["disease"]}.')
        return cls(_Tree(data).nodes())

    @classmethod
    def from_tables(cls, terms: Path, edges: Path) -> Ontology:
        """Reads the tables of an ontology, tab-separated.

        Args:
            terms: Columns `id`, `label`, `synonyms` (divided by `|`).
            edges: Columns `subject`, `predicate`, `object`; only `is_a` between terms of the table counts.

        Raises:
            BadInput: A file or a column is missing.
        """
        parents: dict[str, list[str]] = {}
        for _, row in read_rows(edges, ("subject", "predicate", "object"), tabs=True):
            if row["predicate"] == "is_a":
                parents.setdefault(row["subject"], []).append(row["object"])
        return cls(
            Node(
                id=row["id"],
                name=row["label"],
                synonyms=tuple(s for part in row["synonyms"].split("|") if (s := part.strip())),
                parents=tuple(parents.get(row["id"], ())),
            )
            for _, row in read_rows(terms, ("id", "label", "synonyms"), tabs=True)
        )

    def path(self, id_: str) -> tuple[str, ...]:
        """The names from the top group to a disease, its own the last.

        Raises:
            BadInput: No node has the id.
        """
        if id_ not in self._paths:
            raise BadInput(f"the ontology has no node {id_!r}")
        return self._paths[id_]

    def named(self, name: str) -> str:
        """The id of the disease that a name or synonym means, or an empty string."""
        return next(iter(self._index.get(name)), "")

    def is_below(self, id_: str, group: str) -> bool:
        """Whether a node belongs to a group, over any number of steps."""
        seen, todo = {id_}, [id_]
        while todo:
            for parent in self.nodes[todo.pop()].parents:
                if parent == group:
                    return True
                if parent in self.nodes and parent not in seen:
                    seen.add(parent)
                    todo.append(parent)
        return False

    def mentions(self, text: str) -> list[Found]:
        """The diseases that a text names; `values` is empty where the words mean one that is not here.

        The longest name wins. Names of groups alone are no mentions, nor is a name that a word beside it
        makes another disease ("uveal melanoma", "eczema herpeticum").
        """
        return [
            Found((), f.start, f.end) if f.values and _is_another(text, f) else f
            for f in self._index.find(text)
        ]

    def _shortest_paths(self) -> dict[str, tuple[str, ...]]:
        """Grows all paths at once from the top groups, the shortest first."""
        paths: dict[str, tuple[str, ...]] = {}
        below = {child for children in self._children.values() for child in children}
        queue: list[tuple[int, tuple[str, ...], str]]
        queue = [(1, (node.name,), id_) for id_, node in self.nodes.items() if id_ not in below]
        heapq.heapify(queue)
        by_name = iter(sorted((node.name, id_) for id_, node in self.nodes.items()))
        while len(paths) < len(self.nodes):
            if not queue:
                name, id_ = next(by_name)
                queue = [(1, (name,), id_)]
            length, path, id_ = heapq.heappop(queue)
            if id_ in paths:
                continue
            paths[id_] = path
            for child in self._children[id_]:
                heapq.heappush(queue, (length + 1, (*path, self.nodes[child].name), child))
        return paths

    def _names(self) -> PhraseIndex:
        """All names that say one disease: what names two says neither, unless one is a group of the other."""
        means: dict[str, set[str]] = {}
        for names in (self._own_names, self._synonyms, self._short_names):
            said = {key: ids for key, ids in names().items() if key not in means}
            means.update(said)
        phrases = {key: () for key in vocabulary().others} | {
            key: self._agreed(ids) for key, ids in means.items() if key and self._says_a_disease(key)
        }
        every = [name for node in self.nodes.values() for name in (node.name, *node.synonyms)]
        return PhraseIndex(phrases, [n for n in every if n.isupper() and len(n) <= _LONGEST_ABBREVIATION])

    def _own_names(self) -> dict[str, set[str]]:
        return _grouped((normalise(node.name), id_) for id_, node in self.nodes.items())

    def _synonyms(self) -> dict[str, set[str]]:
        return _grouped((normalise(s), id_) for id_, node in self.nodes.items() for s in node.synonyms)

    def _short_names(self) -> dict[str, set[str]]:
        """Names without the word "skin": of a picture of skin nobody says "skin melanoma"."""
        return _grouped(
            (normalise(_SKIN.sub("", name)), id_)
            for id_, node in self.nodes.items()
            for name in (node.name, *node.synonyms)
            if _SKIN.search(name)
        )

    def _agreed(self, ids: set[str]) -> tuple[str, ...]:
        general = [i for i in sorted(ids) if all(i == other or self.is_below(other, i) for other in ids)]
        return tuple(general[:1])

    def _says_a_disease(self, key: str) -> bool:
        return key not in words().no_diagnosis and not words().terms.get(key)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    grouped: dict[str, set[str]] = {}
    for key, id_ in pairs:
        grouped.setdefault(key, set()).add(id_)
    return grouped


def _is_another(text: str, found: Found) -> bool:
    """Whether the words around a name make it another disease."""
    known = vocabulary()
    after = _AFTER.match(text, found.end)
    following = normalise(after[1]) if after else ""
    if following in known.after:
        return True
    last = normalise(text[found.start : found.end]).split()[-1]
    if not last.endswith("oma") and last not in known.growth:
        return False
    before = _BEFORE.search(text[: found.start])
    if before and normalise(before[1]) in known.before:
        return True
    organ = normalise(after[2] or "") if after and following == "of" else ""
    return organ in known.organs | known.before


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list | None) or not all(isinstance(text, str) for text in value or ()):
        raise BadInput(f"the synonyms {value!r} are no list of texts", hint='Write ["one", "two"].')
    return list(value or ())


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", hint="Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{file} is no JSON: {error}", hint="An ontology is a JSON object of groups."
        ) from error


class _Tree:
    """The nodes of an ontology in JSON, in any of its shapes."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._names: dict[str, str] = {}
        self._synonyms: dict[str, list[str]] = {}
        self._parents: dict[str, list[str]] = {}
        todo: list[tuple[Any, str]] = [(data, "")]
        while todo:
            todo.extend(self._read(*todo.pop()))

    def nodes(self) -> list[Node]:
        return [
            Node(id_, name, tuple(self._synonyms[id_]), tuple(self._parents[id_]))
            for id_, name in self._names.items()
        ]

    def _read(self, value: Any, parent: str) -> list[tuple[Any, str]]:
        """Adds what stands at one place below a parent; returns what stands below that."""
        match value:
            case None | "":
                return []
            case str():
                self._add(value, parent)
                return []
            case list():
                return [(item, parent) for item in reversed(value)]
            case {"name": str(name), **rest} if rest.keys() <= {"id", "synonyms", "children", "parents"}:
                id_ = self._add(name, parent)
                self._synonyms[id_] += _texts(rest.get("synonyms"))
                return [(rest.get("children"), id_)]
            case Mapping():
                return [(below, self._add(name, parent)) for name, below in reversed(value.items())]
        raise BadInput(
            f"{value!r} in the ontology is no name and no group", hint="Write names, lists and objects only."
        )

    def _add(self, name: str, parent: str) -> str:
        id_ = normalise(name)
        if not id_:
            raise BadInput(f"{name!r} in the ontology is no name", hint="A name has letters or digits.")
        if id_ in _ROOTS:
            return ""
        self._names.setdefault(id_, name.strip())
        self._synonyms.setdefault(id_, [])
        self._parents.setdefault(id_, [])
        if parent and parent not in self._parents[id_]:
            self._parents[id_].append(parent)
        return id_
