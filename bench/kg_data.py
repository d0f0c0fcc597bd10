"""Made-up graphs of any size with the shape of the shipped one: the material of `bench.kg`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from ..graph_schema.build import target_id, wording
from ..graph_schema.folding import normalise
from ..graph_schema.linking import term_id
from ..graph_schema.predicates import PREDICATES, Predicate, state
from ..graph_schema.schema import WORDED

Row = dict[str, Any]

FACTS = 35
"""Facts of a disease, as many as in the shipped graph; with five names a disease that is 4 edges a node."""
NAMES = 5
_SYLLABLES = (
    "ba ce di fo gu la me ni po ru sa te vi xo zu bra cle dri flo gnu pla ster vin mor tal ken".split()
)
_HEADS = "keratosis dermatitis carcinoma nevus syndrome disease tumour erythema lichen fibroma".split()
_SHARE = {
    "clinical sign": 7, "dermoscopic sign": 2, "site": 3, "risk factor": 3, "cause": 2, "test": 3,
    "first-line treatment": 2, "further treatment": 3, "avoid": 1, "complication": 2, "prognosis": 1,
    "red flag": 1, "definition": 1, "differs from": 4,
}  # fmt: skip
"""Facts of each relation; in all `FACTS`."""


class Made:
    """A made-up graph of about `nodes` nodes and four times as many relationships, made anew when read.

    Attributes:
        diseases: (CURIE, names) of every disease.
    """

    def __init__(self, nodes: int, seed: int = 0) -> None:
        rng = random.Random(f"{seed}/{nodes}")
        words = _Words(rng, max(400, nodes // 20))
        self.version = f"bench-{nodes}-{seed}"
        self.diseases = [(f"BENCH:{i:07d}", [words.name() for _ in range(NAMES)]) for i in range(nodes // 10)]
        total = FACTS - _SHARE["differs from"]
        shares: dict[str, int] = {}
        for predicate in PREDICATES.values():
            if predicate.target != "Disease":
                shares[predicate.target] = shares.get(predicate.target, 0) + _SHARE[predicate.name]
        self.pools = {
            label: sorted({words.phrase() for _ in range(int(0.4 * nodes * share / total))})
            for label, share in shares.items()
        }

    def nodes(self) -> Iterator[tuple[str, list[Row]]]:
        """Yields (label, rows) of every label; a target is shared by about eight facts."""
        source = {"id": "bench", "title": "made up for a benchmark", "year": 2026}
        yield "Source", [source]
        yield "GraphInfo", [{"id": "graph", "version": self.version}]
        yield (
            "Disease",
            [
                {"id": curie, "name": names[0], "slug": curie[6:], "synonyms": names[1:], "parents": []}
                for curie, names in self.diseases
            ],
        )
        terms = {term_id(name): normalise(name) for _, names in self.diseases for name in names}
        yield "Term", [{"id": id_, "text": text} for id_, text in terms.items()]
        for label in WORDED:
            pool = self.pools[label]
            yield "Wording", [wording(label, target_id(label, text), text, text) for text in pool]
        for label, pool in self.pools.items():
            yield label, [{"id": target_id(label, text), "name": text} for text in pool]

    def edges(self) -> Iterator[tuple[tuple[str, str, str], list[Row]]]:
        """Yields ((type, source label, target label), rows), one relation at a time."""
        named = []
        for curie, names in self.diseases:
            for kind, name in zip(("name", *["synonym"] * NAMES), dict.fromkeys(names), strict=False):
                edge = {"surface": name, "kind": kind, "label": "Disease"}
                named.append({"src": term_id(name), "dst": curie, **edge})
        yield ("NAMES", "Term", "Disease"), named
        for predicate in PREDICATES.values():
            rows = [row for curie, names in self.diseases for row in self.facts(predicate, curie, names[0])]
            yield (predicate.edge, "Disease", predicate.target), rows

    def facts(self, predicate: Predicate, curie: str, name: str) -> Iterator[Row]:
        """Yields the facts of one relation of one disease, the same ones each time."""
        rng = random.Random(f"{curie}/{predicate.name}/{self.version}")
        for rank in range(1, _SHARE[predicate.name] + 1):
            if predicate.target == "Disease":
                target, others = rng.choice(self.diseases)
                text, other = f"what it does not share with {others[0]}", others[0]
            else:
                text, other = rng.choice(self.pools[predicate.target]), ""
                target = target_id(predicate.target, text)
            yield {
                "src": curie, "dst": target, "fact_id": f"{curie}-{predicate.name}-{rank}",
                "statement": state(predicate.name, name, text, other), "predicate": predicate.name,
                "object": text, "rank": rank, "source": "bench", "section": "", "reviewed": False,
                "support": "recalled",
            }  # fmt: skip


class _Words:
    """Words with a few common ones and many rare ones, as in real names."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.rng = rng
        self.words = sorted(
            {"".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 3, 3, 4)))) for _ in range(size)}
        )

    def word(self) -> str:
        return self.words[int(len(self.words) * self.rng.random() ** 3)]

    def name(self) -> str:
        return f"{self.word()} {self.word()} {self.rng.choice(_HEADS)}"

    def phrase(self) -> str:
        return " ".join(self.word() for _ in range(self.rng.choice((2, 3, 4))))
