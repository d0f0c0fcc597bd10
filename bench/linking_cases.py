"""The mentions of `bench.linking`: from ontologies and patients' questions, for any graph."""

from __future__ import annotations

import csv
import gzip
import json
import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import BadInput
from ..graph_schema.folding import normalise

HERE = Path(__file__).parent
OTHERS = 300
"""Diseases of the ontology outside its skin branch that are drawn as names of nothing in the graph."""
_MONDO_LABELS = ("doid", "ncit", "icd11.foundation")


@dataclass(frozen=True)
class Mention:
    """A name as somebody wrote it.

    Attributes:
        kind: Where it comes from: `ontology, spelling`, `ontology, words`, `question`, `typo`,
            `other disease`, `question, other`, `everyday`.
        text: The name.
        curie: What it means; an empty string for nothing of the graph.
        around: The text it stands in, for questions.
    """

    kind: str
    text: str
    curie: str
    around: str = ""


@dataclass(frozen=True)
class Names:
    """The names a graph stores.

    Attributes:
        listed: (CURIE, name as written).
        doids: DOIDs that stand for a disease of the graph: its CURIE, or a mapping of it.
    """

    listed: tuple[tuple[str, str], ...]
    doids: frozenset[str]

    @cached_property
    def stored(self) -> frozenset[str]:
        """Normal forms of all names."""
        return frozenset(normalise(name) for _, name in self.listed)

    @cached_property
    def curies(self) -> frozenset[str]:
        """Every disease."""
        return frozenset(curie for curie, _ in self.listed)


