"""VILA-M3's trigger accuracy (arXiv 2411.12915), measured free-running: is the right expert called?

    python -m clarify.bench.trigger --data SHARED_DATA --pictures runs/pictures.npz --n 6000

VILA-M3's released evaluation puts the trigger into the text itself, and names the modality in the prompt.
Here nothing is put in and nothing is forced: only a call that the model begins is under the grammar, as in
the product, and the graph's must-call edges are off. Calls are free-running, answers as scripted: with the
first token of prose a turn ends and the script's answer takes its place, so that thousands of dialogues can
be played (`bench.generalist` lets the model write its own). Facts, names, wordings and pictures are of the
test split. Printed, with n and 95 % Wilson intervals:

- of a turn, as its calls reach the tools (`agent/named.py`; asking for what the conversation holds is no
  call): which tools and how often, with which arguments, in which order, each alone and all three; its first
  calls, those of one message; all of it to the word;
- beside it, teacher-forced: every token of the turn's calls predicted right, and no call where the answer
  begins, when all of the script before it is given;
- how often the graph would have had to force a tool that the model did not call (`agent/must_calls.py`; a
  search for told signs is left out). A picture that shows no skin is one that nano is taught to decline and
  that the graph has classified nevertheless;
- held-back dialogues by kind of turn; then questions that are asked with a lesion, other skin, a document and
  a landscape, as the first or second picture, beside what a reader of the text alone could reach;
- these with words that say, rightly and wrongly, what kind of picture it is (`modality.toml`);
- all of these with the pictures shuffled.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..graph_schema.folding import normalise
from ..training.generalist.dialogues import DialogueMaker, Message
from ..training.generalist.pictures import PictureBank
from ..training.generalist.world import load_names
from ..training.intervals import share
from .generalist import play, play_in, scripts, shuffled
from .trigger_cases import (
    SHOWN,
    Case,
    Gallery,
    draw_scenes,
    gallery_of,
    load_modality,
    moved,
    picture_cases,
    text_ceiling,
    with_words,
)
from .trigger_model import CallSpeaker
from .trigger_player import AGAIN, CallPlayer, Played

COLUMNS = (
    "all three", "tool", "arguments", "order", "first calls", "to the word", "teacher-forced", "graph forces",
)  # fmt: skip
PLAIN = "no words"
Script = list[Message]
Row = dict[str, int]
"""Hits by column, and `n`."""


class Measured(NamedTuple):
    """A turn as it was played, and whether it is predicted right when the script is given."""

    played: Played
    teacher_forced: bool


class Sets(NamedTuple):
    """What is played.

    Attributes:
        dialogues: Held-back dialogues.
        with_pictures: Numbers of those that are played again with their pictures shuffled.
        cases: Questions that a picture decides, by what is said beside them; the first as they are.
    """

    dialogues: list[Script]
    with_pictures: list[int]
    cases: dict[str, list[Case]]

    def scripts(self, seed: int) -> dict[str, list[Script]]:
        """All that is to be played, by name; `(shuffled)` has other pictures in the same places."""
        some = [self.dialogues[i] for i in self.with_pictures]
        asked = {name: [case.script for case in cases] for name, cases in self.cases.items()}
        again = {f"{name} (shuffled)": of for name, of in {"dialogues": some, **asked}.items()}
        orders = {name: shuffled(of, seed) for name, of in again.items()}
        mixed = {name: [moved(script, orders[name]) for script in of] for name, of in again.items()}
        return {"dialogues": self.dialogues, **asked, **mixed}


def make_sets(
    maker: DialogueMaker, gallery: Gallery, dialogues: int, again: int, cases: int, seed: int
) -> Sets:
    """Makes what is played; see `Sets`."""
    made = list(scripts(maker, dialogues, seed))
    seen = [i for i, script in enumerate(made) if any(message.images for message in script)]
    plain = picture_cases(maker, gallery, cases, seed)
    words = {f"{name} words": sentences for name, sentences in load_modality().items()}
    told = {name: [with_words(case, of, seed) for case in plain] for name, of in words.items()}
    return Sets(made, seen[:again], {PLAIN: plain, **told})


def measure(
    weights: Path,
    pictures: Path,
    scenes: Sequence[np.ndarray],
    size: int,
    lexicon: Collection[str],
    made: list[Script],
) -> list[list[Measured]]:
    """Plays dialogues and predicts them with the script given; the turns of each."""
    speaker, bank = CallSpeaker(weights), PictureBank.load(pictures)
    bank.pixels = np.concatenate([bank.pixels, *scenes])
    players = play(speaker, [CallPlayer(script, lexicon) for script in made], bank, {}, size)
    given = speaker.forced(made, bank, size)
    return [
        [Measured(*both) for both in zip(player.turns, turns, strict=True)]
        for player, turns in zip(players, given, strict=True)
    ]


def count(turns: Sequence[Measured]) -> Row:
    """Hits of each column."""
    hits = Counter({column: 0 for column in COLUMNS})
    for turn in turns:
        hits.update(name for name, right in turn.played.verdict().items() if right)
        hits["teacher-forced"] += turn.teacher_forced
        hits["graph forces"] += bool(turn.played.forced - {AGAIN})
    return {**hits, "n": len(turns)}


def table(sets: Sets, results: Mapping[str, Sequence[Sequence[Measured]]]) -> dict[str, Row]:
    """The rows of the report, by name, in order."""
    turns = [turn for dialogue in results["dialogues"] for turn in dialogue]
    rows = {"held-back dialogues": count(turns)}
    for kind in sorted({turn.played.kind for turn in turns}):
        rows[f"- {kind}"] = count([turn for turn in turns if turn.played.kind == kind])
    some = [results["dialogues"][i] for i in sets.with_pictures]
    for name, of in ("as they are", some), ("shuffled", results["dialogues (shuffled)"]):
        rows[f"turns with pictures, {name}"] = count(
            [turn for dialogue in of for turn in dialogue if turn.played.kind.startswith("picture")]
        )
    for name, cases in sets.cases.items():
        last = [dialogue[-1] for dialogue in results[name]]
        rows[f"the picture decides, {name}"] = count(last)
        if name == PLAIN:
            rows[f"- {name}, text alone at best"] = {"first calls": text_ceiling(cases), "n": len(cases)}
        for shown in SHOWN:
            rows[f"- {name}, {shown}"] = count(
                [turn for case, turn in zip(cases, last, strict=True) if case.shown == shown]
            )
        rows[f"- {name}, second picture"] = count(
            [turn for case, turn in zip(cases, last, strict=True) if case.second]
        )
        mixed = [dialogue[-1] for dialogue in results[f"{name} (shuffled)"]]
        rows[f"- {name}, pictures shuffled"] = count(mixed)
    return rows


def show(rows: Mapping[str, Row]) -> None:
    """Prints the rows as a table."""
    print(f"| turns | n | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}")
    for name, row in rows.items():
        cells = [share(row[column], row["n"]) if column in row else "-" for column in COLUMNS]
        print(f"| {name} | {row['n']} | {' | '.join(cells)} |")


def mistakes(turns: Sequence[Measured], most: int) -> None:
    """Prints some turns that are not all right."""
    wrong = [turn.played for turn in turns if not turn.played.verdict()["all three"]]
    for played in wrong[:most]:
        print(f"  {played.kind}: expected {played.expected}, made {played.made}")


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "weights" / "nano")
    parser.add_argument("--n", type=int, default=6000, help="held-back dialogues")
    parser.add_argument("--cases", type=int, default=600, help="questions that a picture decides")
    parser.add_argument(
        "--shuffled", type=int, default=1000, help="dialogues that are played with pictures shuffled"
    )
    parser.add_argument("--scenes", type=int, default=100, help="documents and landscapes to draw, of each")
    parser.add_argument(
        "--brief", type=float, default=1.0, help="share of dialogues with one short row a question"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", type=int, default=10, help="how many mistakes to print")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names, bank = load_names(args.data), PictureBank.load(args.pictures)
    maker = DialogueMaker("test", names, [], bank.names, bank, args.brief, cut=0.0)
    scenes = draw_scenes(args.scenes, args.seed + 1)  # the bank's own are drawn with seed 0
    sets = make_sets(maker, gallery_of(bank, scenes), args.n, args.shuffled, args.cases, args.seed)
    played = sets.scripts(args.seed)
    lexicon = {normalise(name) for name in names["disease"]}
    part = partial(measure, args.weights, args.pictures, list(scenes.values()), args.batch, lexicon)
    found = iter(play_in(args.processes, part, [script for made in played.values() for script in made]))
    results = {name: [next(found) for _ in made] for name, made in played.items()}
    rows = table(sets, results)
    turns = [turn for dialogue in results["dialogues"] for turn in dialogue]
    mistakes(turns, args.show)
    show(rows)
    forced = Counter(name for turn in turns for name in turn.played.forced)
    skin = [turn for turn in turns if turn.played.kind != "picture_not_skin"]
    print(f"tools the graph would have had to force in the dialogues: {dict(forced)}")
    held = count(skin)["graph forces"]
    print(f"turns in which it would, pictures of no skin left out: {share(held, len(skin))}")
    times, n = os.times(), sum(map(len, played.values()))
    minutes = (times.children_user + times.children_system) / 60
    print(f"{len(sets.dialogues)} dialogues, {n} in all sets: {minutes:.1f} core-minutes")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "forced": forced}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
