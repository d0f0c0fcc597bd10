"""Every word the model reads and every refusal people read comes from the text files in `prompts/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from ..tools.registry import ToolCard, model_cards


@cache
def prompt(name: str) -> str:
    """Reads `prompts/<name>.txt`."""
    return files(__package__.rpartition(".")[0]).joinpath(f"prompts/{name}.txt").read_text("utf-8").strip()


def system_prompt(profile: str, cards: Iterable[ToolCard]) -> str:
    """The system prompt of a profile with its tools' cards: nano was trained with its own, short one."""
    own = is_nano(profile)
    return prompt("system_nano") if own else prompt("system").replace("{cards}", model_cards(cards))


def is_nano(profile: str) -> bool:
    """Whether a profile is the shipped nano or one of its kind, which know two tools and their own prompt."""
    return profile.partition(":")[0] == "nano"


@cache
def _refusals() -> dict[str, str]:
    pairs = (line.partition(": ") for line in prompt("refusals").splitlines() if line)
    return {key: text for key, _, text in pairs}


def phrase(key: str, detail: str = "") -> str:
    """One text of `prompts/refusals.txt`, with `{detail}` filled in; an empty string for an unknown key."""
    return _refusals().get(key, "").replace("{detail}", detail).strip()


@cache
def version() -> str:
    """Short hash of all prompt files, for the audit record."""
    folder = files(__package__.rpartition(".")[0]).joinpath("prompts")
    digest = hashlib.sha256()
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".txt"):
            digest.update(entry.name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
