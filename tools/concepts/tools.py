"""`annotate_concepts` and `zero_shot_classify`: the dual encoder as the generalist's expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, create_model

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
SHOWN = 0.5
"""Least score of a concept that is spoken of."""
_MOST = 8


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
    """Scores every concept and says those that are more likely there than not, the likeliest first."""
    found = sorted(concepts.annotate(image).items(), key=lambda item: -item[1])
    shown = {
        f"score for {name}": f"{score:.2f} (0 absent, 1 present)" for name, score in found if score >= SHOWN
    }
    return Seen(shown)


_CARD = ToolCard(
    name=ZERO_SHOT,
    task="Compares any diseases on a picture by their names and their signs in the knowledge graph.",
    inputs="the id of a picture of this conversation, and two or more names of diseases",
    outputs="rows with an id to cite, one a disease, with its share of the comparison",
    limits="it always finds a likeliest one; trust classify_lesion where it knows the disease.",
    measured=lambda: figures("make", "accuracy {ham_names:.2f} on seven kinds, HAM10000 clean test side"),
)


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
        diseases=(list[name], Field(min_length=2, max_length=_MOST, description="Names of diseases.")),
    )

    def run(image: str, diseases: list[str]) -> tuple[str, dict[str, Any]]:
        model: Concepts = experts.model(ANNOTATE)
        names = list(dict.fromkeys(disease.strip() for disease in diseases))
        found = model.zero_shot(
            open_image(image), {name: [name] for name in names}, signs_of(knowledge(), names)
        )
        values = {f"share of {name}": f"{100 * share:.0f} %" for name, share in found.items()}
        rows = as_rows(_CARD, image, values, model.sha256)
        plain = [row.model_dump(mode="json") for row in rows]
        artifact = {"query": ZERO_SHOT, "diseases": names, "rows": plain, "outcome": SEEN, "image": image}
        return render_rows(rows), artifact

    return StructuredTool.from_function(
        run, name=ZERO_SHOT, description=_CARD.task, args_schema=args, response_format="content_and_artifact"
    )
