"""Loading a vision-language model: NF4, checked hashes, one warm-up, one copy in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInput, Unavailable, WeightsMissing
from ...hashing import file_sha256
from .decoding import Generation, Sampling
from .grammar import GuideFactory
from .loaded import LoadedModel
from .messages import ChatTemplate, fallback_syntax
from .prefix_cache import PrefixCache
from .straight import straighten

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedTokenizerBase


class ModelStore:
    """Holds loaded models, one for each (source, revision, quantization, device); pass it to whoever loads.

    Args:
        cache_capacity: How many conversations' key-value caches each model keeps.
    """

    def __init__(self, cache_capacity: int = 4) -> None:
        self.cache_capacity = cache_capacity
        self._models: dict[tuple[Any, ...], LoadedModel] = {}
        self._lock = threading.Lock()

    def get(
        self,
        source: str | Path,
        *,
        quantize: bool = True,
        revision: str | None = None,
        device: str | None = None,
        local: bool = True,
    ) -> LoadedModel:
        """Returns the loaded model, loading and warming it on the first call.

        Args:
            source: Folder, or hub name when `local` is false.
            quantize: NF4 with double quantization; a folder already saved in 4 bits loads as it is either
                way.
            revision: Commit, tag or branch of a hub model.
            device: For example `cpu` or `cuda:0`; the GPU when there is one.
            local: Whether `source` must be a folder.

        Raises:
            WeightsMissing: The folder is not there, is incomplete or does not have the recorded hashes.
            Unavailable: The hub model cannot be fetched, or a needed package is missing.
            BadInput: The model is of a kind that this adapter cannot run.
        """
        import torch

        device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        name = str(Path(source).resolve()) if local else str(source)
        key = (name, revision, quantize, device)
        with self._lock:
            if key not in self._models:
                self._models[key] = load(name, quantize, revision, device, local, self.cache_capacity)
            return self._models[key]


def load(
    name: str,
    quantize: bool,
    revision: str | None,
    device: str,
    local: bool,
    cache_capacity: int = 4,
    warm: bool = True,
) -> LoadedModel:
    """Loads a model; `ModelStore.get` says what the arguments mean and what is raised.

    One that is to answer must be warmed; one that is to be trained must not, since that packs its weights.
    """
    sha256 = check_folder(Path(name)) if local else ""
    model, processor = _read(name, quantize, revision, device, local)
    config, tokenizer = model.config, getattr(processor, "tokenizer", None)
    if tokenizer is None or config.is_encoder_decoder:
        raise BadInput(f"{name} is not a decoder-only image-text-to-text model with a tokenizer.")
    image_token_id = getattr(config, "image_token_id", None) or getattr(config, "image_token_index", None)
    source = getattr(processor, "chat_template", None) or tokenizer.chat_template
    if image_token_id is None or source is None:
        raise BadInput(f"{name} has no {'picture token' if source else 'chat template'}.")
    stops = _stop_ids(model, tokenizer)
    template = _template(tokenizer, source, processor, image_token_id, str(config.model_type))
    rows = model.get_output_embeddings().out_features
    loaded = LoadedModel(
        name=f"{name}@{revision}" if revision else name,
        sha256=sha256 or str(getattr(config, "_commit_hash", "") or ""),
        model=model,
        processor=processor,
        tokenizer=tokenizer,
        template=template,
        guides=GuideFactory(tokenizer, rows, stops, template.syntax),
        cache=PrefixCache(cache_capacity),
        image_token_id=int(image_token_id),
        stop_ids=tuple(stops),
        quantized=bool(getattr(model, "is_loaded_in_4bit", False)),
    )
    if warm:
        _warm(loaded)
        straighten(model)
    return loaded


def check_folder(folder: Path) -> str:
    """Checks a weights folder against its `manifest.json`, when it has one.

    The manifest holds `files`: name to SHA-256, or name to an object with `sha256`.

    Returns:
        SHA-256 over the weight files.

    Raises:
        WeightsMissing: Folder or files are missing, or a hash differs.
    """
    if not (folder / "config.json").is_file():
        raise WeightsMissing(
            f"No model in {folder}.", hint="Reinstall the package, or name a folder made by save_pretrained."
        )
    manifest = folder / "manifest.json"
    recorded = json.loads(manifest.read_text("utf-8")).get("files", {}) if manifest.is_file() else {}
    for file, entry in recorded.items():
        wanted = entry["sha256"] if isinstance(entry, dict) else entry
        if not (folder / file).is_file() or file_sha256(folder / file) != wanted:
            raise WeightsMissing(f"{folder / file} is missing or changed.", hint="Reinstall the package.")
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    if not weights:
        raise WeightsMissing(f"No weights in {folder}.", hint="Reinstall the package.")
    if len(weights) == 1:
        return file_sha256(weights[0])
    return hashlib.sha256("".join(file_sha256(w) for w in weights).encode()).hexdigest()


def nf4() -> BitsAndBytesConfig:
    """NF4 with double quantization, bfloat16 compute (Dettmers et al. 2023, arXiv 2305.14314, section 3).

    Embeddings and norms stay as they are.
    """
    import torch
    import transformers

    untyped: Any = transformers.BitsAndBytesConfig
    settings: BitsAndBytesConfig = untyped(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return settings


def _read(name: str, quantize: bool, revision: str | None, device: str, local: bool) -> tuple[Any, Any]:
    import transformers

    hub: Any = transformers  # its factories are untyped

    where: dict[str, Any] = {"local_files_only": True} if local else {"revision": revision}
    try:
        config = hub.AutoConfig.from_pretrained(name, **where)
        options: dict[str, Any] = {}
        if quantize and getattr(config, "quantization_config", None) is None:
            options["quantization_config"] = nf4()
        processor = hub.AutoProcessor.from_pretrained(name, **where)
        model = hub.AutoModelForImageTextToText.from_pretrained(
            name, dtype="auto", device_map={"": device}, **options, **where
        )
    except ImportError as error:
        raise Unavailable(f"{name} needs a package that is not installed: {error}") from error
    except (OSError, ValueError) as error:
        if local:
            raise WeightsMissing(
                f"{name} cannot be loaded: {error}", hint="Reinstall the package."
            ) from error
        raise Unavailable(
            f"{name} cannot be loaded from the hub: {str(error).splitlines()[0]}",
            hint="Check the name, the network and, for gated models, the login.",
        ) from error
    keep_odd_layers_unpacked(model)
    return model.eval(), processor


def keep_odd_layers_unpacked(model: Any) -> None:
    """Keeps 4-bit layers of shapes that bitsandbytes' packed CPU path cannot take (0.50 raises) off it."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            rows, columns = module.out_features, module.in_features
            if rows % 32 or columns % 64:
                module.support_avx512bf16_for_cpu = False


