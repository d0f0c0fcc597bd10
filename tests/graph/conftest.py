from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clarify.agent.context import Context
from clarify.agent.runtime import Session
from clarify.settings import Settings
from clarify.tests.graph.scripted import deps


def picture(seed: int = 1, kind: str = "PNG") -> bytes:
    """A small picture, another one for each seed."""
    image = Image.new("RGB", (96, 72), (200, 150, 130))
    image.putpixel((seed % 96, seed // 96), (90, 60, 50))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def pic() -> bytes:
    return picture()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Makes a session over scripted parts; `.model` is the scripted chat model."""
    made: list[Session] = []

    def make(policy: Any, *, context: Context | None = None, kept: bool = False, **parts: Any) -> Session:
        settings = Settings(home=tmp_path / "home")
        one = Session(settings=settings, kept=kept, context=context, deps=deps(tmp_path, policy, **parts))
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
