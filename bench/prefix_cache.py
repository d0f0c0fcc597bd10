"""What prefix cache, drafts and the tokens that the grammar forces save, and whether answers stay the same.

    python -m clarify.bench.prefix_cache [--threads 16]

The whole product answers the conversations of `prefix_cache.toml` with the shipped nano. Each call of the
generalist is made four times, in an order that changes from call to call: as shipped, without the prefix
cache, with every token of a tool call chosen by the model, and with nothing drafted; the answer as shipped
goes on. Printed are,
over second and later calls of a thread, how many tokens of the prompt are computed and how many are new
(beyond the longest prefix that an earlier call of the thread has computed); processor times as medians, and
their ratios over pairs of calls, with 95 % bootstrap intervals; and in how many calls the four answers are
the same. Exits with 1 when one is not. Processor times are those of one thread, which is what the clock
shows on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import Field

from ..agent.deps import default_deps
from ..agent.generalist.grammar import Guide, GuideFactory
from ..agent.generalist.prefix_cache import Key, PrefixCache, common_prefix
from ..agent.generalist.profiles import load_generalist
from ..agent.generalist.vlm import LocalVLM
from ..agent.runtime import Session
from ..settings import Settings
from ..training.intervals import ratio_of_medians, resampled, share

CONVERSATIONS = Path(__file__).with_suffix(".toml")
EXAMPLES = Path(__file__).parents[1] / "examples"
SHIPPED, UNCACHED, UNFORCED, UNDRAFTED = WAYS = (
    "as shipped", "no prefix cache", "no forced tokens", "no drafts"
)  # fmt: skip


class Watched(PrefixCache):
    """A prefix cache that remembers what it was asked for and given.

    Attributes:
        asked: The key of every prompt.
        given: The key of everything that was computed, kept or not.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.asked: list[Key] = []
        self.given: list[Key] = []

    def match(self, key: Key) -> Any:
        """As the cache does."""
        self.asked.append(key)
        return super().match(key)

    def store(self, key: Key, cache: Any) -> None:
        """As the cache does."""
        self.given.append(key)
        super().store(key, cache)

    def twin(self) -> Watched:
        """A cache that holds the same and has been asked nothing."""
        other = Watched(self.capacity)
        other._entries = self._entries.copy()
        return other


@dataclass
class Counts:
    """Tokens of the calls in one answer, after the mark that opens a call: all, and those forced."""

    inside: int = 0
    forced: int = 0


class TimedModel:
    """A model that keeps the processor time of its first pass, in milliseconds."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.first = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the model does."""
        start = time.process_time()
        out = self._model(*args, **kwargs)
        self.first = self.first or 1000 * (time.process_time() - start)
        return out


class CountingGuide:
    """A guide that counts the tokens of calls; without `jump` it forces none."""

    def __init__(self, guide: Guide, counts: Counts, jump: bool) -> None:
        self._guide, self._counts, self._jump = guide, counts, jump

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guide, name)

    def accept(self, token: int, text: str) -> None:
        """As the guide does."""
        self._counts.inside += self._guide.constrained
        self._guide.accept(token, text)

    def forced(self) -> list[int]:
        """As the guide does, or nothing."""
        ids = self._guide.forced() if self._jump else []
        self._counts.forced += len(ids)
        return ids


class CountingGuides:
    """A factory of guides that count."""

    def __init__(self, factory: GuideFactory, counts: Counts, jump: bool) -> None:
        self._factory, self._counts, self._jump = factory, counts, jump

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def guide(self, *args: Any, **kwargs: Any) -> CountingGuide:
        """As the factory does."""
        return CountingGuide(self._factory.guide(*args, **kwargs), self._counts, self._jump)


