"""Experts at work: loaded once, each picture looked at once, what they see as rows that can be cited."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from langchain_core.tools import BaseTool, StructuredTool
from PIL import Image
from pydantic import Field, create_model

from ..graph_schema.protocol import FactRow, SourceRef
from .registry import REGISTRY, Expert, Seen, ToolCard
from .render import render_rows

T = TypeVar("T")
MEASURED = "measured"
"""Support of a row that an expert saw: no fact of the graph."""
SEEN = "seen"
"""Outcome of a retrieval that is an expert's, and not the knowledge graph's."""


class Memo(Generic[T]):
    """The last results by key; one key is computed by one thread while the others wait for it."""

    def __init__(self, most: int = 256) -> None:
        """Keeps at most `most` results."""
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._busy: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """Gives what is kept for a key, or makes it; an exception is not kept."""
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            value = make()
            with self._lock:
                self._kept[key] = value
                while len(self._kept) > self._most:
                    self._busy.pop(self._kept.popitem(last=False)[0], None)
            return value


class Experts:
    """The experts of one engine. Safe to share between threads, which may look at the same time."""

    def __init__(self, table: Mapping[str, Expert] | None = None) -> None:
        """Takes the registered experts when no others are given; nothing is loaded yet."""
        self.table = REGISTRY.experts if table is None else table
        self._loaded: Memo[Any] = Memo()
        self._seen: Memo[Seen] = Memo()

    def model(self, name: str) -> Any:
        """What an expert works with, loaded and warmed once.

        Raises:
            ClarifyError: Its weights are missing.
        """
        return self._loaded(name, lambda: _warm(self.table[name]))

    def see(self, name: str, sha256: str, open_image: Callable[[], Image.Image]) -> tuple[Seen, str]:
        """Looks at a picture, or remembers what was seen on it with the same weights.

        Args:
            name: The expert's.
            sha256: Of the picture.
            open_image: Gives its pixels.

        Returns:
            What was seen, and the hash of the expert's weights (empty where it has none).

        Raises:
            ClarifyError: Its weights are missing, or the picture cannot be used.
        """
        expert, model = self.table[name], self.model(name)
        weights = str(getattr(model, "sha256", ""))
        return self._seen((name, weights, sha256), lambda: expert.look(model, open_image())), weights


def _warm(expert: Expert) -> Any:
    """Loads an expert and lets it look once: a network's first run is slow, and not safe to share."""
    model = expert.load()
    expert.look(model, Image.new("RGB", (64, 48), (200, 160, 140)))
    return model


def picture_tool(
    card: ToolCard,
    *,
    experts: Experts,
    open_image: Callable[[str], Image.Image],
    sha256: Mapping[str, str],
    keep: Callable[[Image.Image], str],
    show: bool,
) -> BaseTool:
    """Makes an expert's tool for one turn.

    Args:
        card: The expert's.
        experts: Runs it.
        open_image: Gives the pixels of a picture id.
        sha256: Pictures the model may name, each with its hash.
        keep: Stores a picture and gives its hash.
        show: Whether the generalist takes pictures from tools.

    Returns:
        A tool whose artifact is `{"query", "diseases", "rows": [FactRow as plain values], "outcome", "image",
        "picture", "signs"}`, `picture` being the hash of what it drew or an empty string.
    """
    kind: Any = Literal[tuple(sha256)] if sha256 else str
    args = create_model("PictureArgs", image=(kind, Field(description="Picture id, for example img1.")))

    def run(image: str) -> tuple[str | list[dict[str, Any]], dict[str, Any]]:
        seen, weights = experts.see(card.name, sha256[image], lambda: open_image(image))
        rows = as_rows(card, image, seen, weights)
        drawn = keep(seen.picture) if seen.picture is not None else ""
        artifact = {
            "query": card.name, "diseases": [], "rows": [row.model_dump(mode="json") for row in rows],
            "outcome": SEEN, "image": image, "picture": drawn, "signs": list(seen.signs),
        }  # fmt: skip
        text = render_rows(rows)
        if not (show and drawn):
            return text, artifact
        return [{"type": "text", "text": text}, {"type": "image", "file_id": drawn}], artifact

    return StructuredTool.from_function(
        run, name=card.name, description=card.task, args_schema=args, response_format="content_and_artifact"
    )


def _slug(what: str) -> str:
    """Words as they may stand in an id."""
    return re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")


def as_rows(card: ToolCard, image: str, seen: Seen, weights: str, key: str = "") -> Sequence[FactRow]:
    """What an expert saw as rows, each with an id to cite.

    Args:
        card: The expert's.
        image: Picture id.
        seen: What it saw.
        weights: Hash of its weights; an empty string where it has none.
        key: Goes into the ids where the same picture can be seen in several ways.
    """
    title = f"measured by {card.name}" + (f", weights {weights[:8]}" if weights else "")
    return [
        FactRow(
            fact_id=":".join(filter(None, (card.name, image, key, _slug(what)))),
            statement=seen.says.format(what=what, image=image, value=value),
            source=SourceRef(id=card.name, title=title),
            subject=image,
            predicate=what,
            object=value,
            support=MEASURED,
            query=card.name,
        )
        for what, value in seen.values.items()
    ]
