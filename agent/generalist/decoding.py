"""The decoding loop: prefill what is not cached, then one token after the other under the guide.

An own loop instead of `model.generate`: it hands out text as it comes, lets the prefix cache and the
grammar in, can be stopped between two tokens, drafts what is likely copied, and costs less per token, which
for a small model is most of the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .drafting import Lookup
from .encoding import Encoded, encode, new_pictures
from .grammar import Guide
from .pictures import Picture
from .prefix_cache import PrefixCache, common_prefix, cut, fork, new_cache

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

    from .loaded import LoadedModel


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: At least 1.
        temperature: 0 takes the most likely token.
        seed: Makes sampling repeatable.
        stop: Texts that end the generation and are not part of it.
        draft: Tokens that are guessed ahead at most, while the most likely token is taken; they change no
            answer.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    draft: int = 8


class Generation:
    """One answer of a model. Iterate under the model's lock: each step yields the whole text so far.

    Attributes:
        text: What was generated, stop text removed, markers of tool calls included.
        finish_reason: `stop`, `length` or `cancelled`.
        prompt_tokens: Length of the prompt.
        cached_tokens: How many of them were not computed again.
        new_tokens: Generated tokens, the stop token included.
        passes: How often the model ran after the prompt.
        ms: Milliseconds: `encode`, `prefill`, `decode`.
    """

    def __init__(
        self,
        lm: LoadedModel,
        prompt: str,
        pictures: Sequence[Picture],
        sampling: Sampling,
        guide: Guide,
        cancel: threading.Event | None = None,
    ) -> None:
        self._lm, self._prompt, self._pictures = lm, prompt, pictures
        self._sampling, self._guide, self._cancel = sampling, guide, cancel or threading.Event()
        self.text, self.finish_reason = "", "length"
        self.prompt_tokens = self.cached_tokens = self.new_tokens = self.passes = 0
        self.ms: dict[str, float] = {}
        self._ids: list[int] = []
        self._chooser, self._writer = _Chooser(sampling), Writer(lm)

    def __iter__(self) -> Iterator[str]:
        """Generates; closing the iterator or setting the cancel event ends it between two tokens."""
        import torch

        clock = _Clock(self.ms)
        encoded = encode(self._lm, self._prompt, self._pictures)
        self.prompt_tokens = encoded.ids.shape[1]
        clock.lap("encode")
        with torch.inference_mode():
            logits, cache = self._prefill(encoded)
        clock.lap("prefill")
        try:
            yield from self._decode(encoded, cache, logits)
        finally:
            clock.lap("decode")
            if encoded.key is not None:  # the last token was chosen but not computed
                self._lm.cache.store((*encoded.key, *self._ids)[: cache.get_seq_length()], cache)

    def _prefill(self, encoded: Encoded) -> tuple[torch.Tensor, DynamicCache]:
        lm, start, cache = self._lm, 0, None
        if encoded.key is not None:
            match = lm.cache.match(encoded.key)
            start = encoded.cut(match.length)
            cache = fork(match.cache, start) if match.cache is not None and start else None
        self.cached_tokens = start
        if cache is None:
            cache = new_cache(lm.model.config, keep=encoded.key is not None and lm.cache.capacity > 0)
        inputs = dict(encoded.token_inputs) | new_pictures(lm, encoded, self._pictures, start)
        if encoded.positions is not None:
            inputs["position_ids"] = encoded.positions
        # The model knows which of its inputs go with the new tokens alone, and which, such as Gemma's token
        # types, are read by position and go whole.
        inputs = lm.model.prepare_inputs_for_generation(
            encoded.ids,
            next_sequence_length=encoded.ids.shape[1] - start,
            past_key_values=cache,
            is_first_iteration=True,
            **inputs,
        )
        return self._forward(inputs), cache

    def _forward(self, inputs: dict[str, Any], keep: int = 1) -> torch.Tensor:
        """Runs the model on the new tokens of `inputs`; returns the logits (keep, vocabulary) of the last."""
        out = self._lm.model(**{**inputs, "use_cache": True, "logits_to_keep": keep})
        logits: torch.Tensor = out.logits[0, -keep:].float()
        return logits

    def _decode(self, encoded: Encoded, cache: DynamicCache, logits: torch.Tensor) -> Iterator[str]:
        """Yields the text after each pass of the model; a pass brings one token or more.

        Of the answer the cache holds what a pass has read: all but the tokens that were taken last.
        """
        import torch

        limit, start, read = self._sampling.max_new_tokens, cache.get_seq_length(), 0
        lookup, draft = self._lookup(encoded, cache), list[int]()
        while len(self._ids) < limit and self.finish_reason == "length":
            if self._cancel.is_set():
                self.finish_reason = "cancelled"
                break
            with torch.inference_mode():
                if read < len(self._ids):
                    draft = lookup.draft()[: limit - len(self._ids) - 1]
                    new = torch.tensor([[*self._ids[read:], *draft]], device=self._lm.device)
                    places = self._places(encoded, read, read + new.shape[1])
                    inputs = {"input_ids": new, "past_key_values": cache, **places}
                    logits = self._forward(inputs, 1 + len(draft))
                    read, self.passes = len(self._ids), self.passes + 1
                taken = len(self._ids)
                try:
                    if self._take(logits, draft, limit):
                        return
                finally:  # what was drafted and not taken goes
                    right = common_prefix(tuple(draft), tuple(self._ids[taken:]))
                    if right < len(draft):
                        cut(cache, start + read + right)
            read += right
            for token in self._ids[taken:]:
                lookup.add(token)
            yield self.text
        self.text = self._writer.end()
        self._stopped()

    def _lookup(self, encoded: Encoded, cache: DynamicCache) -> Lookup:
        """Drafts where the most likely token is taken and the cache can be cut back."""
        greedy = self._sampling.temperature <= 0 and PrefixCache.supports(cache)
        never = {self._lm.image_token_id, *self._lm.stop_ids}
        return Lookup(encoded.ids[0].tolist(), self._sampling.draft if greedy else 0, never)

    def _take(self, logits: torch.Tensor, draft: list[int], limit: int) -> bool:
        """Takes tokens while they are those of the draft, and the first that is not.

        Args:
            logits: Of what follows each start of the draft, (1 + draft, vocabulary).
            draft: Guessed tokens.
            limit: The most tokens of an answer.

        Returns:
            Whether a stop text has ended the answer.
        """
        right, follows = 0, list[int]()
        while len(self._ids) < limit:
            if not follows:
                if right < 0:  # the model has not read what was taken instead of the draft
                    return False
                self._guide.mask(logits[right])
                follows = [self._chooser(logits[right])]
            token = follows.pop(0)
            right = right + 1 if 0 <= right < len(draft) and token == draft[right] else -1
            self._ids.append(token)
            self.new_tokens += 1
            if token in self._lm.stop_ids:
                self.finish_reason = "stop"
                return False
            self.text = self._writer.add(token)
            self._guide.accept(token, self.text)
            if self._stopped():
                return True
            follows = follows or self._guide.forced()
        return False

    def _places(self, encoded: Encoded, start: int, stop: int) -> dict[str, Any]:
        """Positions of generated tokens, for models with multimodal rotary positions: (3, 1, n)."""
        import torch

        if encoded.positions is None:
            return {}
        first = int(encoded.positions.max()) + 1
        places = torch.arange(first + start, first + stop, device=self._lm.device)
        return {"position_ids": places.view(1, 1, -1).expand(3, 1, -1)}

    def _stopped(self) -> bool:
        """Cuts the text at the first stop text, if one has appeared."""
        places = [place for stop in self._sampling.stop if (place := self.text.find(stop)) >= 0]
        if places:
            self.text, self.finish_reason = self.text[: min(places)], "stop"
        return bool(places)


class _Chooser:
    def __init__(self, sampling: Sampling) -> None:
        import torch

        self._temperature = sampling.temperature
        self._random = torch.Generator(device="cpu")
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def __call__(self, logits: torch.Tensor) -> int:
        if self._temperature <= 0:
            return int(logits.argmax())
        import torch

        shares = torch.softmax(logits.cpu() / self._temperature, dim=-1)
        return int(torch.multinomial(shares, 1, generator=self._random))


class Writer:
    """Turns tokens into text bit by bit; waits while a character is incomplete, drops control tokens.

    Args:
        lm: The model that wrote them.
    """

    def __init__(self, lm: LoadedModel) -> None:
        markers = set(lm.guides.markers.values())
        self._tokenizer = lm.tokenizer
        self._hidden = {i for i, t in lm.tokenizer.added_tokens_decoder.items() if t.special} - markers
        self._ids: list[int] = []
        self._start = self._done = 0
        self._text = ""

    def add(self, token: int) -> str:
        """Takes a token; returns the text so far."""
        if token not in self._hidden:
            self._ids.append(token)
        before, after = self._read(self._start, self._done), self._read(self._start, len(self._ids))
        if len(after) > len(before) and not after.endswith("\ufffd"):
            self._text += after[len(before) :]
            self._start, self._done = self._done, len(self._ids)
        return self._text

    def end(self) -> str:
        """The text with what is incomplete."""
        before, after = self._read(self._start, self._done), self._read(self._start, len(self._ids))
        return self._text + after[len(before) :]

    def _read(self, start: int, stop: int) -> str:
        text = self._tokenizer.decode(
            self._ids[start:stop], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)


class _Clock:
    def __init__(self, ms: dict[str, float]) -> None:
        self._ms, self._last = ms, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._ms[name], self._last = round(1000 * (now - self._last), 2), now
