"""The generalist: one LangChain chat model over a local or served vision-language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loading import ModelStore
    from .profiles import load_generalist
    from .vlm import LocalVLM

__all__ = ["LocalVLM", "ModelStore", "load_generalist"]

_HOMES = {"LocalVLM": "vlm", "ModelStore": "loading", "load_generalist": "profiles"}


def __getattr__(name: str) -> Any:
    """Imports the heavy modules on first use."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(name)
