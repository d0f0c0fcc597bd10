"""`measure_lesion`: the segmenter's outline of the lesion and the ABCD measures within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registry import REGISTRY, Seen, ToolCard
from .weights import figures

if TYPE_CHECKING:
    from PIL import Image

    from .segmenter import Segmenter

NAME = "measure_lesion"


def _load() -> Segmenter:
    from .segmenter import Segmenter

    return Segmenter.load()


@REGISTRY.expert(
    ToolCard(
        name=NAME,
        task="Outlines the lesion of a dermoscopy picture and measures asymmetry, border, colours, diameter.",
        inputs="the id of a picture of this conversation",
        outputs="rows with an id to cite, and the picture with the outline",
        limits="it outlines something on any picture; whether it is a lesion is for classify_lesion to say.",
        measured=lambda: figures("segmenter", "Dice {Dice:.2f} on HAM10000, clean test side"),
    ),
    load=_load,
)
def measure_lesion(segmenter: Segmenter, image: Image.Image) -> Seen:
    """Measures the lesion by the ABCD rule (`abcd.measure`); nothing is said of an empty outline."""
    from .abcd import measure
    from .segmenter import overlay

    mask = segmenter.segment(image)
    found = measure(image, mask)
    values = {"area": f"{100 * found.area_fraction:.0f} % of the picture"}
    if found.asymmetry is not None and found.border_irregularity is not None:
        values |= {
            "asymmetry": f"{found.asymmetry:.2f} (0 none, 1 complete)",
            "border irregularity": f"{found.border_irregularity:.2f} (1 a circle)",
            "largest diameter": f"{found.diameter_px:.0f} pixels",
            "colour": ", ".join(found.colours) or "none of the six of the ABCD rule",
        }
    return Seen(values, overlay(image, mask))
