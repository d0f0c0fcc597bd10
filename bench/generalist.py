"""How the generalist does on held-back dialogues, free-running: it alone decides when to call what.

    python -m clarify.bench.generalist --data SHARED_DATA --pictures runs/pictures.npz --n 1000

Facts, names, wordings and pictures are of the test split. It is decoded as in the product
(`agent/generalist/grammar.py`, `copying.py`): nothing makes the model call, but a call that it begins is
under the grammar; what it begins to copy it copies; between the brackets of a citation stands what was
retrieved. `--free` lifts all of that. In each turn the model's own calls are answered by the made-up world
and its own words stay in the conversation. Printed, with Wilson 95 % intervals:

- tool choice: turns in which the calls (names and arguments, in parallel groups, in order) are right. The
  first row counts what reaches the tools, as the state machine reads a call: names are completed from the
  conversation (`agent/named.py`) and linked, and what the conversation holds already is not fetched again.
  The second row wants every call as the script has it, to the word, and no call more;
- fidelity: cited statements that say what their cited row says (subject, relation and object of a retrieved
row);
- coverage: retrieved rows that were said;
- the same with the pictures shuffled among the dialogues.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from langchain_core.utils.function_calling import convert_to_openai_tool
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteriaList

from ..agent.generalist.decoding import Writer
from ..agent.generalist.grammar import Guide
from ..agent.generalist.loaded import LoadedModel
from ..agent.generalist.loading import load
from ..graph_schema.folding import normalise
from ..graph_schema.protocol import FactRow
from ..tools import classify, knowledge
from ..tools.registry import REGISTRY
from ..training.generalist.dialogues import DialogueMaker, Message
from ..training.generalist.encode import segments, system_text
from ..training.generalist.model import embedded
from ..training.generalist.phrasing import PHRASING
from ..training.generalist.pictures import PictureBank
from ..training.generalist.world import load_names
from ..training.intervals import wilson
from .generalist_player import Player

MOST_NEW = 700
"""Tokens of the longest answer."""
P = TypeVar("P", bound="Talk")
T = TypeVar("T")
_CITE = re.compile(r"\s*\[([^\[\]]+)\]\s*$")


def faithful(line: str, rows: dict[str, FactRow], scripted: set[str]) -> tuple[bool, str]:
    """Whether a cited line says its row: a wording of its relation, with its subject and object.

    Returns:
        The verdict and the cited id.
    """
    match = _CITE.search(line)
    assert match is not None
    cited = match.group(1)
    if cited.startswith("specialist:"):
        return line in scripted, cited
    row = rows.get(cited)
    if row is None:
        return False, cited
    name, _, other = row.predicate.partition("differs from ")
    wordings = PHRASING["row"]["differs from" if other else name.strip()]
    text = line[: match.start()].strip()
    return any(text == w.format(s=row.subject, o=row.object, x=other) for w in wordings), cited


class Conversation(Protocol):
    """What the model goes on with.

    Attributes:
        said: The conversation so far.
    """

    said: list[Message]


class Talk(Conversation, Protocol):
    """A conversation that goes on until it ends."""

    def advance(self) -> bool:
        """Goes on to the next thing the model must write; False at the end."""

    def take(self, text: str) -> None:
        """Takes what the model wrote there."""


class Guided(LogitsProcessor):
    """Guides what a batch writes as `agent.generalist.Generation` does.

    Args:
        loaded: The model.
        talks: The conversations that it goes on with.
    """

    def __init__(self, loaded: LoadedModel, talks: Sequence[Conversation]) -> None:
        self.ends = loaded.stop_ids
        self.rows: list[tuple[Guide, Writer] | None] = []
        for talk in talks:
            results = [m.text for m in talk.said if m.role == "tool"]
            asked = [m.text for m in talk.said if m.role == "user"]
            images = tuple(dict.fromkeys(name for m in talk.said for name, _ in m.images))
            guide = loaded.guides.guide(offered(images), "auto", read=(results, asked))
            self.rows.append((guide, Writer(loaded)))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Takes the new tokens so far, (batch, new), and the logits of the next, (batch, vocabulary)."""
        for i, (new, logits) in enumerate(zip(input_ids.tolist(), scores, strict=True)):
            if new and new[-1] in self.ends:
                self.rows[i] = None
            if row := self.rows[i]:
                guide, writer = row
                if new:
                    guide.accept(new[-1], writer.add(new[-1]))
                guide.mask(logits)
        return scores


