"""What the generalist calls for real patients' questions, long and rambling as they are.

    python -m clarify.bench.dermavqa --data DATA --pictures runs/pictures.npz [--weights FOLDER] [--n N]

The questions are those of DermaVQA (iiyi, English; Yim et al., MICCAI 2024; CC BY 4.0), read where they lie,
in `DATA/dermavqa`. `dermavqa.tsv` holds ids and labels alone: the whole valid part, and the first 215
of train in the order of the file, less 35 that ask nothing or have no usable text. They were labelled by
reading, by one reader who is no clinician and knew the urgency rules: what is asked, which diseases the
patient names as what it is or may be, and how urgent the words alone are.

Every one of these questions came with pictures, and those are not here. In their place stands a picture that
the model was not trained on, a lesion or a drawn scene of other skin, drawn by a seeded generator without
regard to the text: what is measured is what is called, not what is seen. The specialist's finding is made up
as in the training dialogues, and so are the facts.

The model plays free-running and alone: tool choice "auto", the state machine's must-calls off, no grammar, up
to `ROUNDS` messages with calls, until it writes prose. Beside it stands what the graph would force for the
same text and finding, by rule: the look at the picture, its own differential of what an unsure finding leaves
open, and one fetch. For that fetch every query counts that its rules of reading leave on offer, "describe"
where they read none; with several on offer the model picks one, so this column is at best. Names count as the
same when the graph links them to the same disease, and are completed from the conversation as in the product.

Then the same texts without a picture, where no disease is named: nothing may be classified. Last, urgency by
rule (`agent/red_flags.py`) beside the labels. Intervals are Wilson's, 95 %. No text is cut: a turn that does
not fit the model's context ends there and is counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from ..agent.must_calls import MEDICAL, Turn, must_calls
from ..agent.named import Heard, completed_args
from ..agent.red_flags import LEVELS, triage
from ..agent.turn_kind import intents, turn_kind
from ..errors import BadInput
from ..graph_schema.folding import normalise
from ..graph_schema.linking import link
from ..graph_schema.mentions import find_mentions
from ..graph_schema.protocol import KnowledgeGraph, Link
from ..graph_schema.stores import open_graph
from ..tools.classify import NAME as CLASSIFY
from ..tools.knowledge import NAME as QUERY
from ..training.generalist.dialogues import DialogueMaker
from ..training.generalist.findings import Finding
from ..training.generalist.pictures import PictureBank
from ..training.generalist.world import load_names
from ..training.intervals import share
from .dermavqa_player import (
    BOTH,
    DISEASE,
    EXTRA,
    IMAGE,
    INTENT,
    LOOKED,
    PRECISE,
    SILENT,
    Conversation,
    Question,
    right_diseases,
    score,
)
from .generalist import Speaker, play
from .generalist_player import Key, canonical, linked
from .linking_cases import question_texts

LABELS = Path(__file__).with_name("dermavqa.tsv")
MOST_NEW = 256
"""Tokens of a message. Four calls take fewer; prose, which is not scored, is cut there."""
WELL = "messages with calls that are all well-formed"
Counts = dict[str, tuple[int, int]]


def labels() -> Iterator[dict[str, str]]:
    """The rows of `dermavqa.tsv`."""
    with LABELS.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle, delimiter="\t")


def questions(data: Path) -> list[Question]:
    """The labelled questions with their texts: the title, and the content on lines of its own.

    Raises:
        BadInput: The folder lacks DermaVQA, or one of the labelled questions.
    """
    texts, found = question_texts(data), []
    for row in labels():
        encounter = row["encounter_id"]
        if (encounter, "title") not in texts:
            raise BadInput(f"{encounter} is not in {data}.", hint="The labels are for DermaVQA's iiyi part.")
        parts = dict.fromkeys(texts[encounter, part].strip() for part in ("title", "content"))
        named = tuple(filter(None, row["named"].split(";")))
        text = "\n".join(filter(None, parts))
        found.append(
            Question(encounter, row["split"], tuple(row["asks"].split()), named, row["urgent"], text)
        )
    return found


class Names:
    """Which names mean the same disease: spelt alike, or linked to the same node of the graph."""

    def __init__(self, kg: KnowledgeGraph) -> None:
        self.mentions = cache(lambda text: find_mentions(kg, text))
        self._curies = cache(lambda name: frozenset(found.curie for found in link(kg, name, 1)))

    def same(self, name: str, others: Sequence[str]) -> bool:
        """Whether a name means one of the others."""
        read = linked(name, others)
        return any(
            normalise(read) == normalise(other) or bool(self._curies(read) & self._curies(other))
            for other in others
        )

    def read(self, call: Key, question: Question, finding: Finding | None) -> Key:
        """A call as it reaches the tools: its names completed from the conversation."""
        shown = [name for name, _ in finding.shares] if finding else []
        mentions = [found.name for found in self.mentions(question.text)]
        heard = Heard([*mentions, *shown], mentions, question.text)
        return call[0], canonical(completed_args(json.loads(call[1]), heard, self._known))

    def _known(self, name: str) -> bool:
        return any(normalise(found.matched) == normalise(name) for found in self.mentions(name))


def forced(text: str, mentions: Sequence[Link], finding: Finding) -> list[Key]:
    """What the state machine sees to by rule in a turn with a picture, whatever the model chooses.

    Args:
        text: The patient's words.
        mentions: Diseases that the graph reads in them.
        finding: What the specialist says of the picture.

    Returns:
        Calls: the look, the differential of `widen`, and one for every query on offer in a forced fetch.
    """
    names = list(dict.fromkeys(found.name for found in mentions))
    asked = dict.fromkeys("describe" if i == "identify" else i for i in intents(text, len(names)))
    kind = turn_kind(text, has_image=True, mentions=names)
    turn = Turn(medical=kind == MEDICAL, unseen=(IMAGE,), intents=tuple(asked))
    calls = [(CLASSIFY, canonical({"image": IMAGE}))] if CLASSIFY in must_calls(turn) else []
    left = finding.shortlist[: 1 if finding.sure else None] if finding.in_scope else []
    widened = len(left) > 1
    if widened:
        calls.append((QUERY, canonical({"query": "differential", "diseases": left})))
    topics = list(dict.fromkeys([*names, *left]))
    enough = widened and set(asked) <= {"describe", "differential"}
    if QUERY in must_calls(replace(turn, unseen=(), subjects=tuple(topics), fetched=enough)):
        calls += [(QUERY, canonical({"query": q, "diseases": topics})) for q in asked or ("describe",)]
    return list(dict.fromkeys(calls))


def conversations(
    asked: Sequence[Question], model: Speaker, maker: DialogueMaker, bank: PictureBank, seed: int, sight: bool
) -> list[Conversation]:
    """Puts the questions, each with its picture and finding, or without `sight` of any."""
    made = []
    for question in asked:
        rng = random.Random(f"dermavqa/{seed}/{question.encounter}")
        kind = rng.choice(("lesion", "skin_other"))
        index, given = bank.draw(rng, kind, "test")
        world = maker.world(rng)
        finding = maker.finding(rng, world, IMAGE, kind, given)
        made.append(
            Conversation(question, world, finding, index, model.fits)
            if sight
            else Conversation(question, world, None, None, model.fits)
        )
    return made


def add(total: Counter[tuple[str, int]], counts: Counts) -> None:
    """Adds hits and cases by row."""
    for row, (hits, n) in counts.items():
        total[row, 0] += hits
        total[row, 1] += n


def urgency(asked: Sequence[Question]) -> Counter[tuple[str, str]]:
    """Counts pairs of levels, the labelled one and that of the rules, where there is a label."""
    return Counter((q.urgent, triage(q.text).level) for q in asked if q.urgent)


def report_urgency(pairs: Counter[tuple[str, str]]) -> None:
    """Prints how often the rules' level is the labelled one, and how often it is lower or higher."""
    n, rank = pairs.total(), LEVELS.index
    agree = sum(count for (label, level), count in pairs.items() if label == level)
    print(f"red flags by rule, n = {n}")
    print(f"{'the labelled level':50s}{share(agree, n)}, n = {n}")
    for word, sign in (("under", 1), ("over", -1)):
        off = {pair: count for pair, count in pairs.items() if sign * (rank(pair[0]) - rank(pair[1])) > 0}
        told = ", ".join(f"{label} taken for {level} {k}" for (label, level), k in sorted(off.items()))
        print(f"{word} the label {sum(off.values())}: {told}")


