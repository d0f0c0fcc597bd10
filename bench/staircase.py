"""CLARIFY's staircase: a lone vision-language model, and what each part adds, on the same pictures.

    python -m clarify.bench.staircase --data SHARED_DATA --alone runs/alone/full --packed runs/packed --n 1000

Steps, each on test pictures of HAM10000's `clean_split` (as CLARIFY, arXiv 2508.18430, adds its parts):

- alone: `--alone`, a model trained by `--stage alone` that saw labels and facts, in full precision;
- packed: `--packed`, the same with blocks removed and in NF4;
- + specialist: the packed one, told what the specialist says of the picture;
- + graph: nano in the state machine with the specialist and the graph, without a gate;
- + gate: the state machine as shipped;
- specialist: the classifier alone, which says no sentence.

A fact sentence is supported when `verify` finds a row of the graph that says it, whether or not it was cited;
coverage is the share of the rows asked for, of the true label, that a supported sentence says. Milliseconds
are of the whole answer, and by the word said, since answers are of unequal length; they are processor time on
one thread, which is what the clock shows on an idle machine. Who answers alone is timed on the first
`--timed` cases, and writes the others in batches. The cache is that of the conversations which the generalist
keeps, after the last of them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..agent.answer import Statement
from ..agent.context import DEFAULT as CONTEXT
from ..agent.deps import default_deps
from ..agent.generalist import LocalVLM
from ..agent.grounding import check
from ..agent.lexicon import Lexicon
from ..agent.runtime import Session
from ..tools.specialist import Specialist
from ..training.generalist.alone import Facts, asked_of_a_picture, shipped_facts
from ..training.generalist.wording import Wording
from ..training.intervals import resampled, share
from ..training.specialist.data import LABELS, load_split
from .generalist import Speaker
from .sizes_model import held_bytes
from .staircase_systems import LONGEST, Agent, Alone, Case, Classifier, Said, System

EVERY = 1000
"""More rows than any query has."""
STEPS = ("alone", "packed", "+ specialist", "+ graph", "+ gate", "specialist")
OPEN = replace(CONTEXT, confidence_threshold=0.0, max_reclassify=0, max_widen=0)
"""A state machine without a gate: whatever the specialist says is sure."""


def cases(data: Path, names: Mapping[str, str], n: int, seed: int) -> Iterator[Case]:
    """Test pictures in an order of chance, each with a held-back question."""
    side, rng, wording = (
        load_split(data / "ham10000", "test"),
        random.Random(f"staircase/{seed}"),
        Wording("test"),
    )
    for index in rng.sample(range(len(side.labels)), min(n, len(side.labels))):
        question, query = asked_of_a_picture(rng, wording)
        label = names[LABELS[int(side.labels[index])]]
        yield Case(Image.fromarray(side.images[index]), label, question, query)


class Judge:
    """Says which sentences the graph supports.

    Args:
        facts: The rows that answer a question, by disease and query.
        every: All rows, likewise.
        lexicon: Names.
    """

    def __init__(self, facts: Facts, every: Facts, lexicon: Lexicon) -> None:
        rows = [row for queries in every.values() for found in queries.values() for row in found]
        self._rows = {row.fact_id: row for row in rows}
        self._facts, self._lexicon = facts, lexicon
        self._known: dict[str, str | None] = {}

    def row_of(self, sentence: str) -> str | None:
        """The id of the row that a sentence says, if one does."""
        if sentence not in self._known:
            self._known[sentence] = next(
                filter(lambda fact_id: self._says(sentence, fact_id), self._rows), None
            )
        return self._known[sentence]

    def _says(self, sentence: str, fact_id: str) -> bool:
        statement = Statement(text=sentence, citations=[fact_id], kind="fact")
        return check(statement, self._rows, {}, self._lexicon).supported

    def asked(self, case: Case) -> set[str]:
        """Ids of the rows that would answer a case, of its true label."""
        return {row.fact_id for row in self._facts[case.label][case.query]}


def balanced(right: np.ndarray, labels: np.ndarray) -> str:
    """The mean recall of the labels, with its 95 % bootstrap interval over the cases."""
    codes = np.unique(labels, return_inverse=True)[1]

    def mean_recall(right: np.ndarray, codes: np.ndarray) -> float:
        return 100 * float(np.mean([right[codes == code].mean() for code in np.unique(codes)]))

    return "{:.1f} % [{:.1f}, {:.1f}]".format(*resampled(mean_recall, right, codes))


def row(
    name: str, said: Sequence[Said], shown: Sequence[Case], judge: Judge, sizes: tuple[int, int]
) -> dict[str, Any]:
    """One line of the table."""
    labels = np.array([case.label for case in shown])
    right = np.array([one.label for one in said]) == labels
    found = [[judge.row_of(sentence) for sentence in one.sentences] for one in said]
    sentences = sum(map(len, found))
    supported = sum(row is not None for rows in found for row in rows)
    wanted = [judge.asked(case) for case in shown]
    covered = sum(len(want & set(rows)) for want, rows in zip(wanted, found, strict=True))
    timed = [one for one in said if one.ms is not None]
    ms = np.array([one.ms for one in timed])
    words = np.array([sum(len(sentence.split()) for sentence in one.sentences) for one in timed])
    each = ms[words > 0] / words[words > 0]
    return {
        "system": name,
        "diagnosis right": share(int(right.sum()), len(right)),
        "balanced": balanced(right, labels),
        "named none": share(sum(one.label is None for one in said), len(said)),
        "supported of said": share(supported, sentences) if sentences else "says nothing",
        "unsupported an answer": f"{(sentences - supported) / len(said):.2f}",
        "asked-for facts said": share(covered, sum(map(len, wanted))),
        "MB weights, cache": " ".join(f"{size / 1e6:.1f}" for size in sizes),
        "ms p50 / p95": f"{np.percentile(ms, 50):.0f} / {np.percentile(ms, 95):.0f}",
        "ms a word": f"{np.median(each):.0f}" if len(each) else "",
    }


def systems(
    args: argparse.Namespace, specialist: Specialist, lexicon: Lexicon
) -> Iterator[tuple[str, System, int, LocalVLM | None]]:
    """Each step that is wanted, with the bytes of its weights in memory, and its generalist."""
    eye = sum(value.nbytes for value in specialist.network.state_dict().values())
    for name, folder, quantize, told in (
        ("alone", args.alone, False, None),
        ("packed", args.packed, True, None),
        ("+ specialist", args.packed, True, specialist),
    ):
        if name in args.only and folder:
            model = LocalVLM.from_folder(folder, quantize=quantize)
            size = held_bytes(model.loaded.model) + (eye if told else 0)
            speaker = Speaker(folder, LONGEST, free=True)
            yield name, Alone(model, speaker, specialist.names, lexicon, told), size, model
    for name, context in (("+ graph", OPEN), ("+ gate", CONTEXT)):
        if name in args.only:
            with Session(context=replace(context, profile=args.profile)) as session:
                session.check()
                talk = session.deps.generalist(args.profile)
                assert isinstance(talk, LocalVLM)
                yield name, Agent(session), held_bytes(talk.loaded.model) + eye, talk
    if "specialist" in args.only:
        yield "specialist", Classifier(specialist), eye, None


def arguments(description: str | None, n: int) -> argparse.ArgumentParser:
    """What every bench of these systems asks for.

    Args:
        description: Of the bench.
        n: Default number of cases.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with ham10000/")
    parser.add_argument(
        "--alone", type=Path, help="full-precision folder of a model trained by --stage alone"
    )
    parser.add_argument(
        "--profile", default="", help="of the state machine's generalist, as `clarify ask` has it"
    )
    parser.add_argument("--n", type=int, default=n)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser


def main() -> None:
    """Command line."""
    parser = arguments(__doc__, 1000)
    parser.add_argument("--packed", type=Path, help="the same, pruned and in NF4")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--timed", type=int, default=200, help="cases answered one by one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    deps = default_deps()
    specialist, lexicon = Specialist.load(), deps.lexicon()
    names = list(specialist.names.values())
    judge, shown = (
        Judge(shipped_facts(names), shipped_facts(names, EVERY), lexicon),
        list(cases(args.data, specialist.names, args.n, args.seed)),
    )
    table = []
    for name, system, size, model in systems(args, specialist, lexicon):
        said = [*map(system, shown[: args.timed]), *system.many(shown[args.timed :])]
        line = row(name, said, shown, judge, (size, model.loaded.cache.bytes() if model else 0))
        print("\n".join(f"{key:24s} {value}" for key, value in line.items()), end="\n\n", flush=True)
        table.append(
            line | {"cases": [(case.label, one.label) for case, one in zip(shown, said, strict=True)]}
        )
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
