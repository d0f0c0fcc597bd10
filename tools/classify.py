"""`classify_lesion`: the specialist as a tool. The model names a picture of the thread, never a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field, create_model

from .registry import REGISTRY, ToolCard
from .render import render_finding
from .skin_tone import OUTSIDE
from .weights import figures

if TYPE_CHECKING:
    from PIL import Image

    from .experts import Memo
    from .specialist import Classification

CLASSIFY = ToolCard(
    name="classify_lesion",
    task="Classifies a dermoscopy picture of one skin lesion into seven kinds.",
    inputs="the id of a picture of this conversation",
    outputs="calibrated probabilities, a shortlist, and whether the picture is in its scope",
    limits="seven kinds of pigmented lesions only; rashes, documents and landscapes are out of scope; nearly "
    "all skin it learnt from is light, and on darker skin its figures do not hold.",
    measured=lambda: figures(
        "specialist",
        "accuracy {accuracy:.2f}, balanced {balanced_accuracy:.2f}, shortlist right {coverage:.2f} "
        "on HAM10000, clean test side",
    ),
)
NAME = CLASSIFY.name


class SpecialistLike(Protocol):
    """What this tool needs of `tools.specialist.Specialist`."""

    names: dict[str, str]
    curies: dict[str, list[str]]
    sha256: str

    def classify(self, image: Image.Image, patient: Mapping[str, Any] | None = None) -> Classification:
        """Classifies an RGB picture, with what is known of the patient."""

    def second_look(self, image: Image.Image, patient: Mapping[str, Any] | None = None) -> Classification:
        """Classifies it again from more views."""

    def known(self, patient: Mapping[str, Any] | None) -> dict[str, float | str]:
        """What of a patient's context it uses."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)

    probabilities: dict[str, float]
    prediction_set: list[str]
    in_scope: bool


def as_finding(
    image: str, seen: Classification, *, second_look: bool, scope: float | None = None
) -> dict[str, Any]:
    """Makes plain values of a classification, as state and `ClarifyAnswer.findings` keep them.

    Args:
        image: Picture id of the thread.
        seen: From the specialist.
        second_look: Whether it was a second look.
        scope: A stricter least scope score than the one stored with the weights.
    """
    inside = seen.in_scope and (scope is None or seen.scope_score >= scope)
    return {
        "tool": NAME, "image": image, "second_look": second_look, "in_scope": inside,
        "label": seen.label if inside else None, "curie": seen.curie if inside else None,
        "confidence": float(seen.confidence) if inside else 0.0, "scope_score": float(seen.scope_score),
        "probabilities": {k: float(v) for k, v in seen.probabilities.items()} if inside else {},
        "prediction_set": list(seen.prediction_set) if inside else [], "quality": list(seen.quality),
        "skin_tone": seen.skin_tone, "refined_by": dict(seen.refined_by) if inside else {},
    }  # fmt: skip


def combine(
    first: Mapping[str, Any], second: Mapping[str, Any], curies: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Joins a second look with what was found before: probabilities averaged, shortlists united.

    The union keeps the coverage that either shortlist promises. Looks that differ on scope are out of scope.
    """
    if not (first["in_scope"] and second["in_scope"]):
        nothing = {"in_scope": False, "label": None, "curie": None, "confidence": 0.0}
        return {**second, **nothing, "probabilities": {}, "prediction_set": [], "second_look": True}
    before, now = first["probabilities"], second["probabilities"]
    mean = {label: (before.get(label, 0.0) + now.get(label, 0.0)) / 2 for label in now}
    label = max(mean, key=lambda key: mean[key])
    listed = {label, *first["prediction_set"], *second["prediction_set"]}
    return {
        **second, "second_look": True, "label": label, "curie": next(iter(curies[label]), None),
        "confidence": mean[label], "probabilities": mean,
        "prediction_set": sorted(listed, key=lambda key: -mean.get(key, 0.0)),
    }  # fmt: skip


def is_sure(finding: Mapping[str, Any], threshold: float) -> bool:
    """Whether a finding counts as confident; never on skin of a tone that was not learnt from."""
    known = OUTSIDE not in finding["quality"]
    return bool(finding["in_scope"] and known and finding["confidence"] >= threshold)


def show(finding: Mapping[str, Any], names: Mapping[str, str], threshold: float) -> str:
    """Renders a finding for the generalist."""
    return render_finding(
        finding["image"],
        _Result.model_validate(finding),
        names,
        sure=is_sure(finding, threshold),
        second_look=finding["second_look"],
    )


@REGISTRY.register(CLASSIFY)
def classify_tool(
    *,
    specialist: Callable[[], SpecialistLike],
    open_image: Callable[[str], Image.Image],
    pictures: Sequence[str],
    threshold: float,
    sha256: Mapping[str, str],
    memo: Memo[Classification],
    scope: float | None = None,
    patient: Mapping[str, Any] | None = None,
) -> BaseTool:
    """Makes the tool for one turn.

    Args:
        specialist: Gives the specialist; called when the tool runs.
        open_image: Gives the pixels of a picture id.
        pictures: Ids the model may name; a grammar can enumerate them.
        threshold: Confidence from which a finding is shown as sure.
        sha256: Hash of every picture of the thread, by which first looks are remembered.
        memo: What remembers them, across conversations.
        scope: See `as_finding`.
        patient: Age, sex and site, where known.

    Returns:
        A tool whose artifact is `{"finding": ...}` in plain values.
    """
    kind: Any = Literal[tuple(pictures)] if pictures else str
    args = create_model(
        "ClassifyArgs",
        image=(
            kind,
            Field(description="Picture id, for example img1.", max_length=None if pictures else 8),
        ),
        second_look=(bool, Field(default=False, description="Look again from more views.")),
    )

    def run(image: str, second_look: bool = False) -> tuple[str, dict[str, Any]]:
        expert = specialist()
        if second_look:
            seen = expert.second_look(open_image(image), patient)
        else:
            key = (expert.sha256, sha256.get(image, image), tuple(sorted(expert.known(patient).items())))
            seen = memo(key, lambda: expert.classify(open_image(image), patient))
        finding = as_finding(image, seen, second_look=second_look, scope=scope)
        return show(finding, expert.names, threshold), {"finding": finding}

    return StructuredTool.from_function(
        run, name=NAME, description=CLASSIFY.task, args_schema=args, response_format="content_and_artifact"
    )
