"""Copies decoded to their end, for models that were taught to say rows of results and to cite them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from .citing import ROW, Citing, spelt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SURE = 3
"""So many tokens, or a word and the start of the next, are no chance: what begins so is a copy."""


@dataclass
class _Copy:
    """A copy that may have begun: at which token of the answer, of what, from when on surely, how far."""

    start: int
    of: list[int]
    sure: int
    written: int = 1

    @property
    def ended(self) -> bool:
        return self.written == len(self.of)


class Copying:
    """Says which tokens may come next, so that what was begun to be copied is copied; one per generation.

    What begins like a name or an object of a retrieved row goes on as one does, or as the user's words do.
    So no drug, number or "without" is lost on the way, and none is taken from the next row. Which row is said
    in which words is the model's choice. Between brackets `Citing` limits it.

    Args:
        tokenizer: The model's; with a space before them words are spelt alike everywhere, as by nano's.
        results: Texts of the tool results that the model reads.
        asked: What the user wrote.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, results: Iterable[str], asked: Iterable[str]
    ) -> None:
        results, self._tokenizer = list(results), tokenizer
        self._citing, self._newline = Citing(tokenizer, results), spelt(tokenizer, "\n")[0]
        lines = [line for text in results for line in text.splitlines()]
        rows = [row.groups()[1:] for line in lines if (row := ROW.fullmatch(line))]
        self._texts: dict[int, list[tuple[list[int], int]]] = defaultdict(list)
        for text in sorted({part for row in rows for part in row if part}):
            ids = spelt(tokenizer, f" {text}")
            self._texts[ids[0]].append((ids, self._sure(ids)))
        self._others = [spelt(tokenizer, f" {line}") for line in [*asked, *lines] if not ROW.fullmatch(line)]
        self._written: list[int] = []
        self._copies: list[_Copy] = []

    def accept(self, token: int, text: Callable[[], str]) -> None:
        """Takes the chosen token; `text` gives the answer so far and is called where a citation begins."""
        self._citing.accept(token, text)
        going = [copy for copy in self._copies if not copy.ended and copy.of[copy.written] == token]
        for copy in going:
            copy.written += 1
        begun = [_Copy(len(self._written), *text) for text in self._texts.get(token, ())]
        self._copies = [] if token == self._newline else [*going, *begun]
        self._written.append(token)

    def allowed(self) -> list[int]:
        """Tokens that may come next; empty: any."""
        if cited := self._citing.allowed():
            return cited
        return sorted({way[0] for way in self._ways()})

    def forced(self) -> list[int]:
        """Tokens that must come next."""
        if cited := self._citing.forced():
            return cited
        ways = self._ways()
        alike = zip(*ways, strict=False)
        return [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, alike)]

    def _ways(self) -> list[list[int]]:
        """How the longest copy may go on; none: there is none, or it may end here."""
        start = min((copy.start for copy in self._copies if copy.written >= copy.sure), default=None)
        if start is None or self._citing.allowed():
            return []
        ways = [copy.of[copy.written :] for copy in self._copies if copy.start == start]
        ways += self._elsewhere(self._written[start:])
        return ways if all(ways) else []

    def _elsewhere(self, written: list[int]) -> Iterator[list[int]]:
        """What follows the same tokens in other words of the conversation."""
        size = len(written)
        for ids in self._others:
            for at in range(len(ids) - size + 1):
                if ids[at : at + size] == written:
                    yield ids[at + size :]

    def _sure(self, ids: list[int]) -> int:
        """How many tokens of a text, once written, are no chance."""
        begun = (at for at, token in enumerate(ids) if at and str(self._tokenizer.decode(token))[:1] == " ")
        return min(SURE, next(begun, SURE) + 1)
