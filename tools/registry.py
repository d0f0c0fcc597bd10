"""What the generalist may call: cards that tools declare about themselves, and experts on pictures.

A card is what VILA-M3 (arXiv 2411.12915, section 3.2) puts into the prompt: the model knows its experts. It
is registered with what runs, so that no card stands for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool

if TYPE_CHECKING:
    from PIL import Image


def _unmeasured() -> str:
    return "not measured"


@dataclass(frozen=True)
class ToolCard:
    """What a tool says about itself.

    Attributes:
        name: As the model calls it.
        task: What it does; also the description in the tool's JSON schema.
        inputs: What it takes.
        outputs: What it gives back.
        limits: What it cannot do.
        measured: Gives how good it was found to be, and on what.
    """

    name: str
    task: str
    inputs: str
    outputs: str
    limits: str
    measured: Callable[[], str] = _unmeasured


@dataclass(frozen=True)
class Seen:
    """What an expert found on a picture.

    Attributes:
        values: What it measured -> the value in words, each of which becomes a row to cite.
        picture: A picture of it, for people and for generalists that take pictures from tools.
        says: The sentence of a row, with `{what}`, `{image}` and `{value}`.
        signs: What the knowledge graph can be searched by, in its words.
    """

    values: Mapping[str, str]
    picture: Image.Image | None = None
    says: str = "The {what} of the lesion in {image} is {value}."
    signs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expert:
    """An expert on one picture.

    Attributes:
        load: Gives what `look` works with; called once, when it is first needed.
        look: Looks at an RGB picture.
    """

    load: Callable[[], Any]
    look: Callable[[Any, Image.Image], Seen]


@dataclass
class Registry:
    """Cards with the function that makes each tool for a turn, and the experts among them."""

    _entries: dict[str, tuple[ToolCard, Callable[..., BaseTool]]] = field(default_factory=dict)
    experts: dict[str, Expert] = field(default_factory=dict)

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

    def expert(
        self, card: ToolCard, *, load: Callable[[], Any]
    ) -> Callable[[Callable[[Any, Image.Image], Seen]], Callable[[Any, Image.Image], Seen]]:
        """Decorates a function that looks at one picture with what `load` gives; it becomes a tool.

        Args:
            card: What it says about itself.
            load: Loads weights, once; a `sha256` on what it gives names them in records and caches.

        Raises:
            ValueError: The name is taken.
        """

        def add(look: Callable[[Any, Image.Image], Seen]) -> Callable[[Any, Image.Image], Seen]:
            from .experts import picture_tool

            self.register(card)(lambda **needs: picture_tool(card, **needs))
            self.experts[card.name] = Expert(load, look)
            return look

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
"""The tools of this package; importing their modules fills it."""


def model_cards(cards: Iterable[ToolCard]) -> str:
    """Renders cards as short text for a prompt or a person."""
    return "\n".join(
        f"{card.name}: {card.task} Takes {card.inputs}. Gives {card.outputs}. Limits: {card.limits}"
        f" Measured: {card.measured()}."
        for card in cards
    )
