"""Fit what stands beside the weights: temperature, class offset, shortlists, scope. Never on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from ...tools import calibration
from ...tools.patient_prior import DECADES, PatientPrior, decade_of, log_ratios
from ...tools.scope import Array, ScopeHead
from .scenes import LEARNT, draw_many, limb

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def negative_log_likelihood(probs: Floats, labels: Ints) -> float:
    """Mean surprise at the true class, nats."""
    return float(-np.log(np.clip(probs[np.arange(len(labels)), labels], 1e-12, 1)).mean())


def fit_temperature(logits: NDArray[np.float32], labels: Ints, offset: Floats | float = 0.0) -> float:
    """Temperature of least surprise (Guo et al. 2017), searched between 0.1 and 10.

    Args:
        logits: (n, classes).
        labels: (n,).
        offset: (classes,) as in `calibration.probabilities`.
    """

    def loss(log_t: float) -> float:
        return negative_log_likelihood(
            calibration.probabilities(logits, float(np.exp(log_t)), offset), labels
        )

    found = minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded")
    return float(np.exp(found.x))


def cautious_temperature(
    logits: NDArray[np.float32],
    labels: Ints,
    offset: Floats | float = 0.0,
    quantile: float = 0.9,
    resamples: int = 200,
) -> float:
    """Upper bootstrap bound of the temperature of least surprise.

    A few hundred validation pictures leave it uncertain by several per cent, and being too sure of a lesion
    costs more than being too modest.

    Args:
        logits: (n, classes).
        labels: (n,).
        offset: (classes,) as in `calibration.probabilities`.
        quantile: Share of the resampled temperatures that lie below what is returned.
        resamples: How often the pictures are drawn again.
    """
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(labels), len(labels)) for _ in range(resamples))
    return float(np.quantile([fit_temperature(logits[i], labels[i], offset) for i in drawn], quantile))


def fit_probabilities(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    labels: Ints,
    offset: Floats,
    guarded: Sequence[int] = (),
    coverage: float = 0.9,
) -> dict[str, Any]:
    """Contents of ``calibration.json`` from both looks' logits at the validation side.

    Args:
        first: Logits of the first look, (n, classes).
        second: Logits of the second look, (n, classes).
        labels: (n,).
        offset: (classes,).
        guarded: As `calibration.conformal_limits` takes them.
        coverage: What the shortlists promise.
    """
    out: dict[str, Any] = {"offset": [round(float(v), 5) for v in offset], "coverage": coverage}
    for prefix, logits in (("", first), ("second_", second)):
        temperature = cautious_temperature(logits, labels, offset)
        probs = calibration.probabilities(logits, temperature, offset)
        out[f"{prefix}temperature"] = temperature
        out[f"{prefix}conformal"] = calibration.conformal_limits(probs, labels, coverage, guarded)
    return out


def fit_patient(train: Sequence[Mapping[str, Any]], classes: Ints, count: int) -> PatientPrior:
    """Tables of what age, sex and site say, from the training side; at full strength.

    Args:
        train: Known of each training patient (`data.Split.patients`).
        classes: (n,) their classes.
        count: Number of classes.
    """

    def table(values: Sequence[Any], each: Sequence[Any]) -> Floats:
        counts = np.zeros((len(values), count))
        for value, label in zip(each, classes, strict=True):
            if value in values:
                counts[values.index(value), label] += 1
        return counts

    ages = table(range(DECADES), [decade_of(p["age"]) if "age" in p else None for p in train])
    padded = np.pad(ages, ((1, 1), (0, 0)), mode="edge")  # neighbouring decades lend each other a quarter
    ages = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    out: dict[str, Any] = {"decade": log_ratios(ages)}
    for name in ("sex", "site"):
        values = sorted({p[name] for p in train if name in p})
        ratios = log_ratios(table(values, [p.get(name) for p in train]))
        out[name] = dict(zip(values, ratios, strict=True))
    return PatientPrior(strength=1.0, **out)


def fit_refinement(
    prior: PatientPrior,
    fitted: Mapping[str, Any],
    looks: Sequence[NDArray[np.float32]],
    patients: Sequence[Mapping[str, Any]],
    labels: Ints,
    guarded: Sequence[int] = (),
) -> dict[str, Any]:
    """Strength of the prior and the shortlist limits with it, on the validation side.

    Args:
        prior: From `fit_patient`.
        fitted: From `fit_probabilities`.
        looks: Logits of the first and the second look, (n, classes) each.
        patients: Known of each validation patient.
        labels: (n,).
        guarded: As `calibration.conformal_limits` takes them.
    """
    shifts = prior.shifts(patients)

    def loss(strength: float) -> float:
        offset = np.asarray(fitted["offset"]) + strength * shifts
        probs = calibration.probabilities(looks[0], fitted["temperature"], offset)
        return negative_log_likelihood(probs, labels)

    strength = round(float(minimize_scalar(loss, bounds=(0, 1.5), method="bounded").x), 3)
    out: dict[str, Any] = {"patient": prior.model_copy(update={"strength": strength}).model_dump()}
    for prefix, logits in zip(("", "second_"), looks, strict=True):
        offset = np.asarray(fitted["offset"]) + strength * shifts
        probs = calibration.probabilities(logits, fitted[f"{prefix}temperature"], offset)
        limits = calibration.conformal_limits(probs, labels, fitted["coverage"], guarded)
        out[f"{prefix}refined_conformal"] = limits
    return out


def prior_offset(counts: Ints, power: float) -> Floats:
    """Log odds that undo sampling by 1/sqrt(class size), towards the real frequencies.

    Args:
        counts: training pictures of each class.
        power: 0 leaves it as trained, 1 goes the whole way (Menon et al. 2021, arXiv:2007.07314).
    """
    offset = 0.5 * power * np.log(counts / counts.sum())
    return np.asarray(offset - offset.mean())


def mild(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dermoscopy as another clinic might take it: crop, turn, light, blur, size; still dermoscopy."""
    w, h = image.size
    part = rng.uniform(0.6, 1.0)
    x, y = rng.uniform(0, 1 - part, 2)
    image = image.crop((round(x * w), round(y * h), round((x + part) * w), round((y + part) * h))).resize(
        (w, h)
    )
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(float(rng.uniform(0.8, 1.2)))
    return (
        image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2)))) if rng.random() < 0.25 else image
    )


