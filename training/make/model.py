"""The small dual encoder that is trained here: a stock timm trunk, two layers of text, in open_clip's format.

`build` takes any other `model_cfg` of open_clip, such as that of ViT-B-16, the published choice (arXiv
2505.09372).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ...errors import BadInput
from ...tools.concepts.encoder import FILES, config_of
from ...tools.weights import save_half, write_manifest

LOCAL = "local-dir:"
CONTEXT, VOCABULARY = 48, 1024
PIXELS: dict[str, Any] = {
    "mean": [0.76, 0.55, 0.57], "std": [0.14, 0.15, 0.17],
    "interpolation": "bilinear", "resize_mode": "squash",
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "timm_model_name": "regnetx_002", "timm_pool": "avg", "timm_proj": "linear", "image_size": [96, 128],
    },
    "text_cfg": {
        "context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 2,
        "hf_tokenizer_name": "tokenizer",
    },
}  # fmt: skip
_END, _PAD = "<|end|>", "<pad>"


def build(config: dict[str, Any] | None = None) -> torch.nn.Module:
    """Builds the two towers with fresh weights.

    Args:
        config: A `model_cfg` of open_clip; `CONFIG` when None.
    """
    given = CONFIG if config is None else config
    model: torch.nn.Module = open_clip.CLIP(given["embed_dim"], given["vision_cfg"], given["text_cfg"])
    open_clip.set_model_preprocess_cfg(model, PIXELS)
    return model


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Trains a lower-case byte-level BPE; the end mark has the highest id, where open_clip looks for it."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}|[ ]?[^\s\p{L}\p{N}]+|\s"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=[_PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([_END])
    end = tokenizer.token_to_id(_END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=_PAD, eos_token=_END, model_max_length=CONTEXT
    )


def encode_texts(model: torch.nn.Module, ids: Tensor, short: int = 20) -> Tensor:
    """Encodes texts like `model.encode_text(ids, normalize=True)`, without computing what pads them.

    Args:
        model: Of open_clip.
        ids: (n, context); the end mark has the highest number, whatever pads behind it.
        short: Texts of at most so many tokens are encoded apart from the longer ones.

    Returns:
        Unit vectors, (n, d).
    """
    if not isinstance(model, open_clip.CLIP) or model.text_pool_type != "argmax":
        return cast(Tensor, model.encode_text(ids, normalize=True))  # type: ignore[operator]
    lengths = ids.argmax(-1) + 1
    out: Tensor | None = None
    for rows in ((lengths <= short).nonzero()[:, 0], (lengths > short).nonzero()[:, 0]):
        if len(rows):
            found = _encode_cropped(model, ids[rows, : int(lengths[rows].max())])
            out = found.new_zeros(len(ids), found.shape[1]) if out is None else out
            out = out.index_copy(0, rows, found)
    assert out is not None
    return out


def _encode_cropped(model: Any, ids: Tensor) -> Tensor:
    """`open_clip.CLIP.encode_text` on ids (n, length) shorter than the context."""
    length = ids.shape[1]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(ids)), ids.argmax(-1)] @ model.text_projection
    return torch.nn.functional.normalize(x, dim=-1)


@dataclass(frozen=True)
class Towers:
    """A model to train.

    Attributes:
        model: Of open_clip.
        tokenize: Texts -> ids (n, context).
        config: Its `model_cfg`.
        tokenizer: What `tokenize` runs on, where it is the model's own and goes with it.
    """

    model: torch.nn.Module
    tokenize: Callable[[list[str]], Tensor]
    config: dict[str, Any]
    tokenizer: PreTrainedTokenizerBase | None = None

    def tokens(self) -> str:
        """What tells one vocabulary from another; empty for open_clip's own."""
        if self.tokenizer is None:
            return ""
        return hashlib.sha256(json.dumps(self.tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()

    def export(self, folder: Path) -> None:
        """Writes a folder that `open_clip.create_model("local-dir:FOLDER")` loads, in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        config = {"model_cfg": self.config, "preprocess_cfg": _pixels_of(self.model)}
        (folder / FILES[1]).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_half(self.model, folder / FILES[0])
        write_manifest(folder, [file for file in FILES if (folder / file).is_file()])


def begin_small(texts: Iterable[str]) -> Towers:
    """New small towers (`CONFIG`) with a tokenizer of their own."""
    tokenizer = train_tokenizer(texts)
    return Towers(build(), ids_of(tokenizer, CONTEXT), CONFIG, tokenizer)


def begin_named(name: str, pretrained: str | None = None) -> Towers:
    """An architecture of open_clip, or a folder that was exported or downloaded.

    Args:
        name: Such as `ViT-B-16`, or `local-dir:FOLDER`.
        pretrained: Weights of the architecture: a tag that open_clip knows, or a file.

    Raises:
        BadInput: open_clip knows no such architecture or weights, or these are of another activation.
    """
    config = open_clip.get_model_config(name)
    if name.startswith(LOCAL) and (folder := Path(name.removeprefix(LOCAL))).is_dir():
        config = config_of(folder)["model_cfg"]
    if config is None:
        raise BadInput(
            f"open_clip knows no architecture {name!r}.", hint=f"Name one it lists, or {LOCAL}FOLDER."
        )
    known = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    if known and bool(known.get("quick_gelu")) != bool(config.get("quick_gelu")):
        raise BadInput(
            f"{pretrained} was not trained as {name}: its activation is another.",
            hint=f"Name {name}-quickgelu." if known.get("quick_gelu") else "Name it without -quickgelu.",
        )
    try:
        model = open_clip.create_model(name, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(
            f"open_clip cannot make {name}: {error}", hint="Check --model and --pretrained."
        ) from error
    tokenize = open_clip.get_tokenizer(name)
    return Towers(model, tokenize, config, getattr(tokenize, "tokenizer", None))


def ids_of(tokenizer: PreTrainedTokenizerBase, context: int) -> Callable[[list[str]], Tensor]:
    """What turns texts into ids (n, context): padded, truncated, with the end mark."""

    def tokenize(texts: list[str]) -> Tensor:
        made = tokenizer(
            texts, return_tensors="pt", padding="max_length", truncation=True, max_length=context
        )
        return cast(Tensor, made.input_ids)

    return tokenize


def _pixels_of(model: Any) -> dict[str, Any]:
    """How pictures are prepared: as in training, squashed; the size stands in the model's config."""
    kept = {key: value for key, value in model.visual.preprocess_cfg.items() if key not in ("size", "mode")}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}
    return {**plain, "resize_mode": "squash"}
