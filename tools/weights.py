"""Weights on disk: networks in half precision, files checked against the hashes they were written with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsMissing
from ..hashing import file_sha256

if TYPE_CHECKING:
    import torch


def save_half(model: torch.nn.Module, path: Path) -> None:
    """Writes a network's weights in half precision."""
    from safetensors.torch import save_file

    state = model.state_dict().items()
    save_file({k: v.half().contiguous() if v.is_floating_point() else v for k, v in state}, path)


def load_float(model: torch.nn.Module, path: Path) -> None:
    """Reads weights into a network in float32."""
    from safetensors.torch import load_file

    state = load_file(path).items()
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state})


def write_manifest(folder: Path, files: Sequence[str]) -> None:
    """Records the SHA-256 of every file that is loaded in ``manifest.json``."""
    hashes = {name: file_sha256(folder / name) for name in files}
    (folder / "manifest.json").write_text(json.dumps({"sha256": hashes}, indent=2) + "\n", encoding="utf-8")


def verified(folder: Path, files: Sequence[str], what: str, hint: str) -> str:
    """Checks every weight file against ``manifest.json``.

    Args:
        folder: Where the files lie.
        files: Their names, the network's weights first.
        what: Whose they are, for messages.
        hint: What to do when one is wrong.

    Returns:
        The SHA-256 of the network's weights.

    Raises:
        WeightsMissing: A file is absent, or its hash is not the recorded one.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise WeightsMissing(f"no {what} weights in {folder}.", hint=hint)
    recorded = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
    for name in files:
        if not (folder / name).is_file():
            raise WeightsMissing(f"the {what}'s {name} is missing.", hint=hint)
        if file_sha256(folder / name) != recorded.get(name):
            raise WeightsMissing(f"the {what}'s {name} is not the one that was exported.", hint=hint)
    return str(recorded[files[0]])


def figures(name: str, text: str) -> str:
    """Fills measured figures into a text.

    Args:
        name: A folder of the shipped weights, whose ``metrics.json`` holds the figures.
        text: With names of figures in braces, as `str.format` takes them.

    Returns:
        The text, or that nothing was measured where the folder has no figures.
    """
    file = Path(__file__).resolve().parent.parent / "weights" / name / "metrics.json"
    if not file.is_file():
        return "not measured"
    found = json.loads(file.read_text(encoding="utf-8"))
    entries = found.get("test", found).items()
    return text.format(**{k: v["value"] for k, v in entries if isinstance(v, dict) and "value" in v})