@dataclass(frozen=True)
class Answer:
    """One of the answers of a call.

    Attributes:
        said: Words and calls, without the ids that are drawn anew.
        prompt: Tokens of the prompt.
        computed: Tokens of it that were computed.
        total: Milliseconds of the processor for the whole answer.
        prefill: Of these, in the first pass of the model, which computes the prompt.
        counts: Tokens of calls.
    """

    said: tuple[Any, ...]
    prompt: int
    computed: int
    total: float
    prefill: float
    counts: Counts

    @property
    def rest(self) -> float:
        """Milliseconds of everything after that pass, and of the tokenizer before it."""
        return self.total - self.prefill


@dataclass(frozen=True)
class Call:
    """One call of the generalist, made in all ways.

    Attributes:
        later: Whether it is a second or later one of its thread.
        new: Tokens of the prompt that no earlier call of the thread has computed, at least the last one.
        answers: By way.
    """

    later: bool
    new: int
    answers: dict[str, Answer]

    @property
    def same(self) -> bool:
        """Whether all answers say the same."""
        return len({repr(answer.said) for answer in self.answers.values()}) == 1


@dataclass
class Log:
    """What was measured, and what the thread in progress has computed."""

    calls: list[Call] = field(default_factory=list)
    computed: list[Key] = field(default_factory=list)

    def add(self, prompt: Key, given: Sequence[Key], answers: dict[str, Answer]) -> None:
        """Notes one call."""
        known = max((common_prefix(prompt, key) for key in self.computed), default=0)
        self.calls.append(Call(bool(self.computed), max(1, len(prompt) - known), answers))
        self.computed += given


class ManyWays(LocalVLM):
    """A generalist that makes every call in all ways and goes on with the answer as shipped."""

    log: Log = Field(default_factory=Log, exclude=True)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        before: Watched = self.loaded.cache
        answers: dict[str, Answer] = {}
        caches = {way: Watched(0) if way == UNCACHED else before.twin() for way in WAYS}
        first, drafted = len(self.log.calls) % len(WAYS), self.draft_tokens
        for way in (*WAYS[first:], *WAYS[:first]):
            self.draft_tokens = 0 if way == UNDRAFTED else drafted
            with self._parts(caches[way], counts := Counts(), jump=way != UNFORCED) as timed:
                start = time.process_time()
                result = super()._generate(messages, stop, None, **kwargs)
                total = 1000 * (time.process_time() - start)
            answers[way] = _answer(result, total, timed.first, counts)
            if way == SHIPPED:
                shipped = result
        self.draft_tokens, self.loaded.cache = drafted, caches[SHIPPED]
        kept = caches[SHIPPED]
        self.log.add(kept.asked[-1], kept.given, answers)
        return shipped

    @contextmanager
    def _parts(self, cache: Watched, counts: Counts, *, jump: bool) -> Iterator[TimedModel]:
        """Puts a cache, counting guides and a timed model in their places for one call."""
        lm, timed = self.loaded, TimedModel(self.loaded.model)
        before = lm.guides, lm.cache, lm.model
        lm.guides, lm.cache, lm.model = CountingGuides(lm.guides, counts, jump), cache, timed
        try:
            yield timed
        finally:
            lm.guides, lm.cache, lm.model = before


def _answer(result: ChatResult, total: float, prefill: float, counts: Counts) -> Answer:
    message = result.generations[0].message
    assert isinstance(message, AIMessage) and message.usage_metadata is not None
    prompt = message.usage_metadata["input_tokens"]
    cached = message.usage_metadata["input_token_details"]["cache_read"]
    calls = [(c["name"], c["args"]) for c in (*message.tool_calls, *message.invalid_tool_calls)]
    return Answer((message.content, *calls), prompt, prompt - cached, total, prefill, counts)


def ask(model: ManyWays, session: Session, threads: Sequence[dict[str, Any]]) -> int:
    """Plays conversations; returns the number of questions."""
    asked = 0
    for thread in threads:
        model.log.computed.clear()
        name = f"thread {asked}"
        for number, question in enumerate(thread["questions"]):
            images = [EXAMPLES / thread["picture"]] if "picture" in thread and not number else []
            session.ask(question, images=images, thread=name)
            asked += 1
        print(f"  {asked} questions, {len(model.log.calls)} calls", file=sys.stderr, flush=True)
    return asked


