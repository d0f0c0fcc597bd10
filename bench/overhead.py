"""What the state machine costs beside LangChain's `create_agent`, when model and tools answer at once.

    pip install -c constraints.txt -e '.[bench]'
    python -m clarify.bench.overhead [--threads 50] [--megabytes 2]

Both play the same conversations (a picture turn with a look and a fetch, then four questions with a fetch
each; and four questions without any picture) with the same stand-in model, specialist and rows
(`bench/instant.py`) and LangGraph's SQLite checkpointer, thread by thread in turn. Ours runs as
`agent/runtime.py` runs it and does all it does in the product: it reads the words, checks and keeps the
picture, reads red flags, weighs, verifies every sentence and fills the answer; `create_agent` calls tools in
a loop and does nothing else. It runs twice: as it is, with a checkpoint a step, and with one a turn
(`durability="exit"`), as ours.

Printed are the time of a turn by the clock, and that of the processor (all threads together), which a busy
machine changes less, with the bytes that a turn adds to the database, as medians and 95th percentiles with
95 % bootstrap intervals; and how often the bytes of a picture of 2 MB stand in the database after each
turn: an agent that is given pictures as base64 blocks keeps them in its messages, ours keeps references to
a folder.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langgraph.checkpoint.sqlite import SqliteSaver
from PIL import Image

from ..agent.context import DEFAULT
from ..agent.generalist.pictures import inline_base64, is_picture
from ..agent.images import LocalImageStore, decode, from_base64
from ..agent.prompts import prompt
from ..agent.runtime import Session
from ..settings import Settings
from ..tools.classify import as_finding, show
from ..tools.render import render_rows
from ..training.intervals import ratio_of_medians, resampled
from .instant import PLAIN_PLAN, PLAN, ROWS, Instant, instant

T = TypeVar("T")
Ask = Callable[[str, str, bytes | None], str]
"""Answers a question, with or without a picture, in a thread: (thread, question, picture) to the answer."""
EXAMPLE = Path(__file__).parents[1] / "examples" / "sure.png"
KEEPING = "of a picture turn of CLARIFY, checking and keeping the picture"
FIRST, LATER, TEXT = "picture turn", "later turn, picture in the thread", "turn of a thread without a picture"


def clarify(parts: Instant, folder: Path, saver: SqliteSaver) -> Ask:
    """The state machine."""
    deps = parts.deps(LocalImageStore(folder / "images"))
    session = Session(settings=Settings(home=folder), deps=deps, checkpointer=saver)

    def ask(thread: str, question: str, picture: bytes | None) -> str:
        return session.ask(question, images=[picture] if picture else [], thread=thread).answer

    return ask


def plain(parts: Instant, folder: Path, saver: SqliteSaver, **options: Any) -> Ask:
    """`create_agent` with tools that do the same; `options` go to its `invoke`."""
    agent = create_agent(
        parts.model, plain_tools(parts), system_prompt=prompt("system_nano"), checkpointer=saver
    )

    def ask(thread: str, question: str, picture: bytes | None) -> str:
        blocks: list[dict[str, str]] = [{"type": "text", "text": question}]
        if picture:
            text = base64.b64encode(picture).decode()
            blocks.insert(0, {"type": "image", "base64": text, "mime_type": "image/png"})
        message = {"role": "user", "content": blocks}
        said = agent.invoke({"messages": [message]}, {"configurable": {"thread_id": thread}}, **options)
        return str(said["messages"][-1].text)

    return ask


def plain_tools(parts: Instant) -> list[Any]:
    """Tools over the stand-ins that say what ours say, for an agent whose pictures stand in its messages."""

    @tool
    def classify_lesion(image: str, runtime: ToolRuntime) -> str:
        """Classifies a dermoscopy picture of one skin lesion into seven kinds."""
        contents = [m.content for m in runtime.state["messages"] if isinstance(m.content, list)]
        blocks = [block for content in contents for block in content if is_picture(block)]
        pixels = decode(from_base64(str(inline_base64(blocks[int(image.removeprefix("img")) - 1]))))
        found = as_finding(image, parts.specialist.classify(pixels), second_look=False)
        return show(found, parts.specialist.names, DEFAULT.confidence_threshold)

    @tool
    def query_knowledge(query: str, diseases: list[str]) -> str:
        """Fetches sourced facts about skin diseases from the knowledge graph."""
        return render_rows(parts.knowledge.run(query, diseases, ROWS))

    return [classify_lesion, query_knowledge]


def plain_exit(parts: Instant, folder: Path, saver: SqliteSaver) -> Ask:
    """`create_agent` with one checkpoint a turn."""
    return plain(parts, folder, saver, durability="exit")


AGENTS: dict[str, Callable[[Instant, Path, SqliteSaver], Ask]] = {
    "CLARIFY": clarify,
    "create_agent": plain,
    "create_agent, exit": plain_exit,
}


@dataclass(frozen=True)
class Turn:
    """What one turn took.

    Attributes:
        kind: `FIRST`, `LATER` or `TEXT`.
        ms: Milliseconds by the clock.
        cpu: Milliseconds of the processor, of all threads.
        stored: Bytes that it added to the database, in whole pages.
        calls: Calls of the model.
        answer: What was said.
    """

    kind: str
    ms: float
    cpu: float
    stored: int
    calls: int
    answer: str


def timed(call: Callable[[], T]) -> tuple[T, float, float]:
    """What a call gives, with its milliseconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    made = call()
    return made, 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


