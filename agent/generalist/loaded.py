"""A vision-language model in memory, with everything that belongs to it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from .grammar import GuideFactory
    from .messages import ChatTemplate
    from .prefix_cache import PrefixCache


@dataclass(eq=False)
class LoadedModel:
    """A model in memory with everything that belongs to it. Use it only under `lock`.

    Attributes:
        name: Folder or hub name, with `@revision` where one was pinned.
        sha256: Of the weight file of a folder; the commit of a hub model; empty when unknown.
        model: A transformers image-text-to-text model, in evaluation mode.
        processor: Its processor.
        tokenizer: The processor's tokenizer.
        template: The chat template and what it can do.
        guides: Makes grammars for this tokenizer.
        cache: Key-value caches of recent conversations.
        image_token_id: The token that stands for (a piece of) a picture.
        stop_ids: Tokens that end a turn.
        quantized: Whether the linear layers are in 4 bits.
        lock: Serialises generation.
    """

    name: str
    sha256: str
    model: Any
    processor: Any
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    guides: GuideFactory
    cache: PrefixCache
    image_token_id: int
    stop_ids: tuple[int, ...]
    quantized: bool
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device  # type: ignore[no-any-return]
