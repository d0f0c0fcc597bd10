"""Which generalist answers, chosen by one string."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInput, Unavailable
from .pictures import ImageLoader

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from .loading import ModelStore

PROFILES = {
    "nano": "the shipped model: offline, CPU (default)",
    "nano:FOLDER": "another of its kind, made by training/generalist",
    "path:FOLDER": "a model folder made by save_pretrained, in NF4",
    "hub:NAME[@REVISION]": "any image-text-to-text model of the hub, in NF4",
    "server:URL#MODEL": "a server that speaks OpenAI's protocol (vLLM), as in server:http://localhost:8000/v1#name",
    "openai:MODEL": "OpenAI itself, or the server named by OPENAI_BASE_URL; pictures leave this machine",
}


def load_generalist(
    profile: str = "nano",
    *,
    image_loader: ImageLoader | None = None,
    store: ModelStore | None = None,
    device: str | None = None,
    **fields: Any,
) -> BaseChatModel:
    """Loads the generalist that a profile names.

    Args:
        profile: One of `PROFILES`.
        image_loader: Resolves the `file_id` of image blocks to a PIL image.
        store: Holder that shares loaded models between callers.
        device: For local models, for example `cpu`; the GPU when there is one.
        **fields: Further fields of the chat model, for example `max_new_tokens` or `temperature`.

    Raises:
        BadInput: Unknown profile.
        WeightsMissing: The model folder is missing or damaged.
        Unavailable: A needed extra is not installed, or the hub cannot be reached.
    """
    kind, _, rest = profile.partition(":")
    if kind == "nano" and (rest or profile == "nano"):
        kind, rest, fields = "path", rest or str(nano_folder()), {"copies": True, **fields}
    if kind in ("server", "openai") and rest:
        return _served(kind, rest, image_loader, fields)
    if kind in ("path", "hub") and rest:
        from .loading import ModelStore
        from .vlm import LocalVLM

        name, _, revision = rest.partition("@") if kind == "hub" else (rest, "", "")
        loaded = (store or ModelStore()).get(
            name, revision=revision or None, device=device, local=kind == "path"
        )
        return LocalVLM(loaded=loaded, image_loader=image_loader, **fields)
    raise BadInput(f"Unknown profile {profile!r}.", hint="There are " + ", ".join(PROFILES) + ".")


def nano_folder() -> Path:
    """Folder of the shipped model inside the package."""
    return Path(str(files(__package__.rpartition(".agent.")[0]))) / "weights" / "nano"


def _served(kind: str, rest: str, loader: ImageLoader | None, fields: dict[str, Any]) -> BaseChatModel:
    url, _, model = rest.partition("#") if kind == "server" else ("", "", rest)
    if not model:
        raise BadInput(f"Profile {kind}:{rest} names no model.", hint=f"Write {kind}:URL#MODEL.")
    try:
        from .served import ServedVLM
    except ImportError as error:
        raise Unavailable(
            "Served generalists need langchain-openai.",
            hint="Install it: pip install 'clarify-derm[server]'.",
        ) from error
    if "max_new_tokens" in fields:
        fields = {**fields, "max_tokens": fields["max_new_tokens"]}
        del fields["max_new_tokens"]
    if url:
        fields = {"base_url": url, "api_key": "none", **fields}
    return ServedVLM(model=model, image_loader=loader, **fields)