def times(name: str, calls: Sequence[Call], other: str, part: str) -> None:
    """Prints the medians of a time with and without, and their ratio."""
    columns = {w: [getattr(call.answers[w], part) for call in calls] for w in (SHIPPED, other)}
    for way, column in columns.items():
        p50, low, high = resampled(np.median, column)
        p95 = np.percentile(column, 95)
        print(f"{name}, {way}: p50 {p50:.1f} [{low:.1f}, {high:.1f}], p95 {p95:.1f} ms  n = {len(calls)}")
    value, low, high = ratio_of_medians(columns[other], columns[SHIPPED])
    print(f"{name}, {other} over {SHIPPED}: {value:.2f} x [{low:.2f}, {high:.2f}]")


def part_of(name: str, some: Sequence[int], every: Sequence[int]) -> None:
    """Prints what part of all tokens some are, with the interval over calls, whose tokens belong together."""
    value, low, high = (100 * v for v in resampled(lambda a, b: a.sum() / b.sum(), some, every))
    print(
        f"{name}: {value:.1f} % [{low:.1f}, {high:.1f}]  {sum(some)} of {sum(every)}, n = {len(every)} calls"
    )


def report(calls: Sequence[Call]) -> bool:
    """Prints everything; returns whether all answers are the same."""
    later = [call for call in calls if call.later]
    shipped = [call.answers[SHIPPED] for call in later]
    prompts, n = [answer.prompt for answer in shipped], len(later)
    part_of("later calls, prompt tokens that are computed", [answer.computed for answer in shipped], prompts)
    part_of("later calls, prompt tokens that are new", [call.new for call in later], prompts)
    exact = sum(call.answers[SHIPPED].computed <= call.new for call in later)
    print(f"later calls that compute nothing but what is new: {share(exact, n)}  n = {n}")
    times("later calls, prefill", later, UNCACHED, "prefill")
    times("later calls, total", later, UNCACHED, "total")
    using = [call for call in calls if call.answers[SHIPPED].counts.inside]
    counts = [call.answers[SHIPPED].counts for call in using]
    part_of("tokens of tool calls that are forced", [c.forced for c in counts], [c.inside for c in counts])
    times("answers with tool calls, after the prefill", using, UNFORCED, "rest")
    times("answers with tool calls, total", using, UNFORCED, "total")
    writing = [call for call in calls if call.answers[SHIPPED].said[0]]
    times("answers in words, after the prefill", writing, UNDRAFTED, "rest")
    times("answers in words, total", writing, UNDRAFTED, "total")
    for other in (UNCACHED, UNFORCED, UNDRAFTED):
        same = sum(call.answers[SHIPPED].said == call.answers[other].said for call in calls)
        print(f"same answer as with {other}: {share(same, len(calls))}  n = {len(calls)}")
    for call in calls:
        if not call.same:
            print("  differ:", {way: answer.said for way, answer in call.answers.items()})
    return all(call.same for call in calls)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=16, help="the first so many conversations")
    args = parser.parse_args()
    torch.set_num_threads(1)
    threads = tomllib.loads(CONVERSATIONS.read_text(encoding="utf-8"))["thread"][: args.threads]
    with tempfile.TemporaryDirectory() as home:
        deps = default_deps(Settings(home=Path(home)))
        loaded: Any = load_generalist("nano", image_loader=deps.images.open)
        loaded.loaded.cache = Watched(loaded.loaded.cache.capacity)
        model = ManyWays(loaded=loaded.loaded, image_loader=deps.images.open, copies=loaded.copies)
        session = Session(deps=replace(deps, generalist=lambda profile: model))
        asked = ask(model, session, threads)
    print(
        f"nano, {asked} questions in {len(threads)} threads, {len(model.log.calls)} calls of the generalist"
    )
    if not report(model.log.calls):
        sys.exit(1)


if __name__ == "__main__":
    main()
