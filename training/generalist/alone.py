"""What a vision-language model learns that has to answer alone: pictures with their labels, facts by heart.

CLARIFY (arXiv 2508.18430) is measured against one fine-tuned model of the same shape without specialist and
graph. It is given what it can be given: the true labels, the very facts of the shipped graph, and in half of
its dialogues what the specialist says of the picture.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from ...agent.context import DEFAULT
from ...graph_schema.predicates import QUERIES
from ...graph_schema.protocol import FactRow
from .dialogues import Call, Message
from .findings import finding_of, say_finding
from .phrasing import PHRASING, say_rows
from .pictures import PictureBank
from .wording import Wording, joined
from .world import Split

Facts = Mapping[str, Mapping[str, Sequence[FactRow]]]
"""Rows by disease and query."""
ASKED = ("describe", "signs", "treatment", "causes", "tests", "prognosis")
"""What may be asked of a picture beside what it is."""


def shipped_facts(names: Sequence[str], limit: int = DEFAULT.max_rows) -> Facts:
    """The rows that the shipped graph gives for diseases, as many of a query as the agent is given."""
    from ...agent.deps import GraphKnowledge
    from ...graph_schema.stores import ensure_built, open_graph
    from ...settings import load_settings

    folder = load_settings().graph_dir
    ensure_built(folder)
    kg = open_graph(folder)
    try:
        run = GraphKnowledge(kg).run
        return {name: {query: run(query, [name], limit) for query in QUERIES} for name in names}
    finally:
        kg.close()


def asked_of_a_picture(rng: random.Random, wording: Wording) -> tuple[str, str]:
    """A question what a picture shows and one thing more; returns it with the query that answers the rest."""
    query = rng.choice(ASKED)
    text = wording.pick(rng, "picture", "identify")
    return joined(text, wording.pick(rng, "clause", query)), query


class Alone:
    """Writes dialogues of one picture, a question, and its whole answer without a call.

    Args:
        split: Whose wordings and pictures.
        bank: Pictures; those whose label `facts` know are shown.
        facts: What there is to be known.
    """

    def __init__(self, split: Split, bank: PictureBank, facts: Facts) -> None:
        self._bank, self._facts, self._wording = bank, facts, Wording(split)
        mine = (bank.split == split) & np.isin(bank.what, list(facts))
        self._pictures = np.flatnonzero(mine)
        self._judged = np.flatnonzero(mine & ~np.isnan(bank.probabilities[:, 0]))

    def make(self, rng: random.Random) -> list[Message]:
        """Makes one."""
        told = bool(len(self._judged)) and rng.random() < 0.5
        pool = self._judged if told else self._pictures
        index = int(pool[rng.randrange(len(pool))])
        text, query = asked_of_a_picture(rng, self._wording)
        messages = [Message("user", text, images=[("img1", index)], kind="alone")]
        label = str(self._bank.what[index])
        lines = [PHRASING["finding"]["alone"].format(s=label)]
        if told:
            shares = zip(self._bank.names, self._bank.probabilities[index].tolist(), strict=True)
            finding = finding_of(rng, "img1", sorted(shares, key=lambda share: -share[1]))
            call = Call("classify_lesion", {"image": "img1"}, finding.render(), outcome="finding")
            messages += [Message("assistant", calls=[call]), Message("tool", call.result)]
            label, lines = finding.shares[0][0], say_finding(finding, "")
        said = [uncited(sentence) for sentence in say_rows(self._facts[label][query])]
        return [*messages, Message("assistant", "\n".join([*lines, *said]), target=True)]


def uncited(sentence: str) -> str:
    """A sentence without its citation: who has no graph has nothing to cite."""
    return sentence[: sentence.rindex(" [")]