@cache
def offered(images: tuple[str, ...]) -> list[dict[str, Any]]:
    """The two tools that nano knows, as the state machine offers them where it was shown these pictures."""
    needs: dict[str, dict[str, Any]] = {
        classify.NAME: {
            "specialist": None, "open_image": None, "pictures": images, "threshold": 0.0, "sha256": {},
            "memo": None,
        },
        knowledge.NAME: {"knowledge": None, "max_rows": 1},
    }  # fmt: skip
    return [convert_to_openai_tool(REGISTRY.make(name, **need)) for name, need in needs.items()]


class Speaker:
    """The exported folder, decoded greedily in batches.

    Args:
        folder: Of the weights.
        most_new: Longest answer or group of calls, in tokens; a longer one is cut there.
        free: Whether it may write anything; else it is guided as in the product.
    """

    def __init__(self, folder: Path, most_new: int = MOST_NEW, *, free: bool = False) -> None:
        self.most_new, self.free = most_new, free
        self.loaded = load(str(folder), False, None, "cpu", local=True, warm=False)
        self.processor, self.model = self.loaded.processor, self.loaded.model
        self.processor.tokenizer.padding_side = "left"
        # For one token at a time of many rows on a CPU, 1.5 times as fast as the fused kernel.
        self.model.set_attn_implementation("eager")
        self.system = system_text()
        self.until = StoppingCriteriaList()

    def prompt(self, said: Sequence[Message]) -> str:
        """A conversation as the model reads it, up to where it goes on."""
        return "".join(text for text, _ in segments(said, self.system)) + "<|assistant|>"

    def fits(self, said: Sequence[Message]) -> bool:
        """Whether a conversation and the longest next message stand within the model's context."""
        ids = self.processor.tokenizer(self.prompt(said), add_special_tokens=False)["input_ids"]
        return len(ids) + self.most_new <= int(self.model.config.text_config.max_position_embeddings)

    @torch.inference_mode()
    def write(
        self, players: Sequence[Conversation], bank: PictureBank | None, order: dict[int, int]
    ) -> list[str]:
        """Continues each conversation."""
        tokenizer = self.processor.tokenizer
        texts = [self.prompt(p.said) for p in players]
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        indices = [order.get(i, i) for p in players for m in p.said for _, i in m.images]
        pictures = bank.tensor(indices) if indices and bank is not None else torch.zeros(0)
        guided = [] if self.free else [Guided(self.loaded, players)]
        made = self.model.generate(
            inputs_embeds=embedded(self.model, batch["input_ids"], pictures),
            attention_mask=batch["attention_mask"],
            max_new_tokens=self.most_new,
            do_sample=False,
            stopping_criteria=self.until,
            logits_processor=LogitsProcessorList(guided),
        )
        texts = tokenizer.batch_decode(made, skip_special_tokens=False)
        return [t.split("<|end|>")[0].replace("<pad>", "") for t in texts]


def play(
    model: Speaker, players: list[P], bank: PictureBank | None, order: dict[int, int], size: int
) -> list[P]:
    """Plays dialogues in batches, those that are shortest first, until all have ended."""
    live = [p for p in players if p.advance()]
    start, done = time.time(), 0
    while live:
        live.sort(key=lambda p: sum(len(m.text) for m in p.said))
        batch = live[:size]
        for one, text in zip(batch, model.write(batch, bank, order), strict=True):
            one.take(text)
        live = live[size:] + [p for p in batch if p.advance()]
        done += 1
        if done % 20 == 0:
            print(
                f"  {len(players) - len(live)}/{len(players)} dialogues, {time.time() - start:.0f} s",
                flush=True,
            )
    return players


def play_in(
    processes: int, part: Callable[[list[list[Message]]], list[T]], made: list[list[Message]]
) -> list[T]:
    """Plays dialogues in several processes of one thread each; which process plays one changes nothing.

    Args:
        processes: How many.
        part: Plays some dialogues; it is sent to the processes.
        made: The dialogues.

    Returns:
        What `part` returned of each.
    """
    played: list[Any] = [None] * len(made)
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        done = pool.map(part, [made[i::processes] for i in range(processes)])
        for i, players in enumerate(done):
            played[i::processes] = players
    return played


