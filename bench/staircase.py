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
are of the whole answer, and by the word said, since answers are of unequal length. One thread.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from ..agent.answer import Statement
from ..agent.context import DEFAULT as CONTEXT
from ..agent.deps import default_deps
from ..agent.generalist import LocalVLM
from ..agent.grounding import check, parse_statements
from ..agent.lexicon import Lexicon
from ..agent.prompts import prompt
from ..agent.runtime import Session
from ..tools.classify import as_finding, show
from ..tools.specialist import Specialist
from ..training.generalist.alone import Facts, asked_of_a_picture, shipped_facts
from ..training.generalist.phrasing import PHRASING
from ..training.generalist.wording import Wording
from ..training.intervals import share
from ..training.specialist.data import LABELS, load_split
from .sizes_model import held_bytes

EVERY = 1000
"""More rows than any query has."""
LONGEST = 600
"""The most tokens of an answer."""
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": dict.fromkeys(names, {})}}}
    for name, names in (
        ("classify_lesion", ("image", "second_look")),
        ("query_knowledge", ("query", "diseases")),
    )
]
"""What the line of tools in nano's prompt is made from; who answers alone may call none."""


OPEN = replace(CONTEXT, confidence_threshold=0.0, max_reclassify=0, max_widen=0)
"""A state machine without a gate: whatever the specialist says is sure."""


@dataclass(frozen=True)
class Case:
    """A picture, its question, and the query that would answer the rest of it."""

    image: Image.Image
    label: str
    question: str
    query: str


@dataclass(frozen=True)
class Said:
    """What one system said of one case.

    Attributes:
        label: The diagnosis it named, or None.
        sentences: Its sentences about facts.
        ms: Of the whole answer.
    """

    label: str | None
    sentences: list[str]
    ms: float


System = Callable[[Case], Said]


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


class Alone:
    """A model that answers without a call, perhaps told what the specialist says.

    Args:
        model: The vision-language model.
        names: Display name of each of the specialist's labels.
        lexicon: Names.
        specialist: Who tells it, or None.
    """

    def __init__(
        self,
        model: LocalVLM,
        names: Mapping[str, str],
        lexicon: Lexicon,
        specialist: Specialist | None = None,
    ) -> None:
        self._model, self._names, self._lexicon, self._specialist = model, names, lexicon, specialist

    def __call__(self, case: Case) -> Said:
        """Answers."""
        start = time.perf_counter()
        blocks: list[str | dict[str, Any]] = [
            {"type": "text", "text": "img1:"}, inline(case.image), {"type": "text", "text": case.question}
        ]  # fmt: skip
        messages: list[BaseMessage] = [SystemMessage(prompt("system_nano")), HumanMessage(blocks)]
        if self._specialist:
            seen = as_finding("img1", self._specialist.classify(case.image), second_look=False)
            told = show(seen, self._names, CONTEXT.confidence_threshold)
            call = {"name": "classify_lesion", "args": {"image": "img1"}, "id": "1", "type": "tool_call"}
            messages += [AIMessage("", tool_calls=[call]), ToolMessage(told, tool_call_id="1")]
        asked = self._model.bind_tools(TOOLS, tool_choice="none", max_new_tokens=LONGEST)
        answer = asked.invoke(messages)
        ms = 1000 * (time.perf_counter() - start)
        said = [statement.text for statement in parse_statements(str(answer.content), self._lexicon)]
        label = next((found for text in said if (found := self._named(text))), None)
        return Said(label, [text for text in said if not self._named(text)], ms)

    def _named(self, text: str) -> str | None:
        """The diagnosis that a sentence gives, if it gives one."""
        head = PHRASING["finding"]["alone"].partition("{s}")[0]
        if not text.startswith(head):
            return None
        rest = text.removeprefix(head)
        return next((name for name in self._names.values() if rest.startswith(name)), "something else")


