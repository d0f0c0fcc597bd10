"""What a checkpoint must have in common with the training that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadInput


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
