"""The specialist: a calibrated image classifier that knows when a picture is none of its business."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from . import calibration
from .image_quality import cut_off, quality
from .patient_prior import Known, PatientPrior
from .scope import ScopeHead, describe
from .skin_tone import outside, typology_angle
from .weights import load_float, verified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

FILES = ("model.safetensors", "config.json", "labels.json", "calibration.json", "scope.safetensors")
DEFAULT = Path(__file__).resolve().parent.parent / "weights" / "specialist"
HINT = "Restore the folder from the release, or train and export it with clarify.training.specialist."


Outline = Callable[[Image.Image], NDArray[np.bool_]]
"""Marks the lesion of an RGB picture: (height, width), true on it."""


class Classification(BaseModel):
    """What the specialist says about one picture; the fields of `clarify classify`.

    Attributes:
        label: The likeliest class, or None for a picture out of scope.
        curie: Its primary ontology id, or None.
        curies: Every ontology id the label stands for.
        confidence: Calibrated probability of the label; 0 out of scope.
        probabilities: Calibrated probability of every label; empty out of scope.
        prediction_set: Conformal shortlist, likeliest first; empty out of scope.
        in_scope: Whether the picture looks like dermoscopy of a skin lesion.
        scope_score: 0 (certainly another kind) to 1.
        quality: Measured reasons to distrust the picture.
        skin_tone: Individual typology angle of the skin beside the lesion in degrees, where it is seen.
        refined_by: What was known of the patient and used: any of ``age``, ``sex``, ``site``, with its value.
    """

    model_config = ConfigDict(frozen=True)

    label: str | None
    curie: str | None
    curies: list[str]
    confidence: float = Field(ge=0, le=1)
    probabilities: dict[str, float]
    prediction_set: list[str]
    in_scope: bool
    scope_score: float = Field(ge=0, le=1)
    quality: list[str]
    skin_tone: float | None = None
    refined_by: Known = {}


class Limits(NamedTuple):
    """Temperature and shortlist limits of one look, without and with what is known of the patient."""

    temperature: float
    conformal: tuple[float, ...]
    refined: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Numbers fitted on the validation side, kept in ``calibration.json``.

    Attributes:
        temperature: For the mean logits of `Specialist.classify`.
        second_temperature: For those of `Specialist.second_look`.
        offset: One number per class, added to the scaled logits.
        conformal: RAPS score to which a class is on the shortlist, one per class.
        second_conformal: The same for the second look.
        patient: What age, sex and site say, or None.
        refined_conformal: `conformal` where something of the patient is known.
        second_refined_conformal: The same for the second look.
        coverage: What the shortlists promise.
        skin_tone: Lowest and highest typology angle (degrees) of all but one in a hundred training pictures.
    """

    temperature: float
    second_temperature: float
    offset: tuple[float, ...]
    conformal: tuple[float, ...]
    second_conformal: tuple[float, ...]
    coverage: float
    skin_tone: tuple[float, float] = (-90.0, 90.0)
    patient: PatientPrior | None = None
    refined_conformal: tuple[float, ...] = ()
    second_refined_conformal: tuple[float, ...] = ()

    def limits(self, *, second: bool) -> Limits:
        """What one of the two looks is judged by."""
        if second:
            return Limits(self.second_temperature, self.second_conformal, self.second_refined_conformal)
        return Limits(self.temperature, self.conformal, self.refined_conformal)


VIEWS: tuple[tuple[Any, tuple[int, ...]], ...] = ((None, ()), (Image.Transpose.FLIP_LEFT_RIGHT, (1,)))
"""How a picture is shown to the network, and the axes along which its maps are flipped back. All four mirror
images take twice the time and were no righter on validation."""


