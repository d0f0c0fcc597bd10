"""Scripted parts for graph tests: a chat model that plays a policy, a specialist and a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image
from pydantic import Field

from clarify.agent.deps import Deps
from clarify.agent.images import LocalImageStore
from clarify.agent.lexicon import Lexicon
from clarify.errors import CypherRefused, KGUnavailable, WeightsMissing
from clarify.graph_schema.predicates import QUERIES, state
from clarify.graph_schema.protocol import ConditionRow, FactRow, Link, SourceRef
from clarify.graph_schema.retrieval import UnknownDisease
from clarify.graph_schema.told import Told
from clarify.tools.concepts.tools import ANNOTATE
from clarify.tools.experts import Experts
from clarify.tools.measure import NAME as MEASURE
from clarify.tools.registry import Expert as PictureExpert
from clarify.tools.registry import Seen
from clarify.tools.specialist import Classification

NAMES = {"mel": "melanoma", "nv": "melanocytic nevus", "bkl": "benign keratosis"}
CURIES = {"mel": ["DOID:1909"], "nv": ["MONDO:0005073"], "bkl": ["DOID:6498", "MONDO:0021582"]}
_BY_NAME = {NAMES[k]: v[0] for k, v in CURIES.items()} | {
    "psoriasis": "DOID:8893",
    "benign keratosis": "DOID:6498",
}
_BY_CURIE = {v: k for k, v in _BY_NAME.items()}
_FACTS = (
    ("mel", "melanoma", "definition", "a cancer of the pigment cells of the skin", ""),
    ("mel", "melanoma", "clinical sign", "an uneven shape with several colours", ""),
    ("mel", "melanoma", "first-line treatment", "wide local excision", ""),
    ("mel", "melanoma", "test", "excision biopsy", ""),
    ("mel", "melanoma", "differs from", "an uneven shape and recent change", "melanocytic nevus"),
    ("nv", "melanocytic nevus", "definition", "a benign growth of pigment cells", ""),
    ("nv", "melanocytic nevus", "differs from", "an even shape that stays the same", "melanoma"),
    ("pso", "psoriasis", "definition", "a chronic inflammatory disease of the skin", ""),
    ("pso", "psoriasis", "first-line treatment", "a topical corticosteroid", ""),
)
SOURCE = SourceRef(id="who", title="A guideline", year=2020, organisation="WHO", section="chapter 3")


def _row(slug: str, subject: str, predicate: str, object_: str, other: str, number: int) -> FactRow:
    said = f"differs from {other}" if other else predicate
    return FactRow(
        fact_id=f"{slug}-{predicate.split()[0][:5]}-{number}",
        statement=state(predicate, subject, object_, other),
        source=SOURCE, subject=subject, predicate=said, object=object_, subject_curie=_BY_NAME[subject],
        object_curie=_BY_NAME.get(other, ""), cypher="MATCH (d:Disease) RETURN d", parameters={"limit": 12},
    )  # fmt: skip


ROWS = [_row(*fact, number) for number, fact in enumerate(_FACTS, 1)]


MANY = ("a", "b", "c", "d")
SIGNS = {
    "uneven": ("melanoma",), "several colours": ("melanoma", "melanocytic nevus"), "alien": (),
    "itching": MANY, "dry": MANY,
}  # fmt: skip
"""Word -> the conditions that have it as a sign."""


def _condition(name: str, signs: Sequence[str]) -> ConditionRow:
    fact = next((r for r in ROWS if r.subject == name), ROWS[0])
    fits = [sign for sign in signs if name in SIGNS[sign]]
    return ConditionRow(
        **{**fact.model_dump(), "source": fact.source, "subject": name},
        fact_ids=(fact.fact_id,), sources=(fact.source,), score=len(fits) / len(signs),
        matched={sign: (fact.fact_id,) for sign in fits}, missing=(), unknown=(), further={}, facts=(fact,),
    )  # fmt: skip


class Facts:
    """A knowledge graph of nine rows."""

    version = "test"

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def run(self, query: str, diseases: Sequence[str], limit: int) -> list[FactRow]:
        self.asked.append((query, tuple(diseases)))
        curies = []
        for name in diseases:
            curie = name if name in _BY_CURIE or ":" in name else _BY_NAME.get(name.lower())
            if curie is None:
                raise UnknownDisease(name)
            curies.append(curie)
        heads = QUERIES[query]
        rows = [r for r in ROWS if r.subject_curie in curies and r.predicate.startswith(heads)]
        if query == "differential" and len(set(curies)) > 1:
            rows = [r for r in rows if r.object_curie in curies]
        return [r.model_copy(update={"query": query}) for r in rows][:limit]

    def told(self, text: str) -> Told:
        return Told(tuple(word for word in SIGNS if word in text.lower()))

    def conditions(self, signs: Sequence[str], sites: Sequence[str]) -> list[ConditionRow]:
        self.asked.append(("conditions_with", (*signs, *sites)))
        rows = (_condition(name, signs) for name in ("melanoma", "melanocytic nevus", *MANY))
        return sorted((row for row in rows if row.matched), key=lambda row: -row.score)

    def cypher(self, statement: str) -> list[dict[str, Any]]:
        if not statement.startswith("MATCH"):
            raise CypherRefused("only reads.")
        return [{"n": 1}] * 100

    def mentions(self, text: str) -> list[Link]:
        return [
            Link(curie=curie, name=name, matched=name, score=1.0, how="exact")
            for name, curie in _BY_NAME.items()
            if name in text.lower()
        ]


def seen(
    probabilities: dict[str, float], *, in_scope: bool = True, quality: Sequence[str] = ()
) -> Classification:
    """A classification with these probabilities; the shortlist is everything from 0.15."""
    ranked = sorted(probabilities, key=lambda label: -probabilities[label])
    inside = in_scope and bool(ranked)
    return Classification(
        label=ranked[0] if inside else None, curie=CURIES[ranked[0]][0] if inside else None,
        curies=CURIES[ranked[0]] if inside else [], confidence=probabilities[ranked[0]] if inside else 0.0,
        probabilities=probabilities if inside else {}, in_scope=inside, scope_score=0.9 if inside else 0.1,
        prediction_set=[k for k in ranked if probabilities[k] >= 0.15] if inside else [],
        quality=list(quality),
    )  # fmt: skip


SURE = seen({"mel": 0.93, "nv": 0.05, "bkl": 0.02})
UNSURE = seen({"mel": 0.55, "nv": 0.35, "bkl": 0.10})
OUTSIDE = seen({}, in_scope=False)


class Expert:
    """A specialist that answers from two lists, the last entry again and again."""

    names, curies, sha256 = NAMES, CURIES, "a" * 64

    def __init__(self, first: Any = SURE, second: Any = UNSURE) -> None:
        self.first, self.second = first, second
        self.looks: list[str] = []

    def classify(self, image: Any, patient: Mapping[str, Any] | None = None) -> Classification:
        self.looks.append("first")
        return self._give(self.first, patient)

    def second_look(self, image: Any, patient: Mapping[str, Any] | None = None) -> Classification:
        self.looks.append("second")
        return self._give(self.second, patient)

    def known(self, patient: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: patient[name] for name in ("age", "sex") if patient and name in patient}

    def _give(self, what: Any, patient: Mapping[str, Any] | None) -> Classification:
        if isinstance(what, list):
            what = what.pop(0) if len(what) > 1 else what[0]
        if isinstance(what, Exception):
            raise what
        return what.model_copy(update={"refined_by": self.known(patient)})


class Scripted(BaseChatModel):
    """Plays a policy: a function of the messages, the tool choice and the tools' schemas."""

    policy: Callable[..., AIMessage]
    calls: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Any:
        return self.bind(tools=list(tools), tool_choice=tool_choice)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.calls.append({"messages": messages, **kwargs})
        said = self.policy(messages, kwargs.get("tool_choice"), kwargs.get("tools") or [])
        return ChatResult(generations=[ChatGeneration(message=said)])


