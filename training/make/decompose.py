"""Takes captions apart by rules and an ontology, where MAKE (arXiv 2505.09372) asks a 72B model."""

from __future__ import annotations

from .aspects import SUB_CAPTIONS, Aspects
from .ontology import Ontology
from .wording import Found, inside, split_sentences, words


class RuleDecomposer:
    """Takes captions apart: the disease on its path, what can be seen, and the sentences."""

    def __init__(self, ontology: Ontology) -> None:
        self._ontology = ontology

    def decompose(self, caption: str) -> Aspects:
        """Takes a caption apart.

        Args:
            caption: Free text in English; an empty one has no aspects.
        """
        disease = self.disease(caption)
        return Aspects(
            caption=caption,
            diagnosis=diagnosis_sentence(self._ontology.path(disease)) if disease else "",
            concepts=concepts_sentence(self.concepts(caption)),
            sub_captions=tuple(split_sentences(caption)[:SUB_CAPTIONS]),
        )

    def disease(self, caption: str) -> str:
        """The id of the disease that a caption says it shows, or an empty string.

        It is the first that is named, or a later one that is a kind of it. What a caption denies, compares
        with, only suspects, or tells of somebody else or of earlier is no diagnosis.
        """
        best = ""
        for sentence in split_sentences(caption):
            for found in self._ontology.mentions(sentence):
                if found.values and is_diagnosed(sentence, (found.start, found.end)):
                    (disease,) = found.values
                    if not best or self._ontology.is_below(disease, best):
                        best = disease
        return best

    def concepts(self, caption: str) -> tuple[str, ...]:
        """The concepts that a caption says can be seen, in its order; a disease's name says none."""
        found: dict[str, None] = {}
        for sentence in split_sentences(caption):
            names = [(f.start, f.end) for f in self._ontology.mentions(sentence)]
            for term in words().terms.find(sentence):
                if is_there(sentence, (term.start, term.end)) and not _within(term, names):
                    found.update(dict.fromkeys(term.values))
        return tuple(found)


def is_there(sentence: str, span: tuple[int, int]) -> bool:
    """Whether a sentence says that what a stretch of it names is there: not denied, and not of a relative."""
    known = words()
    return not inside(span, known.denial.ranges(sentence) + known.family.ranges(sentence))


def is_diagnosed(sentence: str, span: tuple[int, int]) -> bool:
    """Whether a sentence gives what a stretch of it names as the diagnosis, and not as an idea."""
    return is_there(sentence, span) and not inside(span, words().doubt.ranges(sentence))


def diagnosis_sentence(path: tuple[str, ...]) -> str:
    """The sentence for a path from the top group to a disease; empty without one."""
    return words().diagnosis.format(", ".join(path)) if path else ""


def concepts_sentence(concepts: tuple[str, ...]) -> str:
    """The sentence for concepts ("a, b and c"); empty without any."""
    if not concepts:
        return ""
    *others, last = concepts
    return words().shows.format(f"{', '.join(others)} and {last}" if others else last)


def _within(term: Found, names: list[tuple[int, int]]) -> bool:
    return any(start <= term.start and term.end <= end for start, end in names)
