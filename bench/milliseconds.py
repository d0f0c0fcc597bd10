"""Where every millisecond of an answer goes: the staircase's lone model, and the state machine, part by part.

    python -m clarify.bench.milliseconds --data SHARED_DATA --alone runs/alone/full --n 60 --svg FILE

The same pictures and questions as in `bench.staircase`, answered one by one. Milliseconds are processor time
on one thread, which is what the clock shows on an idle machine. A part within another is counted once, for
itself, but the pass over a prompt, which is all prefill. Answers are of unequal length: below the table is
what a word about facts costs beside the lone model's, with the 95 % bootstrap interval over the pairs of
answers.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from ..agent.deps import default_deps
from ..agent.generalist import decoding
from ..agent.generalist.decoding import Generation
from ..agent.generalist.drafting import Lookup
from ..agent.generalist.grammar import Guide, GuideFactory
from ..agent.nodes import verify
from ..apps.picture import document, nth_colour
from ..graph_schema.stores.base import BaseStore
from ..tools.specialist import Specialist
from ..training.intervals import resampled
from .staircase import arguments, cases, systems
from .staircase_systems import System

SPECIALIST, PREFILL, REST = "specialist", "generalist: prefill", "state machine, checkpoint and all else"
PARTS: dict[str, tuple[tuple[Any, tuple[str, ...]], ...]] = {
    SPECIALIST: ((Specialist, ("classify", "second_look")),),
    "graph queries": ((BaseStore, ("query", "search", "near_names", "near_wordings")),),
    "generalist: reading prompt and picture": ((decoding, ("encode",)),),
    PREFILL: ((Generation, ("_prefill",)),),
    "generalist: passes over new tokens": ((Generation, ("_forward",)),),
    "generalist: grammar, copies and drafts": (
        (GuideFactory, ("guide",)), (Guide, ("mask", "accept", "forced")), (Lookup, ("draft", "add")),
    ),
    "verify": ((verify, ("review",)),),
}  # fmt: skip
"""Part -> the functions whose time it is."""


class Stopwatch:
    """Adds up the milliseconds of parts; while one runs within another, the other stands still."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = defaultdict(float)
        self._running = [REST]
        self._since = time.process_time()

    def lap(self) -> None:
        """Books the time since the last call on the part that runs."""
        now = time.process_time()
        self.ms[self._running[-1]] += 1000 * (now - self._since)
        self._since = now

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time booked on a part."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self.lap()
            self._running.append(PREFILL if self._running[-1] == PREFILL else part)
            try:
                return work(*args, **kwargs)
            finally:
                self.lap()
                self._running.pop()

        return run


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Books the time of all `PARTS` meanwhile."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for part, places in PARTS.items():
            for owner, names in places:
                for name in names:
                    timed = watch.timed(part, getattr(owner, name))
                    stack.enter_context(patch.object(owner, name, timed))
        yield watch
        watch.lap()


@dataclass(frozen=True)
class Spent:
    """What a system's answers took.

    Attributes:
        parts: Mean milliseconds of an answer, by part.
        ms: Milliseconds of each answer.
        words: Words about facts in each.
    """

    parts: dict[str, float]
    ms: list[float]
    words: list[int]


def measure(system: System, shown: Sequence[Any]) -> Spent:
    """Answers every case, the first one once more before."""
    system(shown[0])
    ms, words = list[float](), list[int]()
    with watched() as watch:
        for case in shown:
            begun = time.process_time()
            words.append(sum(len(sentence.split()) for sentence in system(case).sentences))
            ms.append(1000 * (time.process_time() - begun))
    parts = {part: watch.ms[part] / len(shown) for part in (*PARTS, REST) if watch.ms[part]}
    return Spent(parts, ms, words)


def a_word(one: Spent, base: Spent) -> tuple[float, float, float]:
    """How many times as long a word of a system takes as one of another, with the interval."""
    return resampled(
        lambda ms, words, ms0, words0: (ms.sum() / words.sum()) / (ms0.sum() / words0.sum()),
        one.ms, one.words, base.ms, base.words,
    )  # fmt: skip


def show(found: Mapping[str, Spent]) -> None:
    """Prints a table, a column a system; and a word's price beside the first one's."""
    first, base = next(iter(found.items()))
    n, totals = len(base.ms), {name: sum(one.parts.values()) for name, one in found.items()}
    print(f"| mean milliseconds of an answer, n = {n} | {' | '.join(found)} |\n|{'---|' * (len(found) + 1)}")
    for part in (*PARTS, REST):
        spent = {name: one.parts[part] for name, one in found.items() if part in one.parts}
        cells = [f"{spent[i]:.0f} ({spent[i] / totals[i]:.0%})" if i in spent else "" for i in found]
        print(f"| {part} | {' | '.join(cells)} |")
    print(f"| all | {' | '.join(f'{total:.0f}' for total in totals.values())} |")
    words = [f"{sum(one.words) / n:.0f}" for one in found.values()]
    print(f"| words about facts | {' | '.join(words)} |\n")
    for name, one in found.items():
        if one is not base:
            ratio = "{:.2f} x [{:.2f}, {:.2f}]".format(*a_word(one, base))
            print(f"{name}: a word takes {ratio} of what it takes {first}")


def figure(found: Mapping[str, Spent]) -> str:
    """A bar for each system, a colour for each part, as an SVG document."""
    parts, left, width, tall = (*PARTS, REST), 110, 560, 34
    totals = {name: sum(one.parts.values()) for name, one in found.items()}
    drawn = ["<text x='20' y='26' font-size='15'>Where every millisecond of an answer goes</text>"]
    for number, (name, one) in enumerate(found.items()):
        x, y = float(left), 46 + number * (tall + 14)
        drawn.append(f"<text x='{left - 10}' y='{y + 22}' text-anchor='end'>{escape(name)}</text>")
        for colour, part in enumerate(parts):
            wide = one.parts.get(part, 0.0) / max(totals.values()) * width
            drawn.append(_box(x, y, wide, tall, colour))
            x += wide
        drawn.append(f"<text x='{x + 8:.0f}' y='{y + 22}'>{totals[name]:.0f} ms</text>")
    below = 60 + len(found) * (tall + 14)
    for colour, part in enumerate(parts):
        x, y = left + colour % 2 * 300, below + colour // 2 * 22
        drawn.append(_box(x, y, 14, 14, colour))
        drawn.append(f"<text x='{x + 20}' y='{y + 12}'>{escape(part)}</text>")
    return document(left + width + 90, below + 22 * (len(parts) + 1) // 2 + 12, drawn)


def _box(x: float, y: float, wide: float, tall: float, colour: int) -> str:
    return f"<rect x='{x:.1f}' y='{y}' width='{wide:.1f}' height='{tall}' fill='{nth_colour(colour)}'/>"


def main() -> None:
    """Command line."""
    parser = arguments(__doc__, 60)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    args.only, args.packed = ("alone", "+ graph", "+ gate"), None
    torch.set_num_threads(1)
    specialist, deps = Specialist.load(), default_deps()
    shown = list(cases(args.data, specialist.names, args.n, args.seed))
    found = {name: measure(system, shown) for name, system, *_ in systems(args, specialist, deps.lexicon())}
    show(found)
    if args.svg:
        args.svg.write_text(figure(found), encoding="utf-8")
    if args.json:
        args.json.write_text(
            json.dumps({name: asdict(one) for name, one in found.items()}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