def _stop_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = []
    for source in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        ids += source if isinstance(source, list) else [source] if source is not None else []
    if not ids:
        raise BadInput("The model names no token that ends a turn (eos_token_id).")
    return sorted(set(ids))


def _template(
    tokenizer: PreTrainedTokenizerBase,
    source: str,
    processor: Any,
    image_token_id: int,
    model_type: str,
) -> ChatTemplate:
    def apply(messages: list[dict[str, Any]], tools: list[Any] | None) -> str:
        return str(
            tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=source, add_generation_prompt=True, tokenize=False
            )
        )

    image_token = getattr(processor, "image_token", None) or tokenizer.convert_ids_to_tokens(image_token_id)
    vocabulary = tokenizer.get_vocab()
    control: Sequence[str] = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    markers = [m for m in ("<tool_call>", "</tool_call>") if m in vocabulary]
    boi = getattr(
        processor, "boi_token", None
    )  # Gemma 3's template writes this one, and the processor expands it
    placeholder = str(
        boi if boi and model_type.startswith("gemma3") else getattr(image_token, "content", image_token)
    )
    return ChatTemplate(apply, placeholder, [*control, *markers], fallback_syntax(model_type, vocabulary))


def _warm(loaded: LoadedModel) -> None:
    """Answers once with a picture: the first pass of 4-bit layers on CPU repacks them, not thread-safely."""
    from langchain_core.messages import HumanMessage
    from PIL import Image

    from .pictures import Picture

    picture = Picture("0" * 64, Image.new("RGB", (64, 64), (200, 160, 140)))
    message = HumanMessage([{"type": "text", "text": "hello"}, {"type": "image", "file_id": picture.sha256}])
    text, pictures = loaded.template.render([message], [], lambda _: picture.image)
    guide = loaded.guides.guide([], "none")
    with loaded.lock:
        for _ in Generation(loaded, text, pictures, Sampling(max_new_tokens=2), guide):
            pass
        loaded.cache.clear()
