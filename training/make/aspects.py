"""What a caption says, taken apart: the texts MAKE aligns a picture with (arXiv 2505.09372, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

KNOWLEDGE = ("caption", "diagnosis", "concepts")
"""The three knowledge texts, in the order of the columns of every text tensor and of `knowledge_masks`."""
SUB_CAPTIONS = 8
TEXTS = len(KNOWLEDGE) + SUB_CAPTIONS
"""Texts of a picture: raw caption, diagnosis on its ontology path, visual concepts, up to 8 sub-captions."""


@dataclass(frozen=True)
class Aspects:
    """The texts of one picture; an empty string is a text that it does not have.

    Attributes:
        caption: The raw caption.
        diagnosis: The diagnosis on its path in the ontology, as a sentence.
        concepts: The visual concepts, as a sentence.
        sub_captions: At most 8 pieces of the raw caption or facts about it.
        also: Further texts that are or may be true of the picture; none of its own.
    """

    caption: str
    diagnosis: str = ""
    concepts: str = ""
    sub_captions: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.sub_captions) > SUB_CAPTIONS:
            raise ValueError(f"a picture has at most {SUB_CAPTIONS} sub-captions")

    def texts(self) -> list[str]:
        """All 11 texts: caption, diagnosis, concepts, sub-captions, padded with empty ones."""
        rest = ("",) * (SUB_CAPTIONS - len(self.sub_captions))
        return [self.caption, self.diagnosis, self.concepts, *self.sub_captions, *rest]

    def mask(self) -> list[bool]:
        """Which of the 11 texts the picture has."""
        return [bool(text) for text in self.texts()]
