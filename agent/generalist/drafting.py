"""Drafts of what comes next, copied from what was read: answers repeat rows, and questions repeat names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_LONGEST, _SHORTEST = 4, 2
"""Lengths of the ends that are looked up; the longer one is tried first."""


class Lookup:
    """Proposes the tokens that followed the same few tokens before.

    The model computes its own choice behind every drafted token in one pass, and what it would not have
    chosen is dropped: the answer is the same, in fewer passes (Yang et al. 2023, arXiv 2304.04487).

    Args:
        ids: The prompt.
        most: Tokens of a draft; 0 drafts nothing.
        never: Tokens that are never drafted, such as a picture's.
    """

    def __init__(self, ids: Iterable[int], most: int, never: Collection[int] = ()) -> None:
        self._ids: list[int] = []
        self._most, self._never = most, never
        self._after: dict[tuple[int, ...], int] = {}
        for token in ids if most else ():
            self.add(token)

    def add(self, token: int) -> None:
        """Takes the next token of the text."""
        if not self._most:
            return
        here = len(self._ids)
        for end in self._ends():
            self._after[end] = here
        self._ids.append(token)

    def draft(self) -> list[int]:
        """What followed when the text last stood like this; empty when it never did."""
        for end in self._ends():
            if (start := self._after.get(end)) is not None:
                drafted = self._ids[start : start + self._most]
                stop = next((i for i, token in enumerate(drafted) if token in self._never), len(drafted))
                return drafted[:stop]
        return []

    def _ends(self) -> list[tuple[int, ...]]:
        """The last tokens, the most first."""
        lengths = range(min(_LONGEST, len(self._ids)), _SHORTEST - 1, -1)
        return [tuple(self._ids[-n:]) for n in lengths]