class Run:
    """One agent over a database of its own in `folder`."""

    def __init__(self, name: str, parts: Instant, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self._parts = folder, parts
        self._file = sqlite3.connect(folder / "threads.sqlite", check_same_thread=False)
        saver = SqliteSaver(self._file)
        saver.setup()
        self._ask = AGENTS[name](parts, folder, saver)

    def stored(self) -> int:
        """Size of the database."""
        pages, size = (self._file.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "page_size"))
        return int(pages * size)

    def turn(self, kind: str, thread: str, question: str, picture: bytes | None = None) -> Turn:
        """Plays one turn."""
        size, asked = self.stored(), self._parts.model.asked[0]
        answer, ms, cpu = timed(lambda: self._ask(thread, question, picture))
        return Turn(kind, ms, cpu, self.stored() - size, self._parts.model.asked[0] - asked, answer)

    def about(self, picture: bytes, thread: str) -> Iterator[Turn]:
        """Plays a conversation about a picture."""
        for at, question in enumerate(PLAN):
            yield self.turn(LATER, thread, question) if at else self.turn(FIRST, thread, question, picture)

    def without(self, thread: str) -> Iterator[Turn]:
        """Plays a conversation without a picture."""
        for question in PLAIN_PLAN:
            yield self.turn(TEXT, thread, question)

    def copies(self, needles: Sequence[bytes]) -> int:
        """How often any of the byte strings stands in the database."""
        found = 0
        for (table,) in self._file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in self._file.execute(f"SELECT * FROM {table}"):
                cells = (c if isinstance(c, bytes) else str(c).encode() for c in row)
                found += sum(cell.count(needle) for cell in cells for needle in needles)
        return found

    def close(self) -> None:
        """Closes the database and deletes the folder."""
        self._file.close()
        shutil.rmtree(self.folder)


