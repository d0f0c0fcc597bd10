"""Made-up medicine that nobody has seen, so that the generalist copies rows and does not recite.

Every draw comes from a `Split`; the two splits share letters and everyday words but no disease name, no
drug name and
no invented word, so that a test dialogue is about facts the model cannot know.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import random
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...graph_schema.loading import KIND_OF
from ...graph_schema.multihop import TREATMENT_PAIRS
from ...graph_schema.predicates import QUERIES, state
from ...graph_schema.protocol import FactRow, SourceRef

Split = Literal["train", "test"]
_FORMS = (
    ("{slug}-{kind}-{number}", 6),
    ("{source}-{kind}-{slug}-{digest}", 1),
    ("{slug}{number}.{digest}", 1),
    ("{source}:{digest}", 1),
    ("{source}-{slug}-{kind}{number}", 1),
)
"""Forms of fact ids and their weights: the shipped one first, then what other graphs might have."""

WORDS: dict[str, Any] = {
    key: value.split() if isinstance(value, str) else value
    for key, value in tomllib.loads(
        (Path(__file__).parent / "words.toml").read_text(encoding="utf-8")
    ).items()
}


def _is_test(name: str) -> bool:
    """Assigns a name to the test side by its hash, one in four."""
    return hashlib.sha256(name.lower().encode()).digest()[0] < 64


@cache
def load_names(data: Path | None) -> dict[str, list[str]]:
    """Reads real names (Disease Ontology, Hetionet; both CC0) to rename made-up things with.

    Args:
        data: The folder with `disease_ontology/` and `hetionet_subset/`, or None for invented names only.
    """
    names: dict[str, list[str]] = {"disease": [], "drug": []}
    if data is None:
        return names
    with gzip.open(data / "disease_ontology" / "HumanDO.tsv.gz", "rt", encoding="utf-8") as handle:
        for row in csv.reader(handle, delimiter="\t"):
            if len(row) > 1 and row[1].isascii() and 4 <= len(row[1]) <= 40 and "obsolete" not in row[1]:
                names["disease"].append(row[1].lower())
    with gzip.open(data / "hetionet_subset" / "nodes.tsv.gz", "rt", encoding="utf-8") as handle:
        for row in csv.reader(handle, delimiter="\t"):
            if len(row) > 2 and row[2] == "Compound" and row[1].isascii() and len(row[1]) < 30:
                names["drug"].append(row[1].lower())
    return {kind: sorted(set(values)) for kind, values in names.items()}


def load_phrases(facts: Path) -> list[str]:
    """Reads the objects of the shipped facts; in training they are given to other subjects and predicates."""
    phrases = [
        fact["object"]
        for file in sorted(facts.glob("*.toml"))
        for fact in tomllib.loads(file.read_text(encoding="utf-8")).get("fact", [])
    ]
    return sorted(set(phrases))


@dataclass
class Disease:
    """A disease of one made-up world, with its rows made on first use."""

    name: str
    slug: str
    rows: dict[str, list[FactRow]] = field(default_factory=dict)


class World:
    """One dialogue's medicine.

    Args:
        rng: Source of all choices.
        split: Which names may be used.
        names: Real names from `load_names`.
        phrases: Real object phrases from `load_phrases` (training only; test worlds invent theirs).
        labels: Display names of the specialist's labels, used for some of the diseases.
        brief: Whether objects are short.
    """

    def __init__(
        self,
        rng: random.Random,
        split: Split,
        names: dict[str, list[str]],
        phrases: list[str],
        labels: list[str],
        brief: bool = False,
    ) -> None:
        self.rng = rng
        self.brief = brief
        self.split = split
        self._names = names
        self._phrases = phrases
        self._labels = labels
        self._by_name: dict[str, Disease] = {}
        self._nodes: dict[str, list[str]] = {}
        self._pairs: dict[tuple[str, str, str], list[FactRow]] = {}
        self._form = rng.choices([f for f, _ in _FORMS], [w for _, w in _FORMS])[0]
        self._kinds = KIND_OF if rng.random() < 0.6 else {p: self._letters(2, 6) for p in KIND_OF}
        self._source = self._letters(2, 5)
        self._ids: set[str] = set()

    def _letters(self, least: int, most: int) -> str:
        return "".join(
            self.rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(self.rng.randint(least, most))
        )

    def word(self, kind: str) -> str:
        """Invents a word of this split."""
        while True:
            rng = self.rng
            text = "".join(
                rng.choice(WORDS["onsets"])
                + rng.choice(WORDS["vowels"])
                + (rng.choice(WORDS["codas"]) if rng.random() < 0.35 else "")
                for _ in range(rng.choice((1, 2, 2, 3)))
            )
            text += rng.choice(WORDS["endings"][kind])
            if len(text) > 3 and _is_test(text) == (self.split == "test"):
                return text

    def _real(self, kind: str) -> str | None:
        pool = self._names[kind]
        for _ in range(20):
            if not pool:
                return None
            name = self.rng.choice(pool)
            if _is_test(name) == (self.split == "test"):
                return name
        return None

    def disease_name(self) -> str:
        """Draws a disease name: real (with other facts), invented, or an abbreviation."""
        roll = self.rng.random()
        if roll < 0.55:
            name = self._real("disease")
            if name is not None:
                return name
        if roll > 0.96:
            return "".join(
                self.rng.choice("ABCDEFGHIKLMNOPRSTUVWXZ") for _ in range(self.rng.choice((2, 3, 4)))
            )
        parts = [self.word("disease")]
        if self.rng.random() < 0.45:
            parts.insert(0, self.rng.choice((self.word("word"), self.rng.choice(WORDS["adjectives"]))))
        if self.rng.random() < 0.15:
            parts += ["of", "the", self.rng.choice(WORDS["nouns"])]
        return " ".join(parts)

    def _noun_group(self) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.2:
            head = self._real("drug") or self.word("drug")
        elif roll < 0.4:
            head = self.word("word")
        else:
            head = rng.choice(WORDS["nouns"])
        adjective = rng.choice(WORDS["adjectives"]) if rng.random() < 0.5 else ""
        number = ""
        if rng.random() < 0.12:
            amount = rng.choice((rng.randint(1, 9), rng.randint(10, 99), rng.randint(1, 9) / 10))
            number = f"{amount} {rng.choice(WORDS['units'])} "
        article = rng.choice(("a ", "the ", "", "", ""))
        return f"{article}{number}{adjective + ' ' if adjective else ''}{head}"

    def phrase(self) -> str:
        """Draws an object: a noun phrase of 1 to 16 words."""
        rng = self.rng
        if self.brief:
            return self._noun_group()
        if self._phrases and self.split == "train" and rng.random() < 0.4:
            return rng.choice(self._phrases)
        text = self._noun_group()
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
            joint = rng.choice((*WORDS["links"], ","))
            text += (", " if joint == "," else f" {joint} ") + self._noun_group()
        return text

    def disease(self, name: str | None = None) -> Disease:
        """Returns a disease of this world, made when it is new."""
        if name is None:
            name = self.disease_name()
        if name not in self._by_name:
            slug = "".join(c for c in name.lower() if c.isalpha())[: self.rng.choice((2, 3, 4, 5, 8))] or "dx"
            self._by_name[name] = Disease(name, slug)
        return self._by_name[name]

    def label(self) -> str:
        """Draws the display name of a specialist's label."""
        if self._labels and self.rng.random() < 0.5:
            return self.rng.choice(self._labels)
        return self.disease_name()

    def rows(self, query: str, diseases: list[str], limit: int = 5) -> list[FactRow]:
        """Answers a named query with made-up rows, the same ones each time it is asked."""
        if query in TREATMENT_PAIRS:
            a, b = (self._canonical(name)[0] for name in diseases)
            return self._treatments(query, a, b)[:limit] if a != b else []
        if query == "differential" and len(diseases) > 1:
            pairs = [
                (x, y)
                for a in diseases
                for b in diseases
                if a != b
                for x in self._canonical(a)
                for y in self._canonical(b)
            ]
            found = [r for x, y in pairs if x != y for r in self._pair(x, y)]
            return found[:limit]
        found = []
        for name in (node for asked in diseases for node in self._canonical(asked)):
            disease = self.disease(name)
            if query not in disease.rows:
                disease.rows[query] = self._make(disease, query)
            found += disease.rows[query]
        return found[:limit]

    def _canonical(self, asked: str) -> list[str]:
        """What an asked name stands for: itself, sometimes a synonym, or the two nodes of one label."""
        if asked not in self._nodes:
            count = self.rng.choices((0, 1, 2), (0.87, 0.08, 0.05))[0]
            self._nodes[asked] = [self.disease_name() for _ in range(count)] or [asked]
        return self._nodes[asked]

    def _row(
        self, disease: Disease, predicate: str, number: int, other: str = "", text: str | None = None
    ) -> FactRow:
        text = self.phrase() if text is None else text
        digest = self.rng.randrange(16**5)
        return FactRow(
            fact_id=self._id(disease.slug, self._kinds[predicate], number, digest),
            statement=state(predicate, disease.name, text, other),
            source=SourceRef(id="made-up", title="made up for training"),
            subject=disease.name,
            predicate=f"{predicate} {other}" if other else predicate,
            object=text,
        )

    def _id(self, slug: str, kind: str, number: int, digest: int) -> str:
        """An id that no other row has, as in a real graph: counted on where it is taken."""
        fields = {"slug": slug, "kind": kind, "source": self._source}
        while (
            made := self._form.format(**fields, number=number, digest=f"{digest % 16**5:05x}")
        ) in self._ids:
            number, digest = number + 1, digest + 1
        self._ids.add(made)
        return made

    def _treatments(self, query: str, a: str, b: str) -> list[FactRow]:
        """Two rows a treatment: the same one for both diseases, or one to give and one to avoid."""
        if (query, a, b) not in self._pairs:
            rng = self.rng
            found = []
            for number in range(1, 1 + rng.choice((0, 1, 1, 2))):
                given = rng.choice(("first-line treatment", "further treatment"))
                also = "avoid" if query == "treatments_conflict" else rng.choice((given, "further treatment"))
                text = self.phrase()
                second = text if rng.random() < 0.6 else self.phrase()
                found.append(self._row(self.disease(a), given, number, text=text))
                found.append(self._row(self.disease(b), also, number, text=second))
            self._pairs[query, a, b] = found
        return self._pairs[query, a, b]

    def _pair(self, a: str, b: str) -> list[FactRow]:
        disease = self.disease(a)
        key = f"differential {b}"
        if key not in disease.rows:
            start = self.rng.randint(1, 6)
            disease.rows[key] = [
                self._row(disease, "differs from", start + i, b)
                for i in range(self.rng.choice((0, 1, 1, 1, 2)))
            ]
        return disease.rows[key]

    def _make(self, disease: Disease, query: str) -> list[FactRow]:
        rng = self.rng
        rows = []
        for predicate in QUERIES[query]:
            for number in range(
                1, 1 + rng.choice((0, 1, 1, 2, 3) if len(QUERIES[query]) > 1 else (1, 2, 3, 4))
            ):
                other = self.disease_name() if predicate == "differs from" else ""
                rows.append(self._row(disease, predicate, number, other))
        return rows or [self._row(disease, QUERIES[query][0], 1)]