def call(name: str, **args: Any) -> AIMessage:
    """A message with one tool call."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "x"}])


def this_turn(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What came after the last words of the user."""
    last = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage))
    return list(messages[last:])


def good(query: str = "treatment", disease: str = "melanoma") -> Callable[..., AIMessage]:
    """A model that does what it should: looks, fetches, and says every row it got."""

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        turn = this_turn(messages)
        results = [m for m in turn if isinstance(m, ToolMessage)]
        pictures = [b["id"] for b in turn[0].content if isinstance(b, dict) and b["type"] == "image"]
        if choice != "none":
            looked = {str(m.content)[:4] for m in results if m.name == "classify_lesion"}
            for image in pictures:
                if image not in looked:
                    return call("classify_lesion", image=image)
            if not any(m.name == "query_knowledge" for m in results) and disease:
                return call("query_knowledge", query=query, diseases=[disease])
        return AIMessage(said(results))

    return policy


def said(results: Sequence[ToolMessage]) -> str:
    """Statements that say what tool results hold."""
    lines = []
    for message in results:
        for line in str(message.content).splitlines():
            if line.startswith("[") and " | " in line:
                cite, _, rest = line[1:].partition("] ")
                subject, predicate, object_ = rest.split(" | ")
                head, _, other = predicate.partition("differs from ")
                lines.append(f"{state('differs from' if other else head, subject, object_, other)} [{cite}]")
            elif "%" in line:
                image, _, rest = line.partition(": ")
                sure = "" if "; sure" in rest else ", but this is not sure"
                top, share = rest.split(",")[0].rsplit(" ", 2)[0], rest.split(" %")[0].rsplit(" ", 1)[1]
                lines.append(
                    f"The picture fits {top} best, at {share} %{sure}. [specialist:{image.split()[0]}]"
                )
    return "\n".join(lines) or "I do not know."


