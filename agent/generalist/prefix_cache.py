"""Key-value caches of recent conversations, found again by the longest common prefix.

A conversation's key is its token ids with every picture token replaced by a number made of the picture's
SHA-256: token ids alone do not tell pictures apart.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import DynamicCache

Key = tuple[int, ...]


@dataclass
class Match:
    """The best stored prefix: the cache it belongs to and how many tokens are shared."""

    cache: DynamicCache | None
    length: int


class PrefixCache:
    """A small least-recently-used store of key-value caches; call it only under the model's lock.

    Stored caches are never changed: `fork` hands out a copy whose tensors are views, and transformers'
    dynamic layers append by concatenation. Only caches all of whose layers still hold every token qualify
    (`supports`): plain layers, and sliding-window layers that were told to keep what leaves their window
    (`new_cache`). Those of linear attention and static ones cannot be cut back to any length, so for them
    nothing is kept.
    """

    def __init__(self, capacity: int = 4) -> None:
        self.capacity = capacity
        self._entries: OrderedDict[Key, DynamicCache] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def supports(cache: Any) -> bool:
        """Whether a cache can be cut back to any length without leaving a trace."""
        from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

        layers: list[Any] = getattr(cache, "layers", [])
        return bool(layers) and all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
            and layer.is_initialized
            and layer.keys.shape[-2] == layer.get_seq_length()
            for layer in layers
        )

    def match(self, key: Key) -> Match:
        """Finds the stored conversation that shares the longest prefix with `key`."""
        best, length = None, 0
        for stored in self._entries:
            shared = common_prefix(stored, key)
            if shared > length:
                best, length = stored, shared
        if best is None:
            return Match(None, 0)
        self._entries.move_to_end(best)
        return Match(self._entries[best], length)

    def store(self, key: Key, cache: DynamicCache) -> None:
        """Keeps a cache that holds exactly the tokens of `key`; conversations it continues are dropped.

        One that does not, because its layers differ in length after a pass that failed midway, is not kept.
        """
        if self.capacity < 1 or not self.supports(cache):
            return
        layers: list[Any] = cache.layers
        if any(layer.get_seq_length() != len(key) for layer in layers):
            return
        for stored in [k for k in self._entries if len(k) <= len(key) and key[: len(k)] == k]:
            del self._entries[stored]
        self._entries[key] = cache
        while len(self._entries) > self.capacity:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()

    def bytes(self) -> int:
        """Bytes of the stored keys and values."""
        layers: list[Any] = [layer for cache in self._entries.values() for layer in cache.layers]
        return sum(int(t.nbytes) for layer in layers for t in (layer.keys, layer.values))


def common_prefix(a: Key, b: Key) -> int:
    """Length of the common prefix of two keys."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)


def new_cache(config: Any, keep: bool) -> DynamicCache:
    """Makes an empty cache for a model.

    Args:
        config: The model's configuration.
        keep: Whether it is to be stored. Then sliding-window layers keep the tokens that leave their window,
            as transformers' own decoding with rollback has them do: a window of a longer conversation does
            not hold what a shorter one ended with. They attend to their window all the same; the price is
            the memory of a layer that attends to everything.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicSlidingWindowLayer

    cache = DynamicCache(config=config)
    layers: list[Any] = cache.layers
    for layer in layers if keep else []:
        if type(layer) is DynamicSlidingWindowLayer:
            record: Any = layer.activate_past_recording  # transformers has no types here
            record()
    return cache


def fork(cache: DynamicCache, length: int) -> DynamicCache:
    """Copies the first `length` tokens of a cache without touching it (the tensors are views)."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    cut(twin, length)
    return twin


def cut(cache: DynamicCache, length: int) -> None:
    """Leaves the first `length` tokens of a cache that holds all of its own; the rest is not freed.

    Not by `crop`, which takes from a sliding-window layer what lies before its window: it could not be cut
    again.
    """
    from transformers.cache_utils import DynamicSlidingWindowLayer

    layers: list[Any] = cache.layers
    for layer in layers:
        layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = length
