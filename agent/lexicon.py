"""Names and word tables that `grounding` reads a statement with.

A `Lexicon` is built once per graph from the names the graph itself holds (`Lexicon.build`); the English it
needs is `rules/grounding.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .words import Token, rules, same_word, tokenise

Name = tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """A word of a statement, or a whole disease name in it.

    Attributes:
        text: The word, or the name as written.
        stem: The word's stem; for a name its stems joined by a space.
        curies: What the name can mean; empty for a word.
    """

    text: str
    stem: str
    curies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class English:
    """`rules/grounding.toml`, compiled."""

    neutral: frozenset[str]
    critical: frozenset[str]
    guarded: frozenset[str]
    order: frozenset[str]
    negators: frozenset[str]
    generic: frozenset[str]
    anaphora: re.Pattern[str]
    groups: Mapping[str, frozenset[int]]
    rewrite: tuple[tuple[re.Pattern[str], str], ...]
    cues: tuple[tuple[re.Pattern[str], frozenset[str], bool], ...]
    claim_words: frozenset[str]
    claim_suffix: re.Pattern[str]
    not_drugs: frozenset[str]
    advice_words: frozenset[str]
    modest: tuple[re.Pattern[str], ...]
    advice: tuple[re.Pattern[str], ...]
    finding: Mapping[str, Any]
    finding_words: frozenset[str]


def _stems(words: str) -> frozenset[str]:
    return frozenset(t.stem for t in tokenise(words))


def _compiled(patterns: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(p) for p in patterns)


@cache
def english() -> English:
    """The compiled word tables; read once a process."""
    table = rules("grounding")
    claims, finding = table["claims"], table["finding"]
    groups: dict[str, frozenset[int]] = {}
    for number, words in enumerate(table["synonyms"]):
        for word in _stems(words):
            groups[word] = groups.get(word, frozenset()) | {number}
    fits = table["fits"]
    cues = tuple(
        (re.compile(pattern), frozenset(fits[f] for f in cue["fits"].split()), cue.get("weak", False))
        for cue in table["cue"]
        for pattern in cue["is"]
    )
    suffixes = "|".join(sorted(claims["suffixes"], key=len, reverse=True))
    return English(
        neutral=_stems(table["neutral"]),
        critical=_stems(table["critical"]),
        guarded=_stems(table["guarded"]),
        order=_stems(table["order"]),
        negators=_stems(table["negators"]),
        generic=_stems(table["generic"]),
        anaphora=re.compile(
            r"\b(?:it|they|its|their|them|(?:this|these|that|the|such) (?:skin )?"
            rf"(?:{table['generic'].replace(' ', '|')}))\b(?! O\b)"
        ),
        groups=groups,
        rewrite=tuple((re.compile(rf"\b{a}\b"), b) for a, b in table["rewrite"]),
        cues=cues,
        claim_words=_stems(claims["words"]),
        claim_suffix=re.compile(rf"\w\w+(?:{suffixes})$"),
        not_drugs=frozenset(claims["not_drugs"]),
        advice_words=_stems(claims["advice_words"]),
        modest=_compiled(claims["modest"]),
        advice=_compiled(claims["advice"]),
        finding={k: v if k == "neutral" else _compiled(v) for k, v in finding.items()},
        finding_words=_stems(finding["neutral"]) | _stems(table["neutral"]),
    )


def rewritten(text: str) -> list[Token]:
    """Tokens of a text after the equal forms of `rewrite` were made the same."""
    plain = " ".join(t.raw if t.raw.isupper() else t.text for t in tokenise(text))
    for pattern, replacement in english().rewrite:
        plain = pattern.sub(replacement, plain)
    return tokenise(plain)


def matches(a: Item, b: Item) -> bool:
    """Whether two items say the same: one disease, one word, or two words of one synonym group."""
    if a.curies or b.curies:
        return bool(a.curies & b.curies) or a.stem == b.stem
    if same_word(a.stem, b.stem):
        return True
    groups = english().groups
    return bool(groups.get(a.stem, frozenset()) & groups.get(b.stem, frozenset()))


@dataclass(frozen=True)
class Lexicon:
    """Disease and treatment names of one graph, and what the specialist's labels are called.

    Attributes:
        names: First stem of a disease name -> (all its stems, needs capitals, CURIEs), longest first.
        terms: Stems of treatments, tests and drugs: a sentence that has one is a medical claim.
        labels: Specialist label -> display name.
        label_curies: Specialist label -> the CURIEs it stands for.
    """

    names: Mapping[str, list[tuple[Name, bool, frozenset[str]]]] = field(default_factory=dict)
    terms: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    label_curies: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @staticmethod
    def build(
        diseases: Iterable[tuple[str, str]],
        terms: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        label_curies: Mapping[str, Sequence[str]] | None = None,
    ) -> Lexicon:
        """Builds a lexicon.

        Args:
            diseases: (CURIE, name or synonym) pairs of every disease in the graph.
            terms: Names of treatments and tests in the graph.
            labels: `Specialist.names`.
            label_curies: `Specialist.curies`.
        """
        meaning: dict[tuple[Name, bool], set[str]] = {}
        pairs = list(diseases)
        pairs += [
            (c, n) for label, n in (labels or {}).items() for c in (label_curies or {}).get(label, [label])
        ]
        for curie, name in pairs:
            stems = tuple(t.stem for t in tokenise(name))
            capitals = len(name) <= 4 and name.isupper()  # "MM" is a disease, "mm" is not
            if stems and (capitals or len(name) > 3):
                meaning.setdefault((stems, capitals), set()).add(curie)
        index: dict[str, list[tuple[Name, bool, frozenset[str]]]] = {}
        for (stems, capitals), curies in meaning.items():
            index.setdefault(stems[0], []).append((stems, capitals, frozenset(curies)))
        for entries in index.values():
            entries.sort(key=lambda e: -len(e[0]))
        known = english()
        skip = known.neutral | known.critical
        words = {t.stem for term in terms for t in tokenise(term) if len(t.stem) > 3}
        return Lexicon(
            names=index,
            terms=frozenset(words - skip),
            labels=dict(labels or {}),
            label_curies={k: frozenset(v) for k, v in (label_curies or {}).items()},
        )

    def items(self, tokens: Sequence[Token], extra: Iterable[tuple[str, str]] = ()) -> list[Item]:
        """Words with every disease name, longest first, as one item.

        Args:
            tokens: From `tokenise` or `rewritten`.
            extra: Further (CURIE or any key, name) pairs, such as the names of the row at hand.
        """
        more = [(tuple(t.stem for t in tokenise(name)), key) for key, name in extra if name]
        out: list[Item] = []
        i = 0
        while i < len(tokens):
            found: dict[int, set[str]] = {}
            for stems, capitals, curies in self.names.get(tokens[i].stem, ()):
                if _stands(stems, tokens, i) and (not capitals or tokens[i].raw.isupper()):
                    found.setdefault(len(stems), set()).update(curies)
            for stems, key in more:
                if stems and _stands(stems, tokens, i):
                    found.setdefault(len(stems), set()).add(key)
            n = max(found, default=1)
            part = tokens[i : i + n]
            text = " ".join(t.text for t in part)
            out.append(Item(text, " ".join(t.stem for t in part), frozenset(found.get(n, ()))))
            i += n
        return out

    def medical_word(self, item: Item) -> bool:
        """Whether an item is a disease, a treatment, a drug by its ending, or another medical word."""
        known = english()
        if item.curies or item.stem in known.claim_words or item.stem in self.terms:
            return True
        return item.text not in known.not_drugs and bool(known.claim_suffix.match(item.text))

    def label_of(self, item: Item) -> frozenset[str]:
        """The specialist labels that a disease item can mean."""
        stems = {label: [t.stem for t in tokenise(name)] for label, name in self.labels.items()}
        found = {
            label
            for label, said in stems.items()
            if item.curies & self.label_curies.get(label, frozenset([label])) or item.stem == " ".join(said)
        }
        heads = [label for label, said in stems.items() if said[-1:] == [item.stem]]  # "a nevus"
        return frozenset(found or (heads if len(heads) == 1 else ()))


def _stands(stems: Name, tokens: Sequence[Token], at: int) -> bool:
    return len(tokens) - at >= len(stems) and all(
        same_word(s, t.stem) for s, t in zip(stems, tokens[at:], strict=False)
    )
