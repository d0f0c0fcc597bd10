"""Stand-ins that answer at once, so that what is left to time is the plumbing around them.

The model plays a fixed plan and the specialist always sees the same; the knowledge is the shipped graph's own
rows about one disease, read once. None of them measures how good an answer is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image

from ..agent.deps import Deps, GraphKnowledge, lexicon_of
from ..agent.images import ImageStore
from ..agent.lexicon import Lexicon
from ..errors import BadInput
from ..graph_schema.protocol import ConditionRow, FactRow, Link
from ..graph_schema.stores import open_graph
from ..graph_schema.told import Told
from ..tools.classify import NAME as CLASSIFY
from ..tools.knowledge import NAME as QUERY
from ..tools.specialist import Classification

DISEASE, CURIE, LABEL = "melanoma", "DOID:1909", "mel"
PICTURE_QUESTION = "What is this, and how is it treated?"
PLAN = {
    PICTURE_QUESTION: "treatment",
    "What causes it?": "causes",
    "Which tests confirm it?": "tests",
    "What is the outlook?": "prognosis",
    "What are its signs?": "signs",
}
"""The questions of a conversation about a picture in order, and what the model looks up for each."""
PLAIN_PLAN = {
    f"How is {DISEASE} treated?": "treatment",
    f"What causes {DISEASE}?": "causes",
    f"Which tests confirm {DISEASE}?": "tests",
    f"What is the outlook of {DISEASE}?": "prognosis",
}
"""The same without a picture."""
ROWS = 6
_CITED = re.compile(r"^\[([^\]]+)\] ", re.M)


class InstantSpecialist:
    """A specialist that is always sure of the same."""

    names: dict[str, str] = {LABEL: DISEASE}
    curies: dict[str, list[str]] = {LABEL: [CURIE]}
    sha256 = "0" * 64

    def classify(self, image: Image.Image, patient: Mapping[str, Any] | None = None) -> Classification:
        """Looks at nothing."""
        return Classification(
            label=LABEL, curie=CURIE, curies=[CURIE], confidence=0.95, probabilities={LABEL: 0.95},
            prediction_set=[LABEL], in_scope=True, scope_score=0.9, quality=[],
        )  # fmt: skip

    second_look = classify

    def known(self, patient: Mapping[str, Any] | None) -> dict[str, float | str]:
        """Uses nothing of a patient."""
        return {}


@dataclass(frozen=True)
class InstantKnowledge:
    """The rows of one disease in a dictionary.

    Attributes:
        rows: By named query.
        version: The graph's.
    """

    rows: Mapping[str, list[FactRow]]
    version: str

    def run(self, query: str, diseases: Sequence[str], limit: int) -> list[FactRow]:
        """Gives the rows of a query."""
        return self.rows.get(query, [])[:limit]

    def mentions(self, text: str) -> list[Link]:
        """Finds the one disease by its name."""
        link = Link(curie=CURIE, name=DISEASE, matched=DISEASE, score=1.0, how="exact")
        return [link] if DISEASE in text.lower() else []

    def told(self, text: str) -> Told:
        """Finds nothing told."""
        return Told()

    def conditions(self, signs: Sequence[str], sites: Sequence[str]) -> list[ConditionRow]:
        """Ranks nothing."""
        return []

    def cypher(self, statement: str) -> list[dict[str, Any]]:
        """Runs nothing.

        Raises:
            BadInput: Always.
        """
        raise BadInput("These stand-ins run no Cypher.")


class InstantModel(BaseChatModel):
    """A chat model that follows the plans: looks at the picture, fetches, then says every row it got.

    Attributes:
        statements: What to say of a fact, by its id.
        asked: The number of calls so far, in a list of one, which copies of the model share.
    """

    statements: dict[str, str]
    asked: list[int]

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Any:
        """Takes tools and forgets them."""
        return self.bind()

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.asked[0] += 1
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    def _next(self, messages: Sequence[BaseMessage]) -> AIMessage:
        start = max(i for i, message in enumerate(messages) if isinstance(message, HumanMessage))
        plan = PLAN | PLAIN_PLAN
        question = next(q for q in plan if str(messages[start].text).endswith(q))
        got = [message for message in messages[start:] if isinstance(message, ToolMessage)]
        calls: list[tuple[str, dict[str, Any]]] = []
        if question == PICTURE_QUESTION:
            calls.append((CLASSIFY, {"image": "img1"}))
        calls.append((QUERY, {"query": plan[question], "diseases": [DISEASE]}))
        if len(got) < len(calls):
            name, args = calls[len(got)]
            call = ToolCall(name=name, args=args, id=f"call{len(messages)}", type="tool_call")
            return AIMessage("", tool_calls=[call])
        said = [f"The picture fits {DISEASE} best, at 95 %. [specialist:img1]"] if len(calls) > 1 else []
        cited = _CITED.findall(str(got[-1].content))
        return AIMessage("\n".join(said + [f"{self.statements[name]} [{name}]" for name in cited]))


@dataclass(frozen=True)
class Instant:
    """All stand-ins of one measurement."""

    model: InstantModel
    specialist: InstantSpecialist
    knowledge: InstantKnowledge
    lexicon: Lexicon

    def deps(self, images: ImageStore) -> Deps:
        """The parts of the state machine."""
        return Deps(
            generalist=lambda profile: self.model,
            specialist=lambda: self.specialist,
            knowledge=lambda: self.knowledge,
            lexicon=lambda: self.lexicon,
            images=images,
        )


def instant() -> Instant:
    """Makes the stand-ins, with rows and names of the shipped graph."""
    kg = open_graph(None)
    try:
        graph, expert = GraphKnowledge(kg), InstantSpecialist()
        rows = {query: graph.run(query, [DISEASE], ROWS) for query in PLAN.values()}
        lexicon = lexicon_of(kg, lambda: expert)
    finally:
        kg.close()
    return Instant(
        InstantModel(
            statements={r.fact_id: r.statement for found in rows.values() for r in found}, asked=[0]
        ),
        expert,
        InstantKnowledge(rows, graph.version),
        lexicon,
    )
