"""From words to nodes: exact names first, then names that are nearly spelt so, or honestly nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from ..errors import BadInput
from .folding import normalise, readings
from .paths import load_query
from .protocol import KnowledgeGraph, Link
from .text import little, same
from .vocabulary import vocabulary

FLOOR = 0.8
"""Least score of a misspelt name. "keratosis" against "solar keratosis" scores 0.78: half is not enough."""
MAX_TEXT = 8000
MAX_NAME = 200
_KINDS = ("name", "synonym", "lay", "abbreviation")
_SHORT_FORM = re.compile(r"\s*\(\s*([A-Z]{2,6})s?\s*\)|^\s*([A-Z]{2,6})\s+-\s+")


class Nearby(Protocol):
    """A third step for names that no spelling leads to: `vectors.NameVectors`."""

    def near(self, text: str, k: int) -> list[Link]:
        """Returns the nodes whose names mean nearly the same, best first; an empty list when none does."""


def term_id(text: str) -> str:
    """Returns the id of the Term node of a name (any spelling that has the same normal form)."""
    return f"TERM:{normalise(text).replace(' ', '_')}"


def link(
    kg: KnowledgeGraph,
    text: str,
    k: int = 5,
    floor: float = FLOOR,
    *,
    label: str | None = "Disease",
    vectors: Nearby | None = None,
) -> list[Link]:
    """Finds the nodes that a name may mean.

    Args:
        kg: The graph.
        text: A name in any common spelling, or a CURIE.
        k: Most results.
        floor: Least score of an inexact match, 0..1.
        label: Only nodes of this label; None for all.
        vectors: Asked when no spelling leads to a node.

    Returns:
        Exact matches (several when the name is shared), else near ones best first, else an empty list. `how`
        is one of `curie`, `name`, `synonym`, `lay`, `abbreviation`, `variant` (other words or another order),
        `misspelling`, `vector`.

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
            return [as_link({**rows[0], "label": "Disease", "matched": text}, 1.0, "curie")]
    for name in dict.fromkeys((text, without_short_form(text))):
        ids = [term_id(name), *(f"TERM:{'_'.join(words)}" for words in joined(normalise(name).split()))]
        named = exact(kg, ids, label)
        found = next((named[id_] for id_ in ids if id_ in named), [])
        if not found:
            rows = kg.search(name, 4 * k)
            near = [r for r in rows if r["score"] >= floor and label in (None, r["label"])]
            found = [as_link(row, row["score"], how_near(name, row["matched"])) for row in near]
        if found:
            return found[:k]
    parts = [part for part in re.split(r"[,;/()]| - ", text) if normalise(part)]
    if len(parts) > 1:  # "androgenetic alopecia, male pattern baldness": two names of one thing
        each = [link(kg, part, k, floor, label=label) for part in parts]
        shared = [m for m in each[0] if all(m.curie in {other.curie for other in links} for links in each)]
        if shared:
            return shared[:k]
    return vectors.near(text, k) if vectors else []


def link_text(kg: KnowledgeGraph, text: str, k: int = 5, *, vectors: Nearby | None = None) -> list[Link]:
    """Finds the diseases that a name or a sentence means.

    A text that is no name but reads as a sentence ("is this psoriasis or ringworm?") means the diseases it
    names, in its order. A name with a word that no name of the graph has ("uveal melanoma") means nothing.

    Raises:
        BadInput: Empty or longer than 8,000 characters.
    """
    from .mentions import find_mentions

    text = text.strip()
    if len(text) > MAX_TEXT:
        raise BadInput(f"a text has at most {MAX_TEXT} characters")
    if len(text) > MAX_NAME:
        return find_mentions(kg, text)[:k]
    found = link(kg, text, k)
    if not found and is_sentence(text):
        found = find_mentions(kg, text)[:k]
    return found or (vectors.near(text, k) if vectors else [])


def is_sentence(text: str) -> bool:
    """Whether a text reads as running text: a pronoun, a verb, a question mark, several lines."""
    words = set(re.findall(r"[a-z]+", text.lower().replace("'", "").replace("\u2019", "")))
    return bool(words & vocabulary().sentence) or bool(re.search(r"[?!\n]|[.;]\s+\S", text))


def resolve(kg: KnowledgeGraph, name: str, *, label: str = "Disease") -> list[Link]:
    """Returns the one meaning of a name: several links only when equally good ones share it.

    A name of the form "A or B" that is no name itself means both.
    """
    links = link(kg, name, 10, label=label)
    best = [m for m in links if m.score == links[0].score]
    if best and best[0].how not in ("misspelling", "variant"):
        return best
    parts = [part for part in name.split(" or ") if part.strip()]
    if len(parts) > 1:
        both = [[m for m in link(kg, part, 10, label=label) if m.how != "misspelling"] for part in parts]
        if all(both):
            return list({m.curie: m for links in both for m in links}.values())
    return best


def exact(kg: KnowledgeGraph, ids: Sequence[str], label: str | None) -> dict[str, list[Link]]:
    """Returns, by Term id, the nodes that bear exactly these names."""
    found: dict[str, list[Link]] = {}
    for start in range(0, len(ids), 2000):
        rows = kg.query(load_query("terms"), {"terms": list(ids[start : start + 2000])})
        for row in sorted(rows, key=lambda r: (_KINDS.index(r["kind"]), r["name"])):
            if label in (None, row["label"]):
                found.setdefault(term_id(row["matched"]), []).append(as_link(row, 1.0, row["kind"]))
    return found


def joined(words: Sequence[str]) -> list[list[str]]:
    """Returns a name's words with each pair of neighbours written as one: "ring worm" is "ringworm"."""
    return [[*words[:i], words[i] + words[i + 1], *words[i + 2 :]] for i in range(len(words) - 1)]


def how_near(text: str, name: str) -> str:
    """Says how an inexact match differs: `variant` when every telling word is spelt right."""
    theirs = normalise(name).split()

    def known(words: Iterable[str]) -> bool:
        return all(little(w) or any(same(w, other) for other in theirs) for w in words)

    return "variant" if any(known(words) for words in readings(text)) else "misspelling"


def without_short_form(text: str) -> str:
    """Drops an abbreviation that the rest spells out: "atopic dermatitis (AD)", "SK - solar keratosis"."""
    match = _SHORT_FORM.search(text)
    if not match:
        return text
    rest = text[: match.start()] + " " + text[match.end() :]
    initials = "".join(word[0] for word in normalise(rest).split())
    short = (match.group(1) or match.group(2)).lower()
    return rest.strip() if short in initials or initials in short else text


def as_link(row: dict[str, object], score: float, how: str) -> Link:
    """Makes a link of a row of `terms.cypher` or of a search."""
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
