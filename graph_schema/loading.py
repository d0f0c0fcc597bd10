"""Reads and checks fact files: every problem is named with its file, line and fact."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import BadInput, KGUnavailable
from .paths import FACTS
from .predicates import PREDICATES
from .schema import XREFS

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\n\r|\[\]]+$")
]
Curie = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][\w.]*:[\w.\-]+$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
KINDS = dict(
    zip(
        "def site sign derm risk cause test treat further avoid comp prog flag diff".split(),
        PREDICATES,
        strict=True,
    )
)
"""The middle part of a fact id -> its predicate; the table's order is that of `PREDICATES`."""
KIND_OF = {predicate: kind for kind, predicate in KINDS.items()}
MAX_WORDS = {"definition": 25}
_OBJECT_WORDS = 16
T = TypeVar("T", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DiseaseEntry(_Strict):
    """The `[disease]` table of a fact file."""

    slug: Slug
    curie: Curie
    name: Text
    synonyms: list[Text] = []
    lay: list[Text] = []
    abbreviations: list[Text] = []
    parents: list[Curie] = []
    xrefs: dict[str, str] = {}


class FactEntry(_Strict):
    """One `[[fact]]` table."""

    id: Slug
    predicate: str
    object: Text
    source: str
    section: str = ""
    node: Text | None = None
    other: Curie | None = None


class SourceEntry(_Strict):
    """One `[[source]]` table of sources.toml."""

    id: Slug
    organisation: str = ""
    title: Text
    year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    identifier: str = ""
    kind: str = ""


@dataclass(frozen=True)
class DiseaseFile:
    """One checked fact file."""

    path: Path
    disease: DiseaseEntry
    facts: tuple[FactEntry, ...]


@dataclass(frozen=True)
class FactBase:
    """All checked facts and sources of a folder."""

    diseases: tuple[DiseaseFile, ...]
    sources: tuple[SourceEntry, ...]


class BadFacts(BadInput):
    """Fact files that cannot be used.

    Attributes:
        problems: One line each, `file:line: reason`.
    """

    def __init__(self, problems: list[str]) -> None:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        super().__init__("facts refused: " + "; ".join(problems[:5]) + more + ".", hint="Nothing was built.")
        self.problems = problems


def load_facts(folder: Path | None = None) -> FactBase:
    """Reads a folder of fact files.

    Args:
        folder: With `sources.toml` and one file per disease; default: the shipped facts.

    Raises:
        KGUnavailable: No such folder, or it holds no facts.
        BadFacts: Anything is malformed, unknown, doubled or dangling; all problems at once.
    """
    folder = folder or FACTS
    paths = [p for p in sorted(folder.glob("*.toml")) if p.name != "sources.toml"]
    if not paths or not (folder / "sources.toml").is_file():
        raise KGUnavailable(f"no facts in {folder}.", hint="It needs sources.toml and one file per disease.")
    reader = _Reader()
    sources = tuple(reader.entries(folder / "sources.toml", "source", SourceEntry))
    files = []
    for path in paths:
        disease = reader.one(path, "disease", DiseaseEntry)
        facts = tuple(reader.entries(path, "fact", FactEntry))
        if disease:
            files.append(DiseaseFile(path, disease, facts))
    reader.check(files, sources)
    if reader.problems:
        raise BadFacts(reader.problems)
    files.sort(key=lambda file: file.disease.slug)  # So that file names do not matter.
    return FactBase(tuple(files), sources)


def facts_digest(folder: Path | None = None) -> str:
    """Returns a hash of a folder's fact files, to see cheaply whether a built graph is current."""
    digest = hashlib.sha256()
    for path in sorted((folder or FACTS).glob("*.toml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class _Reader:
    """Parses files and gathers problems."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._texts: dict[Path, str] = {}
        self._tables: dict[Path, dict[str, Any]] = {}

    def table(self, path: Path) -> dict[str, Any]:
        if path not in self._tables:
            self._texts[path] = ""
            self._tables[path] = {}
            try:
                self._texts[path] = path.read_text(encoding="utf-8")
                self._tables[path] = tomllib.loads(self._texts[path])
            except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                self.problems.append(f"{path.name}: {error}")
            allowed = {"source"} if path.name == "sources.toml" else {"disease", "fact"}
            for key in set(self._tables[path]) - allowed:
                self.complain(path, key, f"unknown table {key!r}")
        return self._tables[path]

    def complain(self, path: Path, mark: str, reason: str) -> None:
        lines = self._texts.get(path, "").splitlines()
        number = next((i for i, line in enumerate(lines, 1) if mark and mark in line), 1)
        self.problems.append(f"{path.name}:{number}: {reason}")

    def parse(self, path: Path, raw: Any, kind: type[T], mark: str) -> T | None:
        try:
            return kind.model_validate(raw)
        except ValidationError as error:
            for e in error.errors():
                where = ".".join(str(part) for part in e["loc"])
                self.complain(path, mark, f"{mark} {where}: {e['msg']}")
            return None

    def one(self, path: Path, key: str, kind: type[T]) -> T | None:
        table = self.table(path)
        return self.parse(path, table.get(key, {}), kind, key) if table else None

    def entries(self, path: Path, key: str, kind: type[T]) -> list[T]:
        raws = self.table(path).get(key, [])
        if not isinstance(raws, list):
            self.complain(path, key, f"{key} must be an array of tables")
            return []
        marks = [f'"{raw.get("id")}"' if isinstance(raw, dict) else key for raw in raws]
        parsed = [self.parse(path, raw, kind, mark) for raw, mark in zip(raws, marks, strict=True)]
        return [entry for entry in parsed if entry]

    def check(self, files: list[DiseaseFile], sources: tuple[SourceEntry, ...]) -> None:
        """Checks what holds between entries."""
        by_id = {s.id for s in sources}
        curies = {f.disease.curie for f in files}
        seen: dict[str, str] = {}
        for value, path in [(s.id, "sources.toml") for s in sources]:
            self._once(seen, "source", value, path)
        for file in files:
            for kind, value in (
                ("slug", file.disease.slug),
                ("curie", file.disease.curie),
                ("name", file.disease.name),
            ):
                self._once(seen, kind, value, file.path.name)
            for key in set(file.disease.xrefs) - set(XREFS):
                self.complain(file.path, key, f"unknown code system {key!r}; known: {', '.join(XREFS)}")
            for fact in file.facts:
                self._once(seen, "fact", fact.id, file.path.name)
                for reason in _problems(fact, file.disease, by_id, curies):
                    self.complain(file.path, f'"{fact.id}"', f"{fact.id}: {reason}")

    def _once(self, seen: dict[str, str], kind: str, value: str, name: str) -> None:
        if (key := f"{kind} {value}") in seen:
            self.problems.append(f"{name}: {key} is already in {seen[key]}")
        seen[key] = name


def _problems(fact: FactEntry, disease: DiseaseEntry, sources: set[str], curies: set[str]) -> list[str]:
    problems = []
    match = re.fullmatch(rf"{re.escape(disease.slug)}-([a-z]+)-\d+", fact.id)
    if not match or match.group(1) not in KINDS:
        problems.append(f"id must be {disease.slug}-<kind>-<number>, kinds: {', '.join(KINDS)}")
    if fact.predicate not in PREDICATES:
        problems.append(f"unknown predicate {fact.predicate!r}")
    elif match and KINDS.get(match.group(1)) not in (None, fact.predicate):
        problems.append(f"the id says {KINDS[match.group(1)]!r}, the predicate {fact.predicate!r}")
    if fact.source not in sources:
        problems.append(f"unknown source {fact.source!r}")
    most = MAX_WORDS.get(fact.predicate, _OBJECT_WORDS)
    if len(fact.object.split()) > most:
        problems.append(f"object has {len(fact.object.split())} words, at most {most}")
    if fact.object.endswith("."):
        problems.append("object is a phrase, without a full stop")
    differs = fact.predicate == "differs from"
    if differs != (fact.other is not None):
        problems.append("`other` belongs to 'differs from' and only there")
    if fact.other == disease.curie or (fact.other and fact.other not in curies):
        problems.append(f"other {fact.other} is not another disease of these files")
    return problems
