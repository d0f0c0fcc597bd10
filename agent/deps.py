"""The parts a graph runs on, as one typed value: no module holds a model."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig

from ..errors import BadInput, Unavailable
from ..graph_schema.protocol import ConditionRow, FactRow, KnowledgeGraph, Link
from ..graph_schema.told import Told
from ..tools.classify import SpecialistLike
from ..tools.experts import Experts, Memo
from ..tools.knowledge import Knowledge
from .context import DEFAULT, Context
from .images import ImageStore, LocalImageStore

if TYPE_CHECKING:
    from ..settings import Settings
    from ..tools.specialist import Classification
    from .lexicon import Lexicon

T = TypeVar("T")


class Lazy(Generic[T]):
    """Makes a value once, under a lock, when first asked; after a failure the next call tries again."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Remembers how the value is made."""
        self._make, self._lock, self._made = make, threading.Lock(), False
        self._value: T | None = None

    def __call__(self) -> T:
        """Returns the value."""
        with self._lock:
            if not self._made:
                self._value, self._made = self._make(), True
        return self._value  # type: ignore[return-value]

    @property
    def made(self) -> bool:
        """Whether the value exists."""
        return self._made


@dataclass(frozen=True)
class Deps:
    """What the nodes call.

    Attributes:
        generalist: Gives the chat model of a profile (an empty string: the default one).
        specialist: Gives the picture classifier.
        knowledge: Gives the knowledge graph.
        lexicon: Gives the names that grounding reads statements with.
        images: Keeps the pictures of conversations.
        experts: Further experts on pictures, with what they have seen.
        looks: What the specialist saw at first looks, by picture, weights and patient.
        profile: The generalist of a run that names none; decides which system prompt it reads.
    """

    generalist: Callable[[str], BaseChatModel]
    specialist: Callable[[], SpecialistLike]
    knowledge: Callable[[], Knowledge]
    lexicon: Callable[[], Lexicon]
    images: ImageStore
    experts: Experts = field(default_factory=Experts)
    looks: Memo[Classification] = field(default_factory=Memo)
    profile: str = "nano"


@dataclass(frozen=True)
class Env:
    """What a node gets beside the state.

    Attributes:
        deps: The parts.
        context: Thresholds and budgets of the run.
        config: LangChain's run configuration.
        emit: Sends a progress event to who watches the run.
    """

    deps: Deps
    context: Context = DEFAULT
    config: RunnableConfig | None = None
    emit: Callable[[Any], None] = lambda event: None


class GraphKnowledge:
    """`Knowledge` over a `KnowledgeGraph`."""

    def __init__(self, kg: KnowledgeGraph) -> None:
        """Reads the graph's version once."""
        from ..graph_schema.retrieval import graph_version

        self.kg = kg
        self.version = graph_version(kg)

    def run(self, query: str, diseases: Sequence[str], limit: int) -> list[FactRow]:
        """Runs a named query; rows are single facts, so that each can be said and cited."""
        from ..graph_schema.multihop import TREATMENT_PAIRS
        from ..graph_schema.retrieval import run_pair, run_query

        run = run_pair if query in TREATMENT_PAIRS else run_query
        return list(run(self.kg, query, diseases, limit))

    def cypher(self, statement: str) -> list[dict[str, Any]]:
        """Runs one free read statement under the guard."""
        from ..graph_schema.guard import run_free

        return run_free(self.kg, statement)

    def mentions(self, text: str) -> list[Link]:
        """Finds the diseases that a text names."""
        from ..graph_schema.mentions import find_mentions

        return find_mentions(self.kg, text)

    def told(self, text: str) -> Told:
        """Finds the signs and sites that a text tells."""
        from ..graph_schema.told import find_told

        return find_told(self.kg, text)

    def conditions(self, signs: Sequence[str], sites: Sequence[str]) -> list[ConditionRow]:
        """Ranks the conditions that fit signs at sites, best first."""
        from ..graph_schema.multihop import conditions_with

        return conditions_with(self.kg, signs, sites)


def default_deps(settings: Settings | None = None, *, any_profile: bool = False) -> Deps:
    """The parts that the settings name; each is loaded when it is first needed.

    Args:
        settings: Read from the environment when None.
        any_profile: Whether a run may choose another generalist than the settings'. Not for servers: a
            profile can name a folder of this machine, or an address that pictures would be sent to.
    """
    from ..settings import load_settings

    chosen = settings or load_settings()
    _add_experts(chosen.experts)
    images = LocalImageStore(chosen.images_dir)
    specialist = Lazy(_specialist)
    knowledge = Lazy(lambda: GraphKnowledge(_graph(chosen)))
    return Deps(
        generalist=Generalists(chosen.profile, images, fixed=not any_profile),
        specialist=specialist,
        knowledge=knowledge,
        lexicon=Lazy(lambda: lexicon_of(knowledge().kg, specialist)),
        images=images,
        profile=chosen.profile,
    )


def _add_experts(modules: str) -> None:
    """Imports modules that register experts.

    Raises:
        BadInput: One cannot be imported; the message names it.
    """
    for name in filter(None, (part.strip() for part in modules.split(","))):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise BadInput(
                f"CLARIFY_EXPERTS names {name}, which cannot be imported: {error}.",
                hint="Install the module, or put its folder on PYTHONPATH.",
            ) from error


class Generalists:
    """Chat models by profile, each loaded once."""

    def __init__(self, default: str, images: ImageStore, *, fixed: bool = False) -> None:
        """Uses `default` for an empty profile (for any, when `fixed`, none other is taken)."""
        self.default, self._images, self._fixed = default, images, fixed
        self._models: dict[str, Lazy[BaseChatModel]] = {}
        self._lock = threading.Lock()

    def __call__(self, profile: str = "") -> BaseChatModel:
        """Gives the chat model of a profile."""
        from .generalist.profiles import load_generalist

        name = profile or self.default
        if self._fixed and name != self.default:
            raise BadInput(f"This server answers with the profile {self.default!r} only.")
        with self._lock:
            lazy = self._models.setdefault(
                name, Lazy(lambda: load_generalist(name, image_loader=self._images.open))
            )
        return lazy()


def _specialist() -> SpecialistLike:
    from ..tools.segmenter import Segmenter
    from ..tools.specialist import Specialist

    segmenter = Lazy(Segmenter.load)
    return Specialist.load(outline=lambda image: segmenter().segment(image))


def _graph(settings: Settings) -> KnowledgeGraph:
    from ..graph_schema.stores import SCHEMES, ensure_built, open_graph

    if settings.graph.startswith(SCHEMES):
        return open_graph(
            settings.graph,
            user=settings.neo4j_user,
            password=settings.neo4j_password.get_secret_value(),
            database=settings.neo4j_database,
        )
    if not settings.graph:
        ensure_built(settings.graph_dir)
    return open_graph(settings.graph or settings.graph_dir)


def lexicon_of(kg: KnowledgeGraph, specialist: Callable[[], SpecialistLike]) -> Lexicon:
    """Names as the graph holds them, and the specialist's labels where it is there."""
    from ..graph_schema.paths import load_query
    from ..graph_schema.retrieval import list_nodes
    from .lexicon import Lexicon

    names = [(row["id"], row["name"]) for row in kg.query(load_query("names"))]
    terms = [row["name"] for label in ("Treatment", "Test") for row in list_nodes(kg, label)]
    try:
        expert = specialist()
    except Unavailable:  # then no finding can be spoken of either
        return Lexicon.build(names, terms)
    return Lexicon.build(names, terms, expert.names, expert.curies)