def degraded(image: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    """Dermoscopy spoilt until nobody should judge it.

    Args:
        image: RGB.
        kind: ``blur``, ``crop`` (a small part of the frame, blown up) or ``colour`` (channels swapped or
            turned into their negative).
        rng: source of chance.
    """
    w, h = image.size
    if kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.015, 0.045)) * w))
    if kind == "crop":
        part = float(np.sqrt(rng.uniform(0.03, 0.12)))
        x, y = rng.uniform(0, 1 - part, 2)
        box = (round(x * w), round(y * h), round((x + part) * w), round((y + part) * h))
        return image.crop(box).resize((w, h), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    order = [(2, 1, 0), (1, 2, 0), (2, 0, 1), (1, 0, 2)][int(rng.integers(4))]
    return Image.fromarray(255 - pixels if rng.random() < 0.3 else pixels[..., order].copy())


DEGRADED = ("blur", "crop", "colour")


def wash(pixels: NDArray[np.uint8], like: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give a picture of another kind dermoscopic or fewer colours, so that hue alone cannot decide."""
    values = pixels.astype(np.float32)
    chance = rng.random()
    if chance < 0.35:
        mean, spread = like.mean((0, 1)), like.std((0, 1))
        values = (values - values.mean((0, 1))) / (values.std((0, 1)) + 4) * spread + mean
    elif chance < 0.65:
        grey = values.mean(-1, keepdims=True)
        values = grey + (values - grey) * rng.uniform(0, 0.6)
    return np.clip(values, 0, 255).astype(np.uint8)


def composites(pictures: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Whole limbs and rooms that carry many small real spots: what a rash looks like to a phone."""
    size = pictures.shape[1:3]
    out = np.empty((count, *size, 3), np.uint8)
    for i in range(count):
        values, skin = limb(rng, (size[0], size[1]))
        for _ in range(int(rng.integers(4, 50))):
            side = int(rng.integers(8, 34))
            spot = Image.fromarray(pictures[rng.integers(len(pictures))]).resize((side, side))
            patch = np.asarray(spot, np.float32) / 255
            y, x = int(rng.integers(0, size[0] - side)), int(rng.integers(0, size[1] - side))
            ys, xs = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
            soft = np.clip(1.6 * (1 - np.hypot(ys, xs)), 0, 1) * skin[y : y + side, x : x + side]
            there = values[y : y + side, x : x + side]
            shift = there.mean((0, 1)) - np.median(patch, (0, 1))
            values[y : y + side, x : x + side] = there + (patch + 0.5 * shift - there) * soft[..., None]
        out[i] = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return out


def negatives(dermoscopy: NDArray[np.uint8], each: int, seed: int) -> list[Image.Image]:
    """Drawn pictures of the learnt families and composites, half of them recoloured."""
    rng = np.random.default_rng(seed)
    drawn = draw_many(LEARNT, each, seed)
    more = draw_many(
        {"rash": LEARNT["rash"]}, 3 * each, seed + 1
    )  # the hardest family, and the one that matters
    drawn["rash"] = np.concatenate([drawn["rash"], more["rash"]])
    drawn["composite"] = composites(dermoscopy, 2 * each, rng)
    out = []
    for name, pictures in drawn.items():
        for picture in pictures:
            like = dermoscopy[rng.integers(len(dermoscopy))]
            image = Image.fromarray(picture if name in ("composite", "plain") else wash(picture, like, rng))
            out.append(
                image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 2))))
                if rng.random() < 0.3
                else image
            )
    return out