def line(row: str, *totals: Counter[tuple[str, int]]) -> str:
    """One row of the table."""
    cells = (f"{share(total[row, 0], total[row, 1])}, n = {total[row, 1]}" for total in totals)
    return f"{row:50s}" + "".join(f"{cell:34s}" for cell in cells).rstrip()


def report(seen: Sequence[Conversation], blind: Sequence[Conversation], names: Names, show: int) -> None:
    """Prints the table of played conversations."""
    alone, rules, without = (Counter[tuple[str, int]]() for _ in range(3))
    for talk in seen:
        question, finding = talk.question, talk.finding
        assert finding is not None
        calls = list(dict.fromkeys(names.read(call, question, finding) for call in talk.calls))
        add(alone, score(question, finding, calls, names.same))
        by_rule = forced(question.text, names.mentions(question.text), finding)
        add(rules, score(question, finding, by_rule, names.same))
    for talk in blind:
        add(without, score(talk.question, None, talk.calls, names.same))
    print(f"{'with a picture, n = ' + str(len(seen)):50s}{'the model alone':34s}what the graph forces")
    for row in (LOOKED, INTENT, DISEASE, BOTH, PRECISE, EXTRA):
        print(line(row, alone, rules))
    print(f"no picture and no disease named, n = {len(blind)}")
    print(line(SILENT, without))
    both = [*seen, *blind]
    well = Counter({(WELL, 0): sum(t.well for t in both), (WELL, 1): sum(t.written for t in both)})
    print(f"all turns, n = {len(both)}")
    print(line(WELL, well))
    for title, talks in (("with a picture", seen), ("without", blind)):
        print(f"how turns end, {title}: {dict(Counter(talk.end for talk in talks))}")
    for talk in seen[:show]:
        print(f"  {talk.question.encounter} asks {talk.question.asks}", end=" ")
        print(f"of {right_diseases(talk.question, talk.finding)}, called {talk.calls}, end {talk.end}")


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "weights" / "nano")
    parser.add_argument("--n", type=int, help="only the first so many questions")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="of how many turns to print labels and calls")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    asked = questions(args.data)[: args.n]
    bank = PictureBank.load(args.pictures)
    maker = DialogueMaker("test", load_names(args.data), [], bank.names, bank)
    model = Speaker(args.weights, MOST_NEW)
    seen = conversations(asked, model, maker, bank, args.seed, True)
    unnamed = [question for question in asked if not question.named]
    blind = conversations(unnamed, model, maker, bank, args.seed, False)
    play(model, [*seen, *blind], bank, {}, args.batch)
    splits = dict(Counter(question.split for question in asked))
    print(f"DermaVQA, n = {len(asked)} questions {splits}, {args.weights.name}")
    kg = open_graph(None)
    try:
        report(seen, blind, Names(kg), args.show)
    finally:
        kg.close()
    report_urgency(urgency(asked))


if __name__ == "__main__":
    main()
