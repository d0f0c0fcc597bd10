"""The objective of MAKE against loops from its formulas, its indexing, and two processes against one."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from clarify.training.make.aspects import TEXTS
from clarify.training.make.gather import Gathered, gather
from clarify.training.make.losses import Losses, Parts, diagnosis_weights, local_vectors, make_loss

RELEASED = Parts(released_indexing=True, masked="negative")
SWITCHES = st.builds(
    Parts,
    multi_aspect=st.sampled_from([True, True, True, False]),
    local=st.booleans(),
    weights=st.booleans(),
    released_indexing=st.booleans(),
    same_text=st.sampled_from(["negative", "ignored"]),
    masked=st.sampled_from(["ignored", "negative"]),
    local_length=st.sampled_from(["sum", "unit"]),
    lambda_multi=st.sampled_from([1.0, 0.3]),
    lambda_local=st.sampled_from([0.7, 1.9]),
    sigma=st.sampled_from([0.0, 0.3, 2.0]),
)


@dataclasses.dataclass
class Batch:
    """What `make_loss` takes; `inputs()` are its leaves."""

    images: Tensor
    patches: Tensor
    texts: Tensor
    mask: Tensor
    scale: Tensor
    ids: Tensor
    also: Tensor

    def inputs(self) -> list[Tensor]:
        return [self.images, self.patches, self.texts, self.scale]

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        part = [t[rows] for t in (self.images, self.patches, self.texts, self.mask)]
        return fresh(Batch(*part, self.scale, self.ids[rows], self.also[rows]))

    def loss(self, parts: Parts, gathered: Gathered | None = None) -> Losses:
        vectors = self.images, self.patches, self.texts
        return make_loss(*vectors, self.mask, self.scale, parts, self.ids, gathered, self.also)


def fresh(batch: Batch) -> Batch:
    leaves = [t.detach().clone().requires_grad_() for t in batch.inputs()]
    return Batch(*leaves[:3], batch.mask.clone(), leaves[3], batch.ids.clone(), batch.also.clone())


def make_batch(seed: int, n: int = 5, places: int = 4, width: int = 6, scale: float = 7.0) -> Batch:
    """Random vectors, each text there or not, some texts the same for several pictures."""
    rng = torch.Generator().manual_seed(seed)
    images, patches, texts = (
        F.normalize(torch.randn(*shape, width, generator=rng, dtype=torch.float64), dim=-1)
        for shape in ((n,), (n, places), (n, TEXTS))
    )
    mask = torch.rand(n, TEXTS, generator=rng) < 0.7
    mask[0] = False  # one picture without any text
    ids = torch.randint(0, 3 * n, (n, TEXTS), generator=rng)
    also = torch.randint(-2, 3 * n, (n, 3), generator=rng)  # below 0: no text has that number
    return fresh(Batch(images, patches, texts, mask, torch.tensor(scale, dtype=torch.float64), ids, also))


def slow_weights(batch: Batch, parts: Parts) -> list[list[float]]:
    n, flat = len(batch.mask), batch.texts.detach().reshape(-1, batch.texts.shape[-1])
    weights = [[1.0] * TEXTS for _ in range(n)]
    for i in range(n):
        if not (parts.weights and batch.mask[i, 1]):
            continue
        raised = {}
        for k in range(3, TEXTS):
            if batch.mask[i, k]:
                released = parts.released_indexing  # slice number k of 11, row i of it
                diagnosis = flat[n + i] if released else batch.texts[i, 1]
                sub = flat[k * n + i] if released else batch.texts[i, k]
                raised[k] = math.exp(float(diagnosis @ sub))
        for k, value in raised.items():
            weights[i][k] = value / sum(raised.values()) / (max(raised.values()) / sum(raised.values()))
    return weights


def slow_local(batch: Batch, parts: Parts) -> list[Tensor]:
    made = []
    for i in range(len(batch.mask)):
        text = batch.texts.flatten(0, 1)[i] if parts.released_indexing else batch.texts[i, 0]
        kept = [c if (c := p @ text) >= parts.sigma else torch.zeros_like(c) for p in batch.patches[i]]
        norm = math.sqrt(sum(float(c) ** 2 for c in kept)) or 1.0
        u = sum((c / norm * p for c, p in zip(kept, batch.patches[i], strict=True)), torch.zeros(()))
        made.append(F.normalize(u, dim=0) if parts.local_length == "unit" else u)
    return made


def slow_loss(batch: Batch, parts: Parts) -> Losses:
    """The formulas with one loop for every sum sign; no gradient."""
    n, there, s = len(batch.mask), batch.mask, batch.scale
    kinds = range(TEXTS if parts.multi_aspect else 1)

    def negative(i: int, j: int, k: int) -> bool:
        """Whether text k of picture j is in the denominators of picture i."""
        if parts.masked == "ignored" and not there[j, k]:
            return False
        if parts.same_text == "negative" or i == j or not there[j, k]:
            return True
        if batch.ids[j, k] in batch.also[i]:
            return False
        return not any(there[i, c] and batch.ids[i, c] == batch.ids[j, k] for c in kinds)

    def to_text(vectors: list[Tensor], targets: list[tuple[int, int]], weights: list[list[float]]) -> Tensor:
        total, weight = torch.zeros((), dtype=torch.float64), 0.0
        for i, c in targets:
            columns = [batch.texts[j, k] for j in range(n) for k in kinds if negative(i, j, k)]
            whole = [torch.exp(s * vectors[i] @ text) for text in columns]
            surprise = -torch.log(torch.exp(s * vectors[i] @ batch.texts[i, c]) / sum(whole))
            total, weight = total + weights[i][c] * surprise, weight + weights[i][c]
        return total / weight if weight else total

    valid = [(i, c) for i in range(n) for c in kinds if there[i, c]]
    weights = slow_weights(batch, parts) if parts.multi_aspect else [[1.0] * TEXTS] * n
    to_image = torch.zeros((), dtype=torch.float64)
    for i, c in valid:
        whole = [torch.exp(s * batch.texts[i, c] @ batch.images[j]) for j in range(n) if negative(j, i, c)]
        surprise = -torch.log(torch.exp(s * batch.texts[i, c] @ batch.images[i]) / sum(whole))
        to_image = to_image + surprise / len(valid)
    multi = (to_text(list(batch.images), valid, weights) + to_image) / 2
    local = torch.zeros_like(multi)
    if parts.multi_aspect and parts.local:
        first = {(r // TEXTS, r % TEXTS) for r in range(n)}  # the first n rows of the flattened texts
        raw = first if parts.released_indexing else {(i, 0) for i in range(n)}
        targets = [t for t in valid if t not in raw and (parts.masked == "negative" or there[t[0], 0])]
        local = to_text(slow_local(batch, parts), targets, weights)
    return Losses(parts.lambda_multi * multi + parts.lambda_local * local, multi, local)


def same(one: Losses, other: Losses) -> bool:
    return all(torch.allclose(a, b, atol=1e-10) for a, b in zip(one, other, strict=True))


def gradients(loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True))


@settings(max_examples=20)
@given(parts=SWITCHES, seed=st.integers(0, 10**6), n=st.integers(1, 4))
def test_the_loss_is_that_of_the_formulas(parts: Parts, seed: int, n: int) -> None:
    batch = make_batch(seed, n, places=3, width=5)
    with torch.no_grad():
        assert same(batch.loss(parts), slow_loss(batch, parts))


@settings(max_examples=15)
@given(parts=SWITCHES, seed=st.integers(0, 10**6))
def test_the_order_of_the_pictures_does_not_matter(parts: Parts, seed: int) -> None:
    batch, parts = make_batch(seed), dataclasses.replace(parts, released_indexing=False)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert same(batch.loss(parts), batch[order].loss(parts))


@pytest.mark.parametrize("on", [{"weights": True, "local": False}, {"weights": False, "local": True}])
def test_the_order_of_the_pictures_matters_with_the_released_indexing(on: dict[str, bool]) -> None:
    batch, parts = make_batch(5), dataclasses.replace(RELEASED, **on)
    turned = batch[torch.tensor([1, 2, 3, 4, 0])]
    assert not torch.allclose(batch.loss(parts).total, turned.loss(parts).total, atol=1e-4)


@pytest.mark.parametrize("released", [False, True])
def test_a_local_vector_depends_on_the_raw_caption_of_its_picture_alone(
    monkeypatch: pytest.MonkeyPatch, released: bool
) -> None:
    made: list[Tensor] = []
    kept = "clarify.training.make.losses.local_vectors"
    monkeypatch.setattr(kept, lambda *given: made.append(local_vectors(*given)) or made[-1])  # type: ignore
    batch = make_batch(1)
    batch.loss(Parts(released_indexing=released, sigma=-2.0))
    for i, vector in enumerate(made[0]):
        (gradient,) = torch.autograd.grad(vector.sum(), batch.texts, retain_graph=True)
        touched = {tuple(place) for place in gradient.abs().sum(-1).nonzero().tolist()}
        assert touched == ({(i // TEXTS, i % TEXTS)} if released else {(i, 0)})


@pytest.mark.parametrize("same_text", ["negative", "ignored"])
def test_a_text_that_is_not_there_does_nothing(same_text: str) -> None:
    batch, parts = make_batch(2), Parts(same_text=same_text)  # type: ignore[arg-type]
    changed = fresh(batch)
    with torch.no_grad():
        changed.texts[~batch.mask] = F.normalize(torch.ones(6, dtype=torch.float64), dim=0)
    changed.ids[~batch.mask] = 0
    assert same(batch.loss(parts), changed.loss(parts))
    pairs = [gradients(b.loss(parts).total, b.inputs()) for b in (batch, changed)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*pairs, strict=True))
    assert not pairs[0][2][~batch.mask].any()
    negative = dataclasses.replace(parts, masked="negative")
    assert not torch.allclose(batch.loss(negative).multi_aspect, changed.loss(negative).multi_aspect)
    assert gradients(batch.loss(negative).total, batch.inputs())[2][~batch.mask].any()


@pytest.mark.parametrize("parts", [Parts(), Parts(same_text="ignored"), RELEASED, Parts(multi_aspect=False)])
def test_pictures_without_any_text(parts: Parts) -> None:
    batch = make_batch(4, scale=100.0)
    for mask in (batch.mask, torch.zeros_like(batch.mask)):
        batch.mask = mask
        loss = batch.loss(parts).total
        assert all(t.isfinite().all() for t in (loss, *gradients(loss, batch.inputs())))
    assert loss == 0


def test_diagnosis_weights() -> None:
    batch = make_batch(6, n=40)
    weights = diagnosis_weights(batch.texts, batch.mask)
    assert not weights.requires_grad
    assert (weights[:, :3] == 1).all()
    assert (weights[~batch.mask[:, 1]] == 1).all()
    for i in range(40):
        subs = batch.mask[i, 3:]
        if batch.mask[i, 1] and subs.any():
            near = (batch.texts[i, 3:] @ batch.texts[i, 1]).masked_fill(~subs, -2)
            assert weights[i, 3 + int(near.argmax())] == 1
            assert (weights[i, 3:] == 1).sum() == 1 and not weights[i, 3:][~subs].any()


def test_the_raw_caption_alone_is_plain_clip() -> None:
    batch = make_batch(7, n=4)
    batch.mask[:, 0] = True
    logits = batch.scale * batch.images @ batch.texts[:, 0].T
    truth = torch.arange(4)
    expected = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    alone = dataclasses.replace(batch, texts=batch.texts[:, :1], mask=batch.mask[:, :1], ids=batch.ids[:, :1])
    for given_texts in (batch, alone):
        assert same(given_texts.loss(Parts(multi_aspect=False)), Losses(expected, expected, expected * 0))


def test_the_same_text_of_another_picture_is_no_negative_if_asked() -> None:
    batch, parts = make_batch(8, n=3), Parts(multi_aspect=False, same_text="ignored")
    batch.mask[:] = True
    batch.ids[:, 0] = torch.tensor([7, 8, 7])
    batch.also[:] = -1
    logits = batch.scale * batch.images @ batch.texts[:, 0].T
    negatives = [[0, 1], [0, 1, 2], [1, 2]]
    ways = [logits[i, js].logsumexp(0) + logits.T[i, js].logsumexp(0) for i, js in enumerate(negatives)]
    expected = (sum(ways) - 2 * logits.diagonal().sum()) / 6
    assert torch.allclose(batch.loss(parts).total, expected)
    with pytest.raises(ValueError, match="text_ids"):
        make_loss(batch.images, batch.patches, batch.texts, batch.mask, batch.scale, parts)


def test_low_precision_is_raised() -> None:
    batch = make_batch(9)
    exact = batch.loss(Parts()).total
    with torch.autocast("cpu", torch.bfloat16):
        vectors = (t.detach().float() for t in batch.inputs()[:3])
        low = make_loss(*vectors, batch.mask, batch.scale, Parts()).total
    assert low.dtype == torch.float32 and torch.allclose(low.double(), exact, atol=1e-4)


def _one_of_two(rank: int, folder: Path, batch: Batch, every: list[Parts]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    half = len(batch.images) // 2
    results = []
    for parts in every:
        own = batch[slice(rank * half, (rank + 1) * half)]
        loss = own.loss(parts, gather(own.images, own.texts, own.mask, own.ids, own.also[:, : 3 - rank]))
        results.append((list(loss), gradients(loss.total, own.inputs())))
    torch.save([([t.detach() for t in loss], grads) for loss, grads in results], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one_with_the_joined_batch(tmp_path: Path) -> None:
    batch = make_batch(10, n=6)
    batch.also[3:, 2] = -1  # which the second process does not know of
    every = [Parts(), Parts(same_text="ignored"), Parts(multi_aspect=False), RELEASED, Parts(sigma=0.3)]
    context = multiprocessing.get_context("spawn")
    shipped = Batch(*(getattr(batch, f.name).detach() for f in dataclasses.fields(Batch)))
    children = [context.Process(target=_one_of_two, args=(r, tmp_path, shipped, every)) for r in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for parts, (loss0, grads0), (loss1, grads1) in zip(every, *ranks, strict=True):
        joined = batch.loss(parts)
        for one, a, b in zip(joined, loss0, loss1, strict=True):
            assert torch.allclose(one, (a + b) / 2, rtol=0, atol=1e-12)
        *vectors, scale = gradients(joined.total, batch.inputs())
        # Averaged as DistributedDataParallel does: a picture is in one process, so its share is half.
        for one, a, b in zip(vectors, grads0, grads1, strict=False):
            assert torch.allclose(one, torch.cat([a, b]) / 2, rtol=0, atol=1e-12)
        assert torch.allclose(scale, (grads0[-1] + grads1[-1]) / 2, rtol=0, atol=1e-12)


def test_a_text_that_is_true_of_a_picture_is_no_negative_of_it() -> None:
    batch, parts = make_batch(11, n=3), Parts(same_text="ignored", local=False)
    batch.mask[:], batch.also[:] = True, -1
    batch.ids[:] = torch.arange(batch.ids.numel()).reshape(batch.ids.shape)
    turned = dataclasses.replace(batch, images=batch.images.detach().clone())
    turned.images[0] = turned.images[0].flip(0)

    def pull(of: Batch) -> Tensor:
        return gradients(of.loss(parts).total, [batch.texts])[0][1, 4]

    before = batch.loss(parts).total
    assert not torch.allclose(pull(batch), pull(turned), atol=1e-6)
    batch.also[0, 1] = turned.also[0, 1] = batch.ids[1, 4]
    assert batch.loss(parts).total < before
    # Picture 0 neither pulls nor pushes that text of picture 1 any more.
    assert torch.allclose(pull(batch), pull(turned), atol=1e-12)
