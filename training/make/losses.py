"""The objective of MAKE (arXiv 2505.09372): multi-aspect contrast and alignment of sub-captions with places.

B pictures of this process stand against the N pictures of all processes (N = B in one process), C texts
each, in the order of `aspects.KNOWLEDGE` and then the sub-captions. v_i is the vector of picture i, p_{i,n}
those of its places, t_{i,c} those of its texts, s is the scale.

The released code differs from the formulas: it lays texts out picture by picture and slices them as if aspect
by aspect. `Parts.released_indexing` does the same, to measure what that costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .aspects import KNOWLEDGE
from .gather import Gathered

RAW, DIAGNOSIS, FIRST_SUB_CAPTION = KNOWLEDGE.index("caption"), KNOWLEDGE.index("diagnosis"), len(KNOWLEDGE)
_LEAST = 1e-6
"""Below every sum of weights that is not empty: a weight is at least exp(-2)."""


@dataclass(frozen=True)
class Parts:
    """Which parts of the objective are on.

    Attributes:
        multi_aspect: All texts; otherwise plain CLIP on the raw caption, and `local` and `weights` are off.
        local: The alignment of sub-captions with places (SLRA).
        weights: Diagnosis-guided weights; otherwise every weight is 1.
        released_indexing: Takes weights, texts for the places and the texts to leave out from where the
            released code takes them, mostly from other pictures; with `masked="negative"` it is that code's
            loss.
        same_text: Whether a text of another picture that the picture has, too, or that is known to be true of
            it, is its negative (published) or left out of the denominator, in both directions.
        masked: Whether texts that a picture lacks are no columns or, as in the released code, negatives.
        local_length: Of the vectors that places sum up to: that of the sum (published) or 1.
        lambda_multi: Weight of the multi-aspect loss.
        lambda_local: Weight of the local loss.
        sigma: Least cosine of a place with the raw caption that counts.
    """

    multi_aspect: bool = True
    local: bool = True
    weights: bool = True
    released_indexing: bool = False
    same_text: Literal["negative", "ignored"] = "negative"
    masked: Literal["ignored", "negative"] = "ignored"
    local_length: Literal["sum", "unit"] = "sum"
    lambda_multi: float = 1.0
    lambda_local: float = 0.7
    sigma: float = 0.0


class Losses(NamedTuple):
    """Scalars: the total, and its two terms before they are multiplied by their lambdas."""

    total: Tensor
    multi_aspect: Tensor
    local: Tensor


def make_loss(
    images: Tensor,
    patches: Tensor,
    texts: Tensor,
    mask: Tensor,
    scale: Tensor,
    parts: Parts,
    text_ids: Tensor | None = None,
    gathered: Gathered | None = None,
    also: Tensor | None = None,
) -> Losses:
    """L = lambda_multi L_MKCL + lambda_local L_SLRA (arXiv 2505.09372), in single precision or better.

    Args:
        images: Unit vectors v of the pictures, (B, D).
        patches: Unit vectors p of their places, (B, P, D).
        texts: Unit vectors t of their texts, (B, C, D); C may be 1 without `parts.multi_aspect`.
        mask: Which texts there are, bool (B, C).
        scale: exp(logit scale), clamped by the caller, ().
        parts: What is on.
        text_ids: Equal numbers are equal texts, long (B, C); needed for `same_text="ignored"`.
        gathered: The batches of all processes, from `gather`; this one alone when None.
        also: Numbers of further texts that are true of the pictures, long (B, K); -1 fills up.

    Returns:
        The losses of this process, whose mean over the processes is that of the joined batch.
    """
    seen = Gathered(images, texts, mask, text_ids, also=also) if gathered is None else gathered
    if not parts.multi_aspect:
        parts, texts, seen = replace(parts, local=False, weights=False), texts[:, : RAW + 1], _raw_only(seen)
    with torch.autocast(images.device.type, enabled=False):  # a scale of 100 leaves bfloat16 no digits
        images, patches, texts, scale = (_single(tensor) for tensor in (images, patches, texts, scale))
        seen = seen._replace(images=_single(seen.images), texts=_single(seen.texts))
        return _losses(images, patches, texts, scale, parts, seen)


def _losses(
    images: Tensor, patches: Tensor, texts: Tensor, scale: Tensor, parts: Parts, seen: Gathered
) -> Losses:
    every, own = slice(None), slice(seen.offset, seen.offset + len(images))
    weights = _weights(seen, parts)
    columns = _no_column(seen, own, every, parts)
    to_text = multi_positive(images, seen, weights * seen.mask, scale, columns)
    to_image = text_to_image(texts, seen, scale, _no_column(seen, every, own, parts))
    multi = (to_text + to_image) / 2
    local = torch.zeros_like(multi)
    if parts.local:
        places = local_vectors(patches, _texts_for_places(seen, own, parts), parts.sigma)
        if parts.local_length == "unit":
            places = F.normalize(places, dim=-1)
        local = multi_positive(places, seen, weights * _local_targets(seen.mask, parts), scale, columns)
    return Losses(parts.lambda_multi * multi + parts.lambda_local * local, multi, local)


def multi_positive(
    vectors: Tensor, seen: Gathered, targets: Tensor, scale: Tensor, no_column: Tensor
) -> Tensor:
    """Weighted cross-entropy from pictures to texts in which every text of the picture is a positive.

    sum_{i,c} w_{i,c} (log sum_{j,k} exp(s v_i.t_{j,k}) - s v_i.t_{i,c}) / sum_{i,c} w_{i,c}: each positive is
    a softmax of its own, the other positives stay in its denominator (L_i2t of MKCL; SLRA with u_i for v_i).

    Args:
        vectors: Of this process's pictures, (B, D).
        seen: The texts of all processes.
        targets: Weights w of all texts as targets, 0 for those that are none, (N, C).
        scale: ().
        no_column: Texts left out of a picture's denominator, bool (B, N, C).
    """
    logits = scale * torch.einsum("id,jkd->ijk", vectors, seen.texts)
    rows = torch.arange(len(vectors), device=vectors.device)
    positives = logits[rows, seen.offset + rows]
    whole = _without(logits, no_column).flatten(1).logsumexp(1)
    return _mean(whole[:, None] - positives, targets, seen.offset)


def text_to_image(texts: Tensor, seen: Gathered, scale: Tensor, no_column: Tensor) -> Tensor:
    """Cross-entropy from texts to pictures: the plain mean over the texts that there are (L_t2i of MKCL).

    Args:
        texts: Of this process, (B, C, D).
        seen: The pictures of all processes, and which texts they have.
        scale: ().
        no_column: Pictures left out of a text's denominator, bool (N, B, C).
    """
    logits = scale * torch.einsum("jd,icd->jic", seen.images, texts)
    rows = torch.arange(len(texts), device=texts.device)
    positives = logits[seen.offset + rows, rows]
    whole = _without(logits, no_column).logsumexp(0)
    return _mean(whole - positives, seen.mask.to(whole.dtype), seen.offset)


def diagnosis_weights(texts: Tensor, mask: Tensor) -> Tensor:
    """Weights of the texts: how near a sub-caption is to the diagnosis (arXiv 2505.09372).

    w_{i,k} = softmax_k(t_{i,diagnosis}.t_{i,k}) / max_k softmax over the sub-captions that there are, which
    is exp(similarity - greatest similarity). A knowledge text has 1; without a diagnosis every text has 1.

    Args:
        texts: Unit vectors, (B, C, D).
        mask: Bool (B, C).

    Returns:
        (B, C) without gradient; sub-captions that are not there, beside a diagnosis, have 0.
    """
    texts, subs = texts.detach(), mask[:, FIRST_SUB_CAPTION:]
    similarity = torch.einsum("id,ikd->ik", texts[:, DIAGNOSIS], texts[:, FIRST_SUB_CAPTION:])
    greatest = _without(similarity, ~subs).amax(1, keepdim=True)
    found = torch.where(subs, (similarity - greatest).exp(), 0.0)
    weights = torch.ones_like(mask, dtype=texts.dtype)
    weights[:, FIRST_SUB_CAPTION:] = torch.where(mask[:, DIAGNOSIS, None], found, 1.0)
    return weights


def local_vectors(patches: Tensor, raw_texts: Tensor, sigma: float) -> Tensor:
    """One vector a picture, from the places that its raw caption speaks of (arXiv 2505.09372, SLRA).

    a_{i,n} = p_{i,n}.t_{i,raw} where that is at least sigma, else 0; a_i is brought to length 1 over the
    places; u_i = sum_n a_{i,n} p_{i,n}. As published, u_i is not brought to length 1 again (if it were, that
    of a_i would not matter): places that agree make it up to sqrt(P) long, which acts as a greater scale. A
    picture without any such place has the zero vector.

    Args:
        patches: Unit vectors of the places, (B, P, D).
        raw_texts: Unit vectors of the raw captions, (B, D).
        sigma: Least cosine that counts.

    Returns:
        (B, D).
    """
    cosine = torch.einsum("ipd,id->ip", patches, raw_texts)
    shares = F.normalize(torch.where(cosine >= sigma, cosine, 0.0), dim=1)
    return torch.einsum("ip,ipd->id", shares, patches)


def _weights(seen: Gathered, parts: Parts) -> Tensor:
    """The weight of every text, (N, C)."""
    if not parts.weights:
        return torch.ones_like(seen.mask, dtype=seen.texts.dtype)
    texts = seen.texts
    if parts.released_indexing:  # rows laid out picture by picture, read as if aspect by aspect
        texts = texts.reshape(texts.shape[1], texts.shape[0], -1).transpose(0, 1)
    return diagnosis_weights(texts, seen.mask)


def _texts_for_places(seen: Gathered, own: slice, parts: Parts) -> Tensor:
    """The text that weighs the places of each picture of this process, (B, D)."""
    return seen.texts.flatten(0, 1)[own] if parts.released_indexing else seen.texts[own, RAW]


def _local_targets(mask: Tensor, parts: Parts) -> Tensor:
    """Which texts the local vectors have to find: all but the raw caption, bool (N, C)."""
    raw = torch.zeros_like(mask)
    if parts.released_indexing:  # the first N rows, which are all texts of the first pictures
        raw.view(-1)[: len(mask)] = True
    else:
        raw[:, RAW] = True
    targets = mask & ~raw
    # Without a raw caption there is nothing to weigh places with, and its vector is that of an empty text.
    return targets & mask[:, RAW, None] if parts.masked == "ignored" else targets


def _no_column(seen: Gathered, pictures: slice, texts: slice, parts: Parts) -> Tensor:
    """Pairs of a picture and a text that no denominator has, bool (pictures, texts, C).

    With `same_text="ignored"` these are the texts of other pictures that the picture has, too, or that are
    true of it (`Gathered.also`): a caption says a few of the things that it could.
    """
    mask = seen.mask
    out = torch.zeros_like(mask[texts]) if parts.masked == "negative" else ~mask[texts]
    out = out.expand(len(mask[pictures]), -1, -1)
    if parts.same_text == "negative":
        return out
    if seen.text_ids is None:
        raise ValueError('same_text="ignored" needs text_ids')
    distinct, which = torch.unique(seen.text_ids, return_inverse=True)
    has = torch.zeros(len(mask), len(distinct) + 1, dtype=torch.bool, device=mask.device)
    has.scatter_(1, torch.where(mask, which, len(distinct)), True)  # the last column takes what is not there
    if seen.also is not None:
        place = torch.searchsorted(distinct, seen.also).clamp(max=len(distinct) - 1)
        has.scatter_(1, torch.where(distinct[place] == seen.also, place, len(distinct)), True)
    has[:, -1] = False
    rows = torch.arange(len(mask), device=mask.device)
    other = rows[pictures, None] != rows[texts]
    # A text that is not there is nobody's, also when its number is that of one that is.
    same = has[pictures][:, which[texts]] & mask[texts]
    return out | (same & other[:, :, None])


def _without(logits: Tensor, out: Tensor) -> Tensor:
    """Logits that add nothing to a softmax where `out`; finite, or an empty row had NaN gradients."""
    return logits.masked_fill(out, torch.finfo(logits.dtype).min)


def _mean(losses: Tensor, weights: Tensor, offset: int) -> Tensor:
    """Share of the rows (B, C) in the mean weighted by (N, C), times the number of processes."""
    own = weights[offset : offset + len(losses)]
    return len(weights) / len(losses) * (losses * own).sum() / weights.sum().clamp_min(_LEAST)


def _single(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _raw_only(seen: Gathered) -> Gathered:
    ids = None if seen.text_ids is None else seen.text_ids[:, : RAW + 1]
    return seen._replace(texts=seen.texts[:, : RAW + 1], mask=seen.mask[:, : RAW + 1], text_ids=ids)
