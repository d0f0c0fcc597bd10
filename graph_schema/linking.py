"""From words to nodes: exact names first, then names that are nearly spelt so, or honestly nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BadInput
from .paths import load_query
from .protocol import KnowledgeGraph, Link
from .text import noise, normalise, rank_names, spans, telling

FLOOR = 0.8
"""Least score of a misspelt name. "keratosis" against "solar keratosis" scores 0.78: half is not enough."""
MENTION_FLOOR = 0.85
"""Within a sentence most words are no names at all, so a misspelling must be closer."""
MAX_TEXT = 8000
MAX_NAME = 200
_LONGEST_NAME = 8
_KINDS = ("name", "synonym", "lay", "abbreviation")


def term_id(text: str) -> str:
    """Returns the id of the Term node of a name (any spelling that has the same normal form)."""
    return f"TERM:{normalise(text).replace(' ', '_')}"


def link(
    kg: KnowledgeGraph, text: str, k: int = 5, floor: float = FLOOR, *, label: str | None = "Disease"
) -> list[Link]:
    """Finds the nodes that a name may mean.

    Args:
        kg: The graph.
        text: A name in any common spelling, or a CURIE.
        k: Most results.
        floor: Least score of an inexact match, 0..1.
        label: Only nodes of this label; None for all.

    Returns:
        Exact matches (several when the name is shared), else near ones best first, else an empty list. `how`
        is one of `curie`, `name`, `synonym`, `lay`, `abbreviation`, `misspelling`.

    Raises:
        BadInput: Empty or longer than 200 characters.
    """
    text = text.strip()
    if not text:
        raise BadInput("no name given")
    if len(text) > MAX_NAME:
        raise BadInput(f"a name has at most {MAX_NAME} characters")
    if ":" in text and label in (None, "Disease"):
        rows = kg.query(load_query("diseases"), {"diseases": [text, _upper_prefix(text)]})
        if rows:
            return [_link({**rows[0], "label": "Disease", "matched": text}, 1.0, "curie")]
    exact = _exact(kg, [term_id(text)], label).get(term_id(text), [])
    if exact:
        return exact[:k]
    rows = kg.search(text, 4 * k)
    near = [r for r in rows if r["score"] >= floor and label in (None, r["label"])]
    return [_link(row, row["score"], "misspelling") for row in near][:k]


def find_mentions(kg: KnowledgeGraph, text: str) -> list[Link]:
    """Finds the diseases that a sentence names.

    The longest name wins where names overlap. Words outside every exact name are then tried as misspellings.
    Two-letter abbreviations count only in capitals ("AK", not "ak").

    Args:
        kg: The graph.
        text: Free text; what follows 8,000 characters is not read.

    Returns:
        Links in the order of the text; `matched` is the part of the text.
    """
    text = text[:MAX_TEXT]
    words = spans(text)
    grams = [(i, j) for i in range(len(words)) for j in range(i + 1, min(i + _LONGEST_NAME, len(words)) + 1)]
    ids = {(i, j): "TERM:" + "_".join(w for w, _, _ in words[i:j]) for i, j in grams}
    exact = _exact(kg, sorted(set(ids.values())), "Disease")
    found: list[tuple[int, list[Link]]] = []
    taken: set[int] = set()

    def take(i: int, j: int, links: Sequence[Link]) -> None:
        matched = text[words[i][1] : words[j - 1][2]]
        found.append((i, [m.model_copy(update={"matched": matched}) for m in links]))
        taken.update(range(i, j))

    longest_first = sorted(grams, key=lambda g: (g[0] - g[1], g[0]))
    for i, j in longest_first:
        links = exact.get(ids[i, j], [])
        raw = text[words[i][1] : words[j - 1][2]]
        if links and not taken & set(range(i, j)) and not _by_chance(raw, links):
            take(i, j, links)
    near = kg.near_names(" ".join(text[a:b] for n, (_, a, b) in enumerate(words) if n not in taken))
    near = [row for row in near if row["label"] == "Disease"]
    for i, j in longest_first if near else []:
        if j - i > 4 or taken & set(range(i, j)):
            continue
        part = [w for w, _, _ in words[i:j]]
        if noise(part[0]) or noise(part[-1]) or not telling(part):  # "the melanom" is the one word "melanom".
            continue
        best = rank_names(text[words[i][1] : words[j - 1][2]], near, 3)
        if best and best[0]["score"] >= MENTION_FLOOR:
            take(i, j, [_link(r, r["score"], "misspelling") for r in best if r["score"] == best[0]["score"]])
    seen: set[str] = set()
    ordered = [m for _, links in sorted(found, key=lambda f: f[0]) for m in links]
    return [m for m in ordered if not (m.curie in seen or seen.add(m.curie))]  # type: ignore[func-returns-value]


def resolve(kg: KnowledgeGraph, name: str) -> list[Link]:
    """Returns the one meaning of a name: several links only when equally good ones share it.

    A name of the form "A or B" that is no name itself means both.
    """
    links = link(kg, name, 10)
    best = [m for m in links if m.score == links[0].score]
    if best and best[0].how != "misspelling":
        return best
    parts = [part for part in name.split(" or ") if part.strip()]
    if len(parts) > 1:
        both = [[m for m in link(kg, part, 10) if m.how != "misspelling"] for part in parts]
        if all(both):
            return list({m.curie: m for links in both for m in links}.values())
    return best


def _exact(kg: KnowledgeGraph, ids: Sequence[str], label: str | None) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {}
    for start in range(0, len(ids), 2000):
        rows = kg.query(load_query("terms"), {"terms": list(ids[start : start + 2000])})
        for row in sorted(rows, key=lambda r: (_KINDS.index(r["kind"]), r["name"])):
            if label in (None, row["label"]):
                found.setdefault(term_id(row["matched"]), []).append(_link(row, 1.0, row["kind"]))
    return found


def _by_chance(raw: str, links: Sequence[Link]) -> bool:
    short = len(raw.rstrip("s")) <= 2
    return short and links[0].how == "abbreviation" and not raw.rstrip("s").isupper()


def _link(row: dict[str, object], score: float, how: str) -> Link:
    return Link(
        curie=str(row["id"]),
        name=str(row["name"]),
        matched=str(row["matched"]),
        score=score,
        how=how,
        label=str(row["label"]),
    )


def _upper_prefix(curie: str) -> str:
    prefix, _, rest = curie.partition(":")
    return f"{prefix.upper()}:{rest}"