def _open(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise BadInput(
            f"{path} is missing.", hint="--data names the folder with disease_ontology and the others."
        )
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as lines:
        yield from lines


def mondo_labels(data: Path) -> Iterator[tuple[str, str, str]]:
    """Yields (MONDO id, mapped id, label) of the exact matches that carry a label."""
    for target in _MONDO_LABELS:
        path = data / "mondo_mappings" / f"mondo_exactmatch_{target}.sssom.tsv.gz"
        rows = csv.DictReader((line for line in _open(path) if line[0] != "#"), delimiter="\t")
        for row in rows:
            yield row["subject_id"], row["object_id"], row["subject_label"]
            yield row["subject_id"], row["object_id"], row["object_label"]


def synonyms(data: Path) -> Iterator[tuple[str, str, bool]]:
    """Yields (DOID, name, whether it is current) of the Disease Ontology: labels and exact synonyms.

    The current release is there for the skin branch, a release of 2018 for all.
    """
    folder = data / "disease_ontology"
    for row in csv.DictReader(_open(folder / "do_skin_terms.tsv"), delimiter="\t"):
        yield from ((row["id"], name.strip(), True) for name in [row["label"], *row["synonyms"].split("|")])
    graph = json.loads("".join(_open(folder / "doid-2018-07-05.json.gz")))["graphs"][0]
    for node in graph["nodes"]:
        doid, meta = node["id"].rsplit("/", 1)[-1].replace("_", ":"), node.get("meta", {})
        if doid.startswith("DOID:") and "lbl" in node and not meta.get("deprecated"):
            exact = [s["val"] for s in meta.get("synonyms", []) if s["pred"] == "hasExactSynonym"]
            yield from ((doid, name, False) for name in [node["lbl"], *exact])


def ontology_mentions(data: Path, names: Names) -> list[Mention]:
    """Names that ontologies give to the graph's diseases and that the graph does not store as written.

    `ontology, spelling`: a stored name in another spelling (the normal form is there); `ontology, words`:
    other words. Left out are names by inner organ ("… of lung" of a disease that the graph knows on the
    skin: a modifier that makes another disease must not match) and names that hold one of another disease of
    the graph (the ontology lists "cellulitis and abscess of face" under onychomycosis).
    """
    found: dict[tuple[str, str], Mention] = {}
    inner = {normalise(word) for word in _table()["inner"]}
    others = {curie: _foreign(names, curie) for curie in names.curies}
    written = {name.casefold() for _, name in names.listed}
    said = [(doid, name) for doid, name, current in synonyms(data) if doid in names.curies and current]
    said += [
        (curie, label) for a, b, label in mondo_labels(data) for curie in (a, b) if curie in names.curies
    ]
    for curie, name in said:
        form = normalise(name)
        if inner & set(form.split()) or _holds(form, others[curie]):
            continue
        kind = "ontology, spelling" if form in names.stored else "ontology, words"
        if form and name.casefold() not in written:
            found.setdefault((curie, name.casefold()), Mention(kind, name, curie))
    return list(found.values())


def _foreign(names: Names, curie: str) -> set[str]:
    """Names of other diseases, less those within a name of this one (dermatitis in seborrheic dermatitis)."""
    own = [f" {normalise(name)} " for c, name in names.listed if c == curie]
    forms = {normalise(name) for c, name in names.listed if c != curie and len(name) > 4}
    return {form for form in forms if not any(f" {form} " in mine for mine in own)}


def _holds(form: str, others: set[str]) -> bool:
    return any(f" {other} " in f" {form} " for other in others)


def other_diseases(data: Path, names: Names, seed: int = 0) -> list[Mention]:
    """Labels of diseases outside the graph: all of the ontology's skin branch, and a draw of the rest."""
    labels: dict[str, str] = {}
    known, skin = set(names.doids), set()
    for doid, name, current in synonyms(data):
        labels.setdefault(doid, name)
        if normalise(name) in names.stored:
            known.add(doid)
        if current:
            skin.add(doid)
    rest = sorted(set(labels) - skin - known)
    drawn = random.Random(seed).sample(rest, min(OTHERS, len(rest)))
    return [Mention("other disease", labels[doid], "") for doid in [*sorted(skin - known), *drawn]]


def question_texts(data: Path) -> dict[tuple[str, str], str]:
    """Title and content of every patient's question, by encounter and field."""
    texts: dict[tuple[str, str], str] = {}
    for name in ("iiyi_train", "iiyi_valid_ht"):
        for entry in json.loads("".join(_open(data / "dermavqa" / f"{name}.json.gz"))):
            for field in ("title", "content"):
                texts[entry["encounter_id"], field] = entry[f"query_{field}_en"] or ""
    return texts


def question_mentions(data: Path, names: Names) -> list[Mention]:
    """The marked places of patients' questions; a disease that the graph lacks counts as nothing to link."""
    texts = question_texts(data)
    found = []
    for row in csv.DictReader(_open(HERE / "linking_mentions.tsv"), delimiter="\t"):
        around = texts[row["encounter"], row["field"]]
        text = around[int(row["start"]) : int(row["end"])]
        if row["curie"] in names.curies:
            found.append(Mention("question", text, row["curie"], around))
        elif normalise(text) not in names.stored:
            found.append(Mention("question, other", text, ""))
    return found


def typos(names: Names, seed: int = 0) -> list[Mention]:
    """Up to three names of each disease with one letter of the longest word dropped, doubled or wrong."""
    rng = random.Random(seed)
    found = []
    for curie in sorted(names.curies):
        mine = sorted(n for c, n in names.listed if c == curie and max(map(len, n.split())) >= 5)
        for name in rng.sample(mine, min(3, len(mine))):
            words = name.split()
            at = max(range(len(words)), key=lambda i: len(words[i]))
            words[at] = _typo(words[at], rng)
            if normalise(" ".join(words)) not in names.stored:
                found.append(Mention("typo", " ".join(words), curie))
    return found


def _typo(word: str, rng: random.Random) -> str:
    i = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:i] + word[i + 1 :]
    if kind == 1:
        return word[:i] + word[i] + word[i:]
    if kind == 2:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + rng.choice("aeiorstn") + word[i + 1 :]


def everyday() -> list[Mention]:
    """Words that mean nothing of the graph."""
    return [Mention("everyday", text, "") for text in _table()["everyday"]]


def _table() -> dict[str, list[str]]:
    return tomllib.loads((HERE / "linking.toml").read_text(encoding="utf-8"))