def always(message: AIMessage) -> Callable[..., AIMessage]:
    """A model that says the same whatever happens."""
    return lambda messages, choice, tools: message.model_copy()


def no_graph() -> Any:
    raise KGUnavailable("the graph cannot be opened.", hint="Run clarify doctor.")


def no_weights() -> Any:
    raise WeightsMissing("no specialist weights.", hint="Restore them.")


def deps(
    tmp_path: Any, policy: Callable[..., AIMessage], *, expert: Any = None, facts: Any = None, **parts: Any
) -> Deps:
    """Parts for a graph; `expert` and `facts` may be functions that raise."""
    expert, facts = expert or Expert(), facts or Facts()
    model = Scripted(policy=policy)
    terms = [row.object for row in ROWS if "treatment" in row.predicate or row.predicate == "test"]

    def lexicon() -> Lexicon:
        if callable(facts):
            facts()
        return Lexicon.build([(c, n) for n, c in _BY_NAME.items()], terms, NAMES, CURIES)

    return Deps(
        generalist=parts.get("generalist", lambda profile: model),
        specialist=expert if callable(expert) else lambda: expert,
        knowledge=facts if callable(facts) else lambda: facts,
        lexicon=lexicon,
        images=LocalImageStore(tmp_path / "images"),
        experts=parts.get("experts") or Experts(EXPERTS),
        profile=parts.get("profile", "nano"),
    )


def measured(model: Any, image: Image.Image) -> Seen:
    """An expert that measures the same on every picture."""
    return Seen({"asymmetry": "0.31 (0 none, 1 complete)", "largest diameter": "40 pixels"}, image)


class Encoder:
    """A dual encoder that finds the last of what is compared the likeliest."""

    sha256 = "e" * 64

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], dict[str, list[str]]]] = []

    def zero_shot(
        self, image: Any, diseases: Mapping[str, Sequence[str]], signs: Mapping[str, list[str]]
    ) -> dict[str, float]:
        self.asked.append((list(diseases), dict(signs)))
        weights = range(1, len(diseases) + 1)
        return {name: weight / sum(weights) for name, weight in zip(diseases, weights, strict=True)}


def annotated(model: Any, image: Image.Image) -> Seen:
    """An expert that finds the same concepts on every picture."""
    return Seen(
        {"visual concepts": "several colours 0.91, uneven 0.80 (scores from 0 to 1)"},
        says="The lesion in {image} seems to show several colours, uneven.",
        signs=("several colours", "uneven"),
    )


EXPERTS = {MEASURE: PictureExpert(lambda: None, measured), ANNOTATE: PictureExpert(Encoder, annotated)}
