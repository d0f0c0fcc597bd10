"""Writing a checkpoint, and what it must have in common with the training that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import BadInput


def write_checkpoint(file: Path, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint beside the old one, then renames it: a stop in between loses neither."""
    beside = file.with_suffix(".tmp")
    torch.save(dict(state), beside)
    beside.replace(file)


def same_training(file: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of another training.

    Args:
        file: Where it lies, for the message.
        saved: Its settings.
        wanted: Those of the command line.

    Raises:
        BadInput: A setting differs.
    """
    changed = [name for name, value in wanted.items() if saved.get(name) != value]
    if changed:
        raise BadInput(
            f"{file} was made with another {', '.join(changed)}",
            hint="Say the same again, or begin anew with another --out.",
        )
