"""The prefix cache: longest common prefix, least recently used, nothing shared by accident."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, Gemma3TextConfig
from transformers.cache_utils import DynamicSlidingWindowLayer

from clarify.agent.generalist.prefix_cache import PrefixCache, common_prefix, fork, new_cache

KEYS = st.lists(st.integers(0, 2), max_size=8).map(tuple)


def filled(key: tuple[int, ...]) -> DynamicCache:
    cache = DynamicCache()
    states = torch.tensor(key, dtype=torch.float32).view(1, 1, -1, 1)
    cache.update(states, states * 10, 0)
    return cache


def tokens(cache: DynamicCache) -> list[int]:
    return [int(x) for x in cache.layers[0].keys.flatten()]


@given(KEYS, KEYS)
def test_common_prefix(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    n = common_prefix(a, b)
    assert a[:n] == b[:n] and (n == min(len(a), len(b)) or a[n] != b[n])


@given(st.lists(KEYS.filter(bool), min_size=1, max_size=6), KEYS.filter(bool))
def test_the_best_stored_prefix_is_found(stored: list[tuple[int, ...]], wanted: tuple[int, ...]) -> None:
    cache = PrefixCache(capacity=10)
    for key in stored:
        cache.store(key, filled(key))
    match = cache.match(wanted)
    assert match.length == max(common_prefix(key, wanted) for key in stored)
    if match.cache is not None:
        assert tokens(fork(match.cache, match.length)) == list(wanted[: match.length])


def test_a_fork_leaves_the_stored_cache_alone() -> None:
    cache = filled((1, 2, 3, 4))
    twin = fork(cache, 2)
    more = torch.full((1, 1, 1, 1), 9.0)
    twin.update(more, more, 0)
    assert tokens(twin) == [1, 2, 9] and tokens(cache) == [1, 2, 3, 4]
    assert twin.get_seq_length() == 3 and cache.get_seq_length() == 4


def test_least_recently_used_goes_first_and_prefixes_are_replaced() -> None:
    cache = PrefixCache(capacity=2)
    cache.store((1, 2), filled((1, 2)))
    cache.store((1, 2, 3), filled((1, 2, 3)))
    assert len(cache) == 1 and cache.bytes() == 24
    cache.store((5,), filled((5,)))
    cache.match((1, 2, 3))
    cache.store((6,), filled((6,)))
    assert cache.match((5,)).length == 0 and cache.match((1, 2)).length == 2
    cache.clear()
    assert len(cache) == 0


def windowed(key: tuple[int, ...], keep: bool) -> DynamicCache:
    """A cache of one layer with a window of 3, filled token by token."""
    cache = new_cache(
        Gemma3TextConfig(num_hidden_layers=1, layer_types=["sliding_attention"], sliding_window=3), keep
    )
    for token in key:
        states = torch.full((1, 1, 1, 1), float(token))
        cache.update(states, states * 10, 0)
    return cache


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.data())
def test_a_window_can_be_cut_anywhere_again_and_again(key: list[int], data: st.DataObject) -> None:
    """What a cut cache attends to next is what one that never saw more would."""
    cache = windowed(tuple(key), keep=True)
    assert PrefixCache.supports(cache)
    first = data.draw(st.integers(1, len(key)))
    second = data.draw(st.integers(1, first))
    twin = fork(fork(cache, first), second)
    assert tokens(twin) == key[:second] and tokens(cache) == key
    assert twin.get_mask_sizes(2, 0) == windowed(tuple(key[:second]), keep=False).get_mask_sizes(2, 0)
    more = torch.full((1, 1, 2, 1), 7.0)
    seen, _ = twin.update(more, more, 0)
    assert [int(x) for x in seen.flatten()] == [*key[:second][-2:], 7, 7]


def test_a_pass_that_failed_midway_leaves_nothing() -> None:
    cache = filled((1, 2, 3))
    states = torch.zeros((1, 1, 2, 1))
    cache.update(states, states, 1)  # the second layer lacks a token
    kept = PrefixCache()
    kept.store((1, 2, 3), cache)
    assert len(kept) == 0


def test_caches_that_cannot_be_cut_are_not_kept() -> None:
    sliding = filled((1, 2))
    sliding.layers = [DynamicSlidingWindowLayer(sliding_window=4)]
    cache = PrefixCache()
    assert not PrefixCache.supports(sliding) and not PrefixCache.supports(windowed((1, 2, 3), keep=False))
    cache.store((1, 2, 3), windowed((1, 2, 3), keep=False))
    cache.store((1, 2), sliding)
    cache.store((), DynamicCache())
    none = PrefixCache(capacity=0)
    none.store((1,), filled((1,)))
    assert len(cache) == len(none) == 0