def pictures(n: int) -> list[bytes]:
    """The shipped example as n different PNG files, one pixel apart, so that none is known from before."""
    image = Image.open(EXAMPLE).convert("RGB")
    made = []
    for number in range(n):
        other = image.copy()
        other.putpixel((number % image.width, number // image.width), (0, 0, 0))
        made.append(_png(other))
    return made


def noise(megabytes: float) -> bytes:
    """A PNG file of about so many million bytes: noise, which cannot be compressed."""
    side = int((megabytes * 1e6 / 3) ** 0.5)
    return _png(Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def play(parts: Instant, folder: Path, threads: int) -> dict[str, list[Turn]]:
    """Every agent's turns; they take turns thread by thread, after one conversation that does not count.

    The entry `KEEPING` is that part of ours in which a picture is checked and kept, alone.
    """
    runs = {name: Run(name, parts, folder / str(i)) for i, name in enumerate(AGENTS)}
    turns: dict[str, list[Turn]] = {name: [] for name in runs}
    store, keeping = LocalImageStore(folder / "alone"), list[Turn]()
    for number, picture in enumerate(pictures(threads + 1)):
        for name, run in runs.items():
            turns[name] += [*run.about(picture, f"p{number}"), *run.without(f"t{number}")]
        stored, ms, cpu = timed(partial(store.put, picture))
        keeping.append(Turn(KEEPING, ms, cpu, 0, 0, stored.sha256))
    for run in runs.values():
        run.close()
    warm = len(PLAN) + len(PLAIN_PLAN)
    return {name: found[warm:] for name, found in turns.items()} | {KEEPING: keeping[1:]}


def follow(name: str, parts: Instant, folder: Path, picture: bytes) -> list[tuple[int, int, int, int]]:
    """One conversation about a large picture.

    Returns:
        For every turn so far: copies of the picture in the database, the database's bytes, files in the image
        store, and their bytes.
    """
    run, rows = Run(name, parts, folder), []
    for _ in run.about(picture, "t"):
        kept = [file.read_bytes() for file in folder.glob("images/*/*.png")]
        shapes = [picture, base64.b64encode(picture), *(k for k in kept if k != picture)]
        # A piece from the middle: no copy lacks it, and no other bytes have it.
        needles = [shape[len(shape) // 2 :][:64] for shape in shapes]
        rows.append((run.copies(needles), run.stored(), len(kept), sum(map(len, kept))))
    run.close()
    return rows


def spread(values: Sequence[float], unit: str = "ms") -> str:
    """Median and 95th percentile with their 95 % bootstrap intervals, for print."""
    parts = []
    for name, q in (("p50", 50), ("p95", 95)):
        value, low, high = resampled(lambda v, q=q: np.percentile(v, q), values)
        parts.append(f"{name} {value:7.1f} [{low:7.1f}, {high:7.1f}]")
    return f"{'  '.join(parts)} {unit}  n = {len(values)}"


def report(turns: dict[str, list[Turn]]) -> None:
    """Prints times, bytes and their ratios by kind of turn."""
    for kind in (FIRST, LATER, TEXT):
        mine = {name: [t for t in turns[name] if t.kind == kind] for name in AGENTS}
        print(kind)
        for name, found in mine.items():
            print(f"  {name:20s} {spread([t.ms for t in found])}")
            print(f"  {'':20s} {spread([t.cpu for t in found], 'ms of the processor')}")
            print(f"  {'':20s} {spread([t.stored / 1000 for t in found], 'kB stored')}")
            print(f"  {'':20s} model calls {np.mean([t.calls for t in found]):.1f}")
        ours, *others = mine
        for other in others:
            for what, field in (("time", "ms"), ("processor time", "cpu"), ("bytes", "stored")):
                over, under = ([getattr(t, field) for t in mine[name]] for name in (ours, other))
                value, low, high = ratio_of_medians(over, under)
                print(f"  {ours} over {other}, median {what}: {value:.2f} x [{low:.2f}, {high:.2f}]")
    alone = turns[KEEPING]
    print(f"{KEEPING}\n  {'':20s} {spread([t.ms for t in alone])}")
    print(f"  {'':20s} {spread([t.cpu for t in alone], 'ms of the processor')}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=50, help="conversations with a picture, and without")
    parser.add_argument("--megabytes", type=float, default=2.0, help="size of the large picture")
    args = parser.parse_args()
    parts, large = instant(), noise(args.megabytes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report(play(parts, folder / "turns", args.threads))
        print(
            f"a picture of {len(large) / 1e6:.2f} MB: copies in the database (its MB), files beside it (MB)"
        )
        rows = {agent: follow(agent, parts, folder / f"large{i}", large) for i, agent in enumerate(AGENTS)}
    for agent, after in rows.items():
        cells = (f"{c} ({b / 1e6:.2f}) {f} ({s / 1e6:.2f})" for c, b, f, s in after)
        print(f"  {agent:20s} " + " | ".join(f"turn {i}: {cell}" for i, cell in enumerate(cells, 1)))


if __name__ == "__main__":
    main()
