"""`annotate_concepts` and `zero_shot_classify`: the dual encoder as the generalist's expert."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, create_model

from ...errors import BadInput
from ..classify import SpecialistLike
from ..experts import SEEN, Experts, as_rows
from ..knowledge import Knowledge
from ..registry import REGISTRY, Seen, ToolCard
from ..render import quoted, render_rows
from ..weights import figures
from .signs import signs_of

if TYPE_CHECKING:
    from PIL import Image

    from .concepts import Concepts

ANNOTATE, ZERO_SHOT = "annotate_concepts", "zero_shot_classify"
OPINIONS = frozenset({ANNOTATE, ZERO_SHOT})
"""What is said beside a finding and never instead of one."""
SHOWN, MOST_SHOWN = 0.7, 5
"""Least score of a concept that is spoken of, and how many are at most."""
MOST, LEAST_SHARE = 8, 0.05
"""Most diseases of a comparison, and the least share of one that is spoken of."""
_OPPOSITE = {"symmetry": "asymmetry", "regular border": "irregular border"}
_OPPOSITE |= {other: one for one, other in _OPPOSITE.items()}
_NO_SIGNS = frozenset({"hair", "symmetry"})
"""Concepts that speak of no disease of one lesion: hair lies over any, the graph's symmetry is a rash's."""


def load_chosen() -> Concepts:
    """Opens the dual encoder that the settings name.

    Raises:
        WeightsMissing: It is not there.
    """
    from ...settings import load_settings
    from .concepts import Concepts

    return Concepts.open(load_settings().encoder)


@REGISTRY.expert(
    ToolCard(
        name=ANNOTATE,
        task="Names the visual concepts that a dermoscopy picture shows: colours, outline, structures.",
        inputs="the id of a picture of this conversation",
        outputs="a row with an id to cite: the concepts found, each with a score from 0 to 1",
        limits="structures such as a pigment network were learnt and tested on drawn lesions only.",
        measured=lambda: figures("make", "AUROC {concepts_drawn:.2f} drawn, {concepts_ham:.2f} HAM10000"),
    ),
    load=load_chosen,
)
def annotate_concepts(concepts: Concepts, image: Image.Image) -> Seen:
    """Scores every concept and says those that are likely there, the likeliest first; of opposites one."""
    shown: dict[str, float] = {}
    for name, score in sorted(concepts.annotate(image).items(), key=lambda item: -item[1]):
        if score >= SHOWN and len(shown) < MOST_SHOWN and _OPPOSITE.get(name) not in shown:
            shown[name] = score
    if not shown:
        return Seen({})
    scored = ", ".join(f"{name} {score:.2f}" for name, score in shown.items())
    return Seen(
        {"visual concepts": f"{scored} (scores from 0 to 1)"},
        says=f"The lesion in {{image}} seems to show {', '.join(shown)}.",
        signs=tuple(name for name in shown if name not in _NO_SIGNS),
    )


_CARD = ToolCard(
    name=ZERO_SHOT,
    task="Compares any diseases on a picture by their names and their signs in the knowledge graph.",
    inputs="the id of a picture of this conversation, and two or more diseases of the knowledge graph",
    outputs="a row with an id to cite, with each disease's share of the comparison",
    limits="it always finds a likeliest one; trust classify_lesion where it knows the disease.",
    measured=lambda: figures("make", "accuracy {ham_names:.2f} on seven kinds, HAM10000 clean test side"),
)


@REGISTRY.register(_CARD)
def zero_shot_tool(
    *,
    experts: Experts,
    knowledge: Callable[[], Knowledge],
    specialist: Callable[[], SpecialistLike],
    open_image: Callable[[str], Image.Image],
    pictures: Mapping[str, str],
) -> BaseTool:
    """Makes the tool for one turn.

    Args:
        experts: Holds the dual encoder, loaded once.
        knowledge: Gives the graph that has the signs.
        specialist: Gives the labels, each of which may be several diseases of the graph.
        open_image: Gives the pixels of a picture id.
        pictures: Pictures the model may name, each with its hash.

    Returns:
        A tool whose artifact is that of an expert's (`experts.picture_tool`), without a picture and signs.
    """
    kind: Any = Literal[tuple(pictures)] if pictures else str
    name = Annotated[str, Field(max_length=80)]
    args = create_model(
        "ZeroShotArgs",
        image=(kind, Field(description="Picture id, for example img1.")),
        diseases=(list[name], Field(min_length=2, max_length=MOST, description="Names of diseases.")),
    )

    def run(image: str, diseases: list[str]) -> tuple[str, dict[str, Any]]:
        model: Concepts = experts.model(ANNOTATE)
        known = resolve(diseases, knowledge(), specialist())
        if len(known) < 2:
            raise BadInput("There is only one disease to compare.", hint="Name two or more.")
        found = model.zero_shot(
            open_image(image), {name: [name] for name in known}, signs_of(knowledge(), known)
        )
        ranked = sorted(found, key=lambda name: -found[name])
        likely = [quoted(name) for name in ranked if found[name] >= LEAST_SHARE]
        seen = Seen(
            {"likeness": ", ".join(f"{quoted(name)} {100 * found[name]:.0f} %" for name in ranked)},
            says=f"By names and signs alone, {{image}} looks most like {', then '.join(likely)}.",
        )
        which = hashlib.sha256("\n".join(sorted(known)).encode()).hexdigest()[:6]
        rows = as_rows(_CARD, image, seen, model.sha256, key=which)
        artifact = {
            "query": ZERO_SHOT, "diseases": ranked, "outcome": SEEN, "image": image,
            "rows": [row.model_dump(mode="json") for row in rows],
        }  # fmt: skip
        return render_rows(rows), artifact

    return StructuredTool.from_function(
        run, name=ZERO_SHOT, description=_CARD.task, args_schema=args, response_format="content_and_artifact"
    )


def resolve(
    diseases: Sequence[str], knowledge: Knowledge, specialist: SpecialistLike
) -> dict[str, Sequence[str]]:
    """Names as the specialist or the graph spells them -> the CURIEs that have their signs.

    Raises:
        UnknownDisease: A name is neither a label's nor a disease's; what a model makes up is not compared.
    """
    from ...graph_schema.folding import normalise
    from ...graph_schema.retrieval import UnknownDisease

    labels = {normalise(name): label for label, name in specialist.names.items()}
    found: dict[str, Sequence[str]] = {}
    for name in diseases:
        if label := labels.get(normalise(name)):
            found[specialist.names[label]] = specialist.curies[label]
            continue
        links = [link for link in knowledge.mentions(name) if normalise(link.matched) == normalise(name)]
        if not links:
            raise UnknownDisease(name)
        found[links[0].name] = [links[0].curie]
    return found
