"""What the generalist may call: cards that tools declare about themselves, and model cards from them.

A card is what VILA-M3 (arXiv 2411.12915, section 3.2) puts into the prompt: the model knows its experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import BaseTool


@dataclass(frozen=True)
class ToolCard:
    """What a tool says about itself.

    Attributes:
        name: As the model calls it.
        task: What it does; also the description in the tool's JSON schema.
        inputs: What it takes.
        outputs: What it gives back.
        limits: What it cannot do.
    """

    name: str
    task: str
    inputs: str
    outputs: str
    limits: str


@dataclass
class Registry:
    """Cards with the function that makes each tool for a turn."""

    _entries: dict[str, tuple[ToolCard, Callable[..., BaseTool]]] = field(default_factory=dict)

    def register(self, card: ToolCard) -> Callable[[Callable[..., BaseTool]], Callable[..., BaseTool]]:
        """Decorates the function that makes the tool; its keyword arguments are what the tool needs.

        Raises:
            ValueError: The name is taken.
        """

        def add(make: Callable[..., BaseTool]) -> Callable[..., BaseTool]:
            if card.name in self._entries:
                raise ValueError(f"a tool named {card.name} is registered already")
            self._entries[card.name] = (card, make)
            return make

        return add

    def __iter__(self) -> Iterator[ToolCard]:
        """Cards in order of registration."""
        return (card for card, _ in self._entries.values())

    def __contains__(self, name: object) -> bool:
        """Whether a tool of that name is registered."""
        return name in self._entries

    def make(self, name: str, **needs: Any) -> BaseTool:
        """Makes a tool.

        Raises:
            KeyError: No tool of that name.
        """
        return self._entries[name][1](**needs)


REGISTRY = Registry()
"""The tools of this package; importing `clarify.tools.classify` and `.knowledge` fills it."""


def model_cards(cards: Iterable[ToolCard]) -> str:
    """Renders cards as short text for a prompt or a person."""
    return "\n".join(
        f"{card.name}: {card.task} Takes {card.inputs}. Gives {card.outputs}. Limits: {card.limits}"
        for card in cards
    )