def lesion_box(image: Image.Image) -> tuple[int, int, int, int]:
    """A box around what differs from the rim of the picture, never below half the frame's sides.

    Args:
        image: RGB.

    Returns:
        (left, top, right, bottom) in pixels, with the picture's own aspect ratio.
    """
    small = np.asarray(image.resize((80, 60), Image.Resampling.BOX, reducing_gap=3.0), np.float32)
    ys, xs = np.mgrid[0:60, 0:80]
    inner = np.hypot((ys - 29.5) / 30, (xs - 39.5) / 40)
    rim = np.median(small[(inner > 0.75) & (inner < 1.0)], axis=0)
    weight = np.clip(np.linalg.norm(small - rim, axis=-1) - 20, 0, None) * (inner < 1.0)
    if weight.sum() < 1:
        return (0, 0, *image.size)
    weight /= weight.sum()
    cy, cx = float((ys * weight).sum()) + 0.5, float((xs * weight).sum()) + 0.5
    half_y, half_x = (
        2.3 * float(np.sqrt(((ys - cy) ** 2 * weight).sum())),
        2.3 * float(np.sqrt(((xs - cx) ** 2 * weight).sum())),
    )
    share = min(1.0, max(0.5, half_y / 30, half_x / 40))
    width, height = image.width * share, image.height * share
    left = min(max(cx / 80 * image.width - width / 2, 0), image.width - width)
    top = min(max(cy / 60 * image.height - height / 2, 0), image.height - height)
    return round(left), round(top), round(left + width), round(top + height)


class Specialist:
    """A timm classifier with its preprocessing, calibration and scope check.

    Any timm checkpoint can take the shipped one's place: a folder with ``model.safetensors`` and timm's
    ``config.json``, a ``labels.json`` that maps each output to ontology ids, and what
    ``clarify.training.specialist.export`` fits on validation pictures. Safe to share between threads.

    Attributes:
        labels: Class labels in the order of the network's outputs.
        names: Display name of each label.
        curies: Ontology ids of each label, the primary one first.
        sha256: Hash of the network's weights.
        fitted: Temperature, class offset and shortlist limits.
        scope: The head that tells dermoscopy from other pictures.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        transform: Callable[[Image.Image], torch.Tensor],
        labels: dict[str, dict[str, Any]],
        fitted: Calibration,
        scope: ScopeHead,
        sha256: str,
        outline: Outline | None = None,
    ) -> None:
        """Put the parts together; `load` does it from a folder."""
        self._model, self._transform, self._outline = model.eval(), transform, outline
        self.fitted, self.scope = fitted, scope
        self._lock = threading.Lock()
        self.labels: tuple[str, ...] = tuple(labels)
        self.names: dict[str, str] = {label: str(entry["name"]) for label, entry in labels.items()}
        self.curies: dict[str, list[str]] = {label: list(entry["curies"]) for label, entry in labels.items()}
        self.sha256 = sha256

    @classmethod
    def load(cls, folder: Path | None = None, outline: Outline | None = None) -> Specialist:
        """Load verified weights.

        Args:
            folder: What the export wrote; the shipped weights when None.
            outline: Marks the lesion, so that a second look can say that it is cut off.

        Raises:
            WeightsMissing: A file is absent or changed. Random weights are never used instead.
        """
        folder = DEFAULT if folder is None else folder
        sha256 = verified(folder, FILES, "specialist", HINT)
        model, transform = load_network(folder)
        fitted = json.loads((folder / "calibration.json").read_text())
        fitted |= {name: tuple(value) for name, value in fitted.items() if isinstance(value, list)}
        if "patient" in fitted:
            fitted["patient"] = PatientPrior.model_validate(fitted["patient"])
        return cls(
            model, transform, json.loads((folder / "labels.json").read_text()),
            Calibration(**fitted), ScopeHead.load(folder / "scope.safetensors"), sha256,
            outline,
        )  # fmt: skip

    @property
    def network(self) -> Any:
        """The timm model; it is shared, so leave it in evaluation mode."""
        return self._model

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """A picture as the network takes it, (3, h, w)."""
        return self._transform(image)

    def logits_and_features(self, images: Sequence[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        """Raw outputs, one row per picture as given: logits (n, classes), pooled features (n, f)."""
        return run_network(self._model, [self._transform(image) for image in images])

    def classify(self, image: Image.Image, patient: Mapping[str, Any] | None = None) -> Classification:
        """Classify one RGB picture of any size from its `VIEWS`.

        Args:
            image: RGB.
            patient: ``age`` in years, ``sex``, ``site``, where known; they refine the probabilities.
        """
        return self._judge(image, views(image), self.fitted.limits(second=False), patient)

    def second_look(self, image: Image.Image, patient: Mapping[str, Any] | None = None) -> Classification:
        """Classify again, with views of a crop around the lesion beside those of the frame."""
        seen = self._judge(image, second_views(image), self.fitted.limits(second=True), patient)
        reasons = cut_off(self._outline(image)) if self._outline and seen.in_scope else []
        return seen.model_copy(update={"quality": seen.quality + reasons})

    def scope_score(self, image: Image.Image, features: np.ndarray) -> float:
        """How much an upright picture with pooled features (f,) is of the kind that was learnt from, 0..1."""
        return float(self.scope.score(np.concatenate([features, describe(image)])))

    def known(self, patient: Mapping[str, Any] | None) -> Known:
        """What of a patient's context refines a classification."""
        return self.fitted.patient.known(patient) if self.fitted.patient else {}

    def _judge(
        self, image: Image.Image, seen: list[Image.Image], limits: Limits, patient: Mapping[str, Any] | None
    ) -> Classification:
        with self._lock:
            logits, features = self.logits_and_features(seen)
        score = self.scope_score(seen[0], features[0])
        tone = typology_angle(seen[0], lesion_box(seen[0]))
        reasons = quality(image) + outside(tone, self.fitted.skin_tone)
        if score < self.scope.threshold:
            return Classification(
                label=None, curie=None, curies=[], confidence=0.0, probabilities={}, prediction_set=[],
                in_scope=False, scope_score=score, quality=reasons, skin_tone=tone,
            )  # fmt: skip
        known, offset = self.known(patient), np.asarray(self.fitted.offset)
        if self.fitted.patient:
            offset = offset + self.fitted.patient.shift(known)
        shares = calibration.probabilities(logits.mean(0), limits.temperature, offset)
        order = calibration.shortlist(shares, limits.refined if known else limits.conformal)
        label = self.labels[order[0]]
        return Classification(
            label=label, curie=self.curies[label][0], curies=self.curies[label],
            confidence=float(shares[order[0]]),
            probabilities={name: float(p) for name, p in zip(self.labels, shares, strict=True)},
            prediction_set=[self.labels[k] for k in order], in_scope=True, scope_score=score, quality=reasons,
            skin_tone=tone, refined_by=known,
        )  # fmt: skip


