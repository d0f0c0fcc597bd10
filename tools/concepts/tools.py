"""`annotate_concepts` and `zero_shot_classify`: the dual encoder as the generalist's expert."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, create_model

from ...errors import BadInput
from ..experts import SEEN, Experts, as_rows
from ..knowledge import Knowledge
from ..registry import REGISTRY, Seen, ToolCard
from ..render import render_rows
from ..weights import figures
from .signs import signs_of

if TYPE_CHECKING:
    from PIL import Image

    from .concepts import Concepts

ANNOTATE, ZERO_SHOT = "annotate_concepts", "zero_shot_classify"
SHOWN, MOST_SHOWN = 0.7, 5
"""Least score of a concept that is spoken of, and how many are at most."""
MOST = 8
"""Most diseases of a comparison."""
_NO_SIGNS = frozenset({"hair", "symmetry", "regular border"})
"""Concepts that speak of no disease: hair lies over any lesion, and most lesions are even."""


def _load() -> Concepts:
    from .concepts import Concepts

    return Concepts.load()


@REGISTRY.expert(
    ToolCard(
        name=ANNOTATE,
        task="Names the visual concepts that a dermoscopy picture shows: colours, outline, structures.",
        inputs="the id of a picture of this conversation",
        outputs="rows with an id to cite, one a concept, with a score from 0 to 1",
        limits="structures such as a pigment network were learnt and tested on drawn lesions only.",
        measured=lambda: figures("make", "AUROC {concepts_drawn:.2f} drawn, {concepts_ham:.2f} HAM10000"),
    ),
    load=_load,
)
def annotate_concepts(concepts: Concepts, image: Image.Image) -> Seen:
    """Scores every concept and says those that are likely there, the likeliest first."""
    found = sorted(concepts.annotate(image).items(), key=lambda item: -item[1])
    shown = {name: f"{score:.2f}" for name, score in found[:MOST_SHOWN] if score >= SHOWN}
    return Seen(
        shown,
        says="The lesion in {image} seems to show {what} (score {value} of 1).",
        signs=tuple(name for name in shown if name not in _NO_SIGNS),
    )


_CARD = ToolCard(
    name=ZERO_SHOT,
    task="Compares any diseases on a picture by their names and their signs in the knowledge graph.",
    inputs="the id of a picture of this conversation, and two or more names of diseases",
    outputs="rows with an id to cite, one a disease, with its share of the comparison",
    limits="it always finds a likeliest one; trust classify_lesion where it knows the disease.",
    measured=lambda: figures("make", "accuracy {ham_names:.2f} on seven kinds, HAM10000 clean test side"),
)

_SAYS = "Compared by names and signs alone, the lesion in {image} is {value} like {what}."


@REGISTRY.register(_CARD)
def zero_shot_tool(
    *,
    experts: Experts,
    knowledge: Callable[[], Knowledge],
    open_image: Callable[[str], Image.Image],
    pictures: Mapping[str, str],
) -> BaseTool:
    """Makes the tool for one turn.

    Args:
        experts: Holds the dual encoder, loaded once.
        knowledge: Gives the graph that has the signs.
        open_image: Gives the pixels of a picture id.
        pictures: Pictures the model may name, each with its hash.

    Returns:
        A tool whose artifact is that of an expert's (`experts.picture_tool`).
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
        names = list(dict.fromkeys(disease.strip() for disease in diseases))
        if len(names) < 2:
            raise BadInput("There is only one disease to compare.", hint="Name two or more.")
        found = model.zero_shot(
            open_image(image), {name: [name] for name in names}, signs_of(knowledge(), names)
        )
        ranked = sorted(found.items(), key=lambda item: -item[1])
        seen = Seen({name: f"{100 * share:.0f} %" for name, share in ranked}, says=_SAYS)
        which = hashlib.sha256("\n".join(names).encode()).hexdigest()[:6]
        rows = as_rows(_CARD, image, seen, model.sha256, key=which)
        artifact = {
            "query": ZERO_SHOT, "diseases": [name for name, _ in ranked], "outcome": SEEN, "image": image,
            "rows": [row.model_dump(mode="json") for row in rows], "picture": "", "signs": [],
        }  # fmt: skip
        return render_rows(rows), artifact

    return StructuredTool.from_function(
        run, name=ZERO_SHOT, description=_CARD.task, args_schema=args, response_format="content_and_artifact"
    )