def _part(
    weights: Path,
    pictures: Path | None,
    order: dict[int, int],
    size: int,
    lexicon: Collection[str],
    free: bool,
    made: list[list[Message]],
) -> list[Player]:
    bank = PictureBank.load(pictures) if pictures else None
    return play(Speaker(weights, free=free), [Player(script, lexicon) for script in made], bank, order, size)


def report(players: list[Player], show: int) -> dict[str, Any]:
    """Counts and prints."""
    kinds: dict[str, Counter[bool]] = defaultdict(Counter)
    said = right = covered = rows_total = exact = worded = 0
    shown = 0
    for player in players:
        for kind, good, to_the_word, expected, made in player.results:
            kinds[kind][good] += 1
            worded += to_the_word
            if not good and shown < show:
                shown += 1
                print("  wrong call", kind, "expected", expected, "made", made)
        for prose, message, calls in player.answers:
            rows = {r.fact_id: r for c in calls for r in c.rows}
            scripted = set(message.text.split("\n"))
            wanted = {m.group(1) for line in scripted if (m := _CITE.search(line))}
            cited = set()
            exact += prose == message.text
            for line in prose.split("\n"):
                if not _CITE.search(line):
                    continue
                ok, name = faithful(line.strip(), rows, scripted)
                said += 1
                right += ok
                cited.add(name)
                if not ok and shown < 2 * show:
                    shown += 1
                    print("  unfaithful", repr(line), "row", rows.get(name) and rows[name].object)
            rows_total += len(wanted)
            covered += len(wanted & cited)
    turns, well = sum(sum(c.values()) for c in kinds.values()), sum(c[True] for c in kinds.values())
    table = {
        "right tool and arguments": (well, turns),
        "the same, to the word": (worded, turns),
        "statements that say their row": (right, said),
        "rows said": (covered, rows_total),
        "answers exactly as the reference": (exact, sum(len(p.answers) for p in players)),
    }
    for name, (hits, n) in table.items():
        p, (low, high) = hits / n if n else math.nan, wilson(hits, n)
        print(f"{name:36s} {100 * p:6.2f} %  [{100 * low:.2f}, {100 * high:.2f}]  n = {n}")
    for kind, counts in sorted(kinds.items()):
        n = sum(counts.values())
        p, (low, high) = counts[True] / n, wilson(counts[True], n)
        print(f"    {kind:32s} {100 * p:6.2f} %  [{100 * low:.2f}, {100 * high:.2f}]  n = {n}")
    return {name: {"hits": hits, "n": n} for name, (hits, n) in table.items()}


def shuffled(scripts: list[list[Message]], seed: int) -> dict[int, int]:
    """Permutes the pictures over all dialogues."""
    indices = sorted({i for s in scripts for m in s for _, i in m.images})
    moved = indices.copy()
    random.Random(seed).shuffle(moved)
    return dict(zip(indices, moved, strict=True))


def scripts(maker: DialogueMaker, n: int, seed: int) -> Iterator[list[Message]]:
    """Makes held-back dialogues."""
    for number in range(n):
        yield maker.make(random.Random(f"bench/{seed}/{number}"))


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "weights" / "nano")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", type=int, default=10, help="how many mistakes to print")
    parser.add_argument(
        "--shuffled", type=int, default=300, help="dialogues of the row with shuffled pictures"
    )
    parser.add_argument("--free", action="store_true", help="let the model write anything")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bank = PictureBank.load(args.pictures) if args.pictures else None
    names = load_names(args.data)
    lexicon = {normalise(name) for name in names["disease"]}
    maker = DialogueMaker("test", names, [], bank.names if bank else [], bank)

    def run(made: list[list[Message]], order: dict[int, int]) -> list[Player]:
        part = partial(_part, args.weights, args.pictures, order, args.batch, lexicon, args.free)
        return play_in(args.processes, part, made)

    made = list(scripts(maker, args.n, args.seed))
    played = run(made, {})
    print(f"held-back dialogues, n = {len(made)}")
    results = {"pictures": report(played, args.show)}
    if bank is not None and args.shuffled:
        seen = [i for i, script in enumerate(made) if any(m.images for m in script)][: args.shuffled]
        print(f"dialogues with pictures, n = {len(seen)}")
        results["with_pictures"] = report([played[i] for i in seen], 0)
        print("the same, pictures shuffled")
        some = [made[i] for i in seen]
        results["shuffled"] = report(run(some, shuffled(some, args.seed)), 0)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
