"""The texts that the dual encoder is asked with, from `prompts.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Prompts:
    """Templates and wordings.

    Attributes:
        classes: Templates for a disease, `{}` its name (arXiv 2505.09372 uses 8).
        concepts: Templates for a concept.
        plain: The concept templates without a concept, one each.
        wordings: Concept -> how it may be said; the first is the clinical term.
    """

    classes: tuple[str, ...]
    concepts: tuple[str, ...]
    plain: tuple[str, ...]
    wordings: dict[str, tuple[str, ...]]

    def for_disease(self, names: Sequence[str]) -> list[str]:
        """Every template with every name."""
        return [template.format(name) for name in names for template in self.classes]

    def for_concept(self, concept: str) -> list[list[str]]:
        """One list a template: the template with every wording of a concept."""
        return [[template.format(said) for said in self.wordings[concept]] for template in self.concepts]


@cache
def prompts() -> Prompts:
    """Reads the file once."""
    found = tomllib.loads(Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8"))
    return Prompts(
        tuple(found["classes"]), tuple(found["concepts"]), tuple(found["plain"]),
        {concept: tuple(wordings) for concept, wordings in found["concept"].items()},
    )  # fmt: skip
