"""Citations decoded under what was retrieved, for models that were taught to end a sentence with `[id]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ...graph_schema.folding import normalise
from ..grounding import SPECIALIST

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

ROW = re.compile(r"^\[([^\[\]\n]+)\] ([^|\n]+) \| (?:differs from ([^|\n]+)|[^|\n]+) \| (.+)$", re.MULTILINE)
_FINDING = re.compile(r"^(img\d+)\b[^:|\n]*:", re.MULTILINE)
"""A line of `tools.render`: a fact, its id, subject, other disease and object; a picture's finding."""


class Citing:
    """Says which tokens may come next between the brackets of a citation; one per generation.

    Only ids of the results can be written, so that no citation is made up. Of these only the rows whose
    object the sentence repeats, so that what was copied from one row does not end with the id of the next.
    Which of them is the model's choice, and what the sentence says of them is for `verify` to check.

    Args:
        tokenizer: The model's; a space and a bracket must be a token of their own, as in nano's.
        results: Texts of the tool results that the model reads.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, results: Iterable[str]) -> None:
        self._tokenizer = tokenizer
        self._objects: dict[str, str] = {}
        for text in results:
            self._objects |= {f"{SPECIALIST}{image}": "" for image in _FINDING.findall(text)}
            self._objects |= {cited: normalise(said) for cited, _, _, said in ROW.findall(text)}
        self._opening = spelt(tokenizer, " [")
        self._paths: list[list[int]] = []

    def accept(self, token: int, text: Callable[[], str]) -> None:
        """Takes the chosen token; `text` gives the answer so far and is called where a citation begins."""
        if self._paths:
            self._paths = [path[1:] for path in self._paths if path[0] == token and len(path) > 1]
        elif [token] == self._opening:
            sentence = text().rpartition("\n")[2]
            self._paths = [spelt(self._tokenizer, f"{cited}]") for cited in self.of(sentence)]

    def allowed(self) -> list[int]:
        """Tokens that may come next; empty outside of a citation, where any may."""
        return sorted({path[0] for path in self._paths})

    def forced(self) -> list[int]:
        """Tokens that must come next."""
        return list(self._paths[0]) if len(self._paths) == 1 else []

    def of(self, sentence: str) -> list[str]:
        """What a sentence may cite: rows whose object it repeats, the longest of them, or else all; findings.

        A finding names a disease, which may be the object of a row as well.
        """
        said = f" {normalise(sentence)} "
        found = {cited: words for cited, words in self._objects.items() if words and f" {words} " in said}
        longest = [
            cited
            for cited, words in found.items()
            if not any(f" {words} " in f" {other} " and words != other for other in found.values())
        ]
        findings = [cited for cited, words in self._objects.items() if not words]
        return [*longest, *findings] if longest else list(self._objects)


def spelt(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text alone."""
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def only(logits: torch.Tensor, allowed: Sequence[int]) -> None:
    """Sets all other logits (vocabulary,) to minus infinity, in place."""
    keep = logits[allowed].clone()
    logits.fill_(float("-inf"))
    logits[allowed] = keep