def fit_scope(
    inside: Array, outside: Array, held: Array, directions: int = 48, keep: float = 0.975
) -> ScopeHead:
    """Fit the scope head.

    Args:
        inside: (n, f) features of dermoscopy from the training side, as it is and mildly changed.
        outside: (m, f) features of other kinds.
        held: (k, f) features of the validation side; sets the limits only.
        directions: principal directions of the distance.
        keep: share of ``held`` that is to stay in scope.

    Returns:
        A head whose two judges each refuse about half of ``1 - keep`` of ``held``.
    """
    mean, scale = inside.mean(0), inside.std(0) + 1e-3
    blank = ScopeHead(
        mean, scale, np.zeros_like(mean), 0.0, np.zeros((len(mean), 1), np.float32), 0.0, 1.0, 0.5
    )
    z_in, z_out, z_held = blank.standardise(inside), blank.standardise(outside), blank.standardise(held)
    labels = np.r_[np.ones(len(z_in)), np.zeros(len(z_out))]
    logistic = LogisticRegression(C=0.003, class_weight="balanced", max_iter=2000)
    logistic.fit(np.concatenate([z_in, z_out]), labels)
    weights, bias = logistic.coef_[0].astype(np.float32), float(logistic.intercept_[0])
    directions = min(directions, z_in.shape[1], len(z_in) - 1)
    values, vectors = np.linalg.eigh(np.cov(z_in.T).astype(np.float64))
    axes = (vectors[:, -directions:] / np.sqrt(values[-directions:] + 1e-3)).astype(np.float32)
    distance = np.sqrt(np.square(z_held @ axes).mean(-1))
    strict = (1 - keep) / 2
    limit = float(np.quantile(distance, 1 - strict))
    bias -= min(0.0, float(np.quantile(z_held @ weights + bias, strict)))
    slope = 4.0 / max(1e-3, limit - float(np.median(distance)))
    head = ScopeHead(mean, scale, weights, bias, axes, limit, slope, 0.5)
    threshold = min(0.5, float(np.quantile(head.score(held), 1 - keep)))
    return ScopeHead(mean, scale, weights, bias, axes, limit, slope, threshold)
