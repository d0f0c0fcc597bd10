"""The prefix cache: longest common prefix, least recently used, nothing shared by accident."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache
from transformers.cache_utils import DynamicSlidingWindowLayer

from clarify.agent.generalist.prefix_cache import PrefixCache, common_prefix, fork

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


def test_caches_that_cannot_be_cut_are_not_kept() -> None:
    sliding = filled((1, 2))
    sliding.layers = [DynamicSlidingWindowLayer(sliding_window=4)]
    cache = PrefixCache()
    assert not PrefixCache.supports(sliding)
    cache.store((1, 2), sliding)
    cache.store((), DynamicCache())
    none = PrefixCache(capacity=0)
    none.store((1,), filled((1,)))
    assert len(cache) == len(none) == 0