class Agent:
    """The state machine.

    Args:
        session: With the parts and the thresholds to be measured.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, case: Case) -> Said:
        """Answers."""
        start = time.perf_counter()
        answer = self._session.ask(case.question, images=[png(case.image)])
        ms = 1000 * (time.perf_counter() - start)
        facts = [statement.text for statement in answer.statements if statement.kind == "fact"]
        label = answer.differential[0].name if answer.differential else None
        return Said(label, facts, ms)


def alone_with(specialist: Specialist) -> System:
    """The classifier: a diagnosis and not a word more."""

    def say(case: Case) -> Said:
        start = time.perf_counter()
        seen = specialist.classify(case.image)
        label = specialist.names[seen.label] if seen.label else None
        return Said(label, [], 1000 * (time.perf_counter() - start))

    return say


def png(image: Image.Image) -> bytes:
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def inline(image: Image.Image) -> dict[str, Any]:
    """A picture as a block of a message."""
    return {"type": "image", "base64": base64.b64encode(png(image)).decode(), "mime_type": "image/png"}


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


def row(name: str, said: Sequence[Said], shown: Sequence[Case], judge: Judge, bytes_: int) -> dict[str, Any]:
    """One line of the table."""
    labels = np.array([case.label for case in shown])
    right = np.array([one.label for one in said]) == labels
    recalls = [float(right[labels == label].mean()) for label in np.unique(labels)]
    found = [[judge.row_of(sentence) for sentence in one.sentences] for one in said]
    sentences = sum(map(len, found))
    supported = sum(row is not None for rows in found for row in rows)
    wanted = [judge.asked(case) for case in shown]
    covered = sum(len(want & set(rows)) for want, rows in zip(wanted, found, strict=True))
    ms = np.array([one.ms for one in said])
    words = np.array([sum(len(sentence.split()) for sentence in one.sentences) for one in said])
    each = ms[words > 0] / words[words > 0]
    return {
        "system": name,
        "diagnosis right": share(int(right.sum()), len(right)),
        "balanced": f"{100 * float(np.mean(recalls)):.1f} %",
        "named none": share(sum(one.label is None for one in said), len(said)),
        "supported of said": share(supported, sentences) if sentences else "says nothing",
        "unsupported an answer": f"{(sentences - supported) / len(said):.2f}",
        "asked-for facts said": share(covered, sum(map(len, wanted))),
        "MB": f"{bytes_ / 1e6:.1f}",
        "ms p50 / p95": f"{np.percentile(ms, 50):.0f} / {np.percentile(ms, 95):.0f}",
        "ms a word": f"{np.median(each):.0f}" if len(each) else "",
    }


def systems(
    args: argparse.Namespace, specialist: Specialist, lexicon: Lexicon
) -> Iterator[tuple[str, System, int]]:
    """Each step with the bytes of its weights in memory."""
    eye = sum(value.nbytes for value in specialist.network.state_dict().values())
    if args.alone:
        whole = LocalVLM.from_folder(args.alone, quantize=False)
        yield "alone", Alone(whole, specialist.names, lexicon), held_bytes(whole.loaded.model)
    if args.packed:
        packed = LocalVLM.from_folder(args.packed)
        size = held_bytes(packed.loaded.model)
        yield "packed", Alone(packed, specialist.names, lexicon), size
        yield "+ specialist", Alone(packed, specialist.names, lexicon, specialist), size + eye
    for name, context in (("+ graph", OPEN), ("+ gate", CONTEXT)):
        with Session(context=context) as session:
            session.check()
            talk = session.deps.generalist("")
            assert isinstance(talk, LocalVLM)
            yield name, Agent(session), held_bytes(talk.loaded.model) + eye
    yield "specialist", alone_with(specialist), eye


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with ham10000/")
    parser.add_argument(
        "--alone", type=Path, help="full-precision folder of a model trained by --stage alone"
    )
    parser.add_argument("--packed", type=Path, help="the same, pruned and in NF4")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
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
    for name, system, size in systems(args, specialist, lexicon):
        line = row(name, [system(case) for case in shown], shown, judge, size)
        print("\n".join(f"{key:24s} {value}" for key, value in line.items()), end="\n\n", flush=True)
        table.append(line)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
