"""An optional third step of linking: the nearest names by any langchain-core `Embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from langchain_core.embeddings import Embeddings

from .folding import normalise
from .paths import load_query
from .protocol import KnowledgeGraph, Link
from .vocabulary import vocabulary


class NameVectors:
    """The graph's disease names as vectors, held in memory; `linking.link` asks it when no spelling helps.

    How near is near enough depends on the model, so the floor has no default: measure it on names that mean
    nothing (`bench.linking` does). A word that makes another disease still means nothing, however near.
    """

    def __init__(self, kg: KnowledgeGraph, embeddings: Embeddings, *, floor: float) -> None:
        """Embeds every name once.

        Args:
            kg: The graph.
            embeddings: Any LangChain embedding model.
            floor: Least cosine, -1..1.
        """
        self._embeddings, self._floor = embeddings, floor
        self._names = [(row["id"], row["name"]) for row in kg.query(load_query("names"))]
        curies = sorted({curie for curie, _ in self._names})
        rows = kg.query(load_query("diseases"), {"diseases": curies})
        self._display = {row["id"]: row["name"] for row in rows}
        vectors = embeddings.embed_documents([name for _, name in self._names]) if self._names else []
        self._vectors = [_unit(vector) for vector in vectors]

    def near(self, text: str, k: int) -> list[Link]:
        """Returns the diseases whose names are nearest and near enough, best first."""
        words = set(normalise(text).split())
        known = vocabulary()
        if (
            not words
            or words & (known.before | known.after | known.organs)
            or normalise(text) in known.others
        ):
            return []
        asked = _unit(self._embeddings.embed_query(text))
        best: dict[str, Link] = {}
        for (curie, name), vector in zip(self._names, self._vectors, strict=True):
            cosine = sum(a * b for a, b in zip(asked, vector, strict=True))
            if cosine >= self._floor and (curie not in best or cosine > best[curie].score):
                best[curie] = Link(
                    curie=curie, name=self._display[curie], matched=name, score=round(cosine, 4), how="vector"
                )
        return sorted(best.values(), key=lambda m: (-m.score, m.name, m.curie))[:k]


def _unit(vector: Sequence[float]) -> list[float]:
    length = sqrt(sum(x * x for x in vector)) or 1.0
    return [x / length for x in vector]