def upright(image: Image.Image) -> Image.Image:
    """RGB with the long side across, as the training pictures lie; the network has seen every rotation."""
    image = image.convert("RGB")
    return image.transpose(Image.Transpose.ROTATE_90) if image.height > image.width else image


def views(image: Image.Image) -> list[Image.Image]:
    """The upright picture in each of `VIEWS`; the first is the picture itself."""
    image = upright(image)
    return [image, *(image.transpose(turn) for turn, _ in VIEWS[1:])]


def second_views(image: Image.Image) -> list[Image.Image]:
    """`views` of the whole frame, then of the crop around the lesion."""
    image = upright(image)
    return views(image) + views(image.crop(lesion_box(image)))


def load_network(folder: Path) -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor]]:
    """A timm model from ``config.json`` and ``model.safetensors`` in float32, and its preprocessing."""
    import timm
    import torch
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    config = json.loads((folder / "config.json").read_text())
    model: torch.nn.Module = timm.create_model(
        config["architecture"],
        pretrained=False,
        num_classes=config["num_classes"],
        **config.get("model_args", {}),
    )
    load_float(model, folder / "model.safetensors")
    settings: Any = resolve_data_config  # timm carries no types
    data = settings(pretrained_cfg=config["pretrained_cfg"])
    transform: Callable[[Image.Image], torch.Tensor] = create_transform(**data, is_training=False)
    return model.eval().to(memory_format=torch.channels_last), transform


def run_network(model: torch.nn.Module, tensors: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, classes) and pooled penultimate features (n, f) of preprocessed pictures, as float32."""
    import torch

    net: Any = model
    with torch.inference_mode():
        batch = torch.stack(tensors).contiguous(memory_format=torch.channels_last)
        maps = net.forward_features(batch)
        logits, features = net.forward_head(maps), net.forward_head(maps, pre_logits=True)
    return logits.float().numpy(), features.float().numpy()
