"""Captions of pictures that came without any: from metadata, mask measures and the graph's facts.

Wordings are drawn anew for every batch, and within a batch the same thing is always said in the same words,
so that equal texts mean equal things and are no negatives of each other.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...graph_schema.loading import load_facts
from ...tools.concepts.prompts import prompts
from ...tools.concepts.signs import TELLING
from .aspects import SUB_CAPTIONS, Aspects
from .data import AREA, Known

_SHOWN_FACTS, _LOOKS = 3, 2
_DECADE = 10


@dataclass(frozen=True)
class Label:
    """A diagnosis: its names (the display name first), its path from the top group, its visible signs."""

    names: tuple[str, ...]
    path: tuple[str, ...]
    signs: tuple[str, ...]


def load_labels() -> tuple[dict[str, Label], dict[str, tuple[str, ...]]]:
    """Reads `captions.toml` and the signs of the shipped facts; returns labels and templates."""
    found = tomllib.loads(Path(__file__).with_name("captions.toml").read_text(encoding="utf-8"))
    signs = {
        disease.disease.slug: [fact.object for fact in disease.facts if fact.predicate in TELLING]
        for disease in load_facts().diseases
    }
    labels = {
        key: Label(
            tuple(entry["names"]),
            tuple(entry["path"]),
            tuple(sign for slug in entry["facts"] for sign in signs[slug]),
        )
        for key, entry in found["label"].items()
    }
    return labels, {key: tuple(texts) for key, texts in found["templates"].items()}


class Captioner:
    """Writes the aspects of a picture.

    Args:
        hidden: Labels that no caption may tell of: neither a name, nor a path, nor a sign.
    """

    def __init__(self, hidden: Collection[str] = ()) -> None:
        self.labels, self.templates = load_labels()
        self.hidden = frozenset(hidden)

    def batch(self, known: Sequence[Known], rng: random.Random) -> list[Aspects]:
        """Writes a batch with one choice of wordings."""
        wording = {key: rng.choice(texts) for key, texts in self.templates.items() if key != "size"}
        names = {key: rng.choice(label.names) for key, label in self.labels.items()}
        said = {concept: rng.choice(texts) for concept, texts in prompts().wordings.items()}
        return [self._aspects(one, rng, wording, names, said) for one in known]

    def _aspects(
        self,
        known: Known,
        rng: random.Random,
        wording: Mapping[str, str],
        names: Mapping[str, str],
        said: Mapping[str, str],
    ) -> Aspects:
        label = None if known.label in self.hidden else self.labels.get(known.label)
        name = names[known.label] if label else ""
        there = [said[concept] for concept, is_there in known.concepts.items() if is_there]
        rng.shuffle(there)
        size = self.templates["size"][sum(known.area > limit for limit in AREA)]
        site = wording["site"].format(known.patient["site"]) if "site" in known.patient else ""
        patient = wording["patient"].format(person(known.patient)) if known.patient else ""
        head = wording["named"].format(name) if label else wording["unnamed"]
        shown = wording["shown"].format(" and ".join(there[:3])) if there else ""
        looks = [wording["shown"].format(concept) for concept in there]
        few = _LOOKS if label else SUB_CAPTIONS - 1
        unknown = [said[concept] for concept in said if concept not in known.concepts]
        subs = [site, patient, size, *looks[:few]]
        also = looks[few:] + [wording["shown"].format(concept) for concept in unknown]
        if label:
            signs = [wording["fact"].format(sign) for sign in label.signs]
            rng.shuffle(signs)
            subs += [wording["bare"].format(name), *signs[:_SHOWN_FACTS]]
            also += signs[_SHOWN_FACTS:]
        subs = [text for text in subs if text]
        rng.shuffle(subs)
        path = ", ".join([*label.path, name]) if label else ""
        return Aspects(
            caption=". ".join(filter(None, (head, site, patient, shown))),
            diagnosis=wording["diagnosis"].format(path) if label else "",
            concepts=f"this skin photo shows {', '.join(there)}" if there else "",
            sub_captions=tuple(subs[:SUB_CAPTIONS]),
            also=(*subs[SUB_CAPTIONS:], *also),
        )


def person(patient: Mapping[str, Any]) -> str:
    """A patient in words: the decade of the age, the sex."""
    who = {"male": "man", "female": "woman"}.get(str(patient.get("sex")), "person")
    if "age" not in patient:
        return who
    decade = _DECADE * int(patient["age"] // _DECADE)
    return f"{who} of {decade} to {decade + _DECADE - 1} years"
