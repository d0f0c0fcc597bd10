"""Encoders of every kind that open_clip has, and the figures they are measured by."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from clarify.bench.make import linear_probe, ranks_of, retrieval
from clarify.errors import BadInput, WeightsMissing
from clarify.tools.concepts.encoder import DualEncoder, encode_patches
from clarify.training.make.model import PIXELS, build, encode_texts


@pytest.mark.parametrize(
    ("vision", "places"),
    [
        (
            {
                "timm_model_name": "vit_tiny_patch16_224",
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": 224,
            },
            196,
        ),
        (
            {
                "timm_model_name": "vit_tiny_patch16_224",
                "timm_pool": "token",
                "timm_proj": "mlp",
                "image_size": 224,
            },
            196,
        ),
        ({"timm_model_name": "regnetx_002", "timm_pool": "avg", "timm_proj": "linear"}, 1),
        ({"layers": 2, "width": 64, "patch_size": 16}, 4),
        ({"layers": [1, 1, 1, 1], "width": 8}, 0),
        ({"layers": 2, "width": 64, "patch_size": 16, "attentional_pool": True, "attn_pooler_queries": 4}, 0),
    ],
)
def test_towers_of_every_kind_give_places_or_say_so(vision: dict[str, object], places: int) -> None:
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    model = open_clip.CLIP(48, {"image_size": 32, **vision}, text).eval()
    open_clip.set_model_preprocess_cfg(model, {"size": model.visual.image_size, **PIXELS})
    encoder = DualEncoder(model, lambda texts: torch.ones(len(texts), 8, dtype=torch.long))
    pictures = [Image.effect_noise((40, 40), 90).convert("RGB") for _ in range(3)]
    whole = encoder.pictures(pictures)
    assert whole.shape == (3, 48) and np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    if not places:
        with pytest.raises(BadInput, match="no places"):
            encoder.patches(pictures)
        return
    found = encoder.patches(pictures)
    assert found.shape[0] == 3 and found.shape[1] * found.shape[2] == places
    assert np.allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    pixels = encoder._prepared(pictures)
    assert np.allclose(encode_patches(model, pixels)[0].detach().numpy(), whole, atol=1e-5)


def test_random_weights_are_not_opened() -> None:
    with pytest.raises(WeightsMissing, match="ViT-B-32"):
        DualEncoder.from_hub("ViT-B-32")


def test_ranks_stand_in_the_middle_of_equals() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]], np.float32)
    assert ranks_of(scores, scores[[0, 1], [1, 3]]).tolist() == [3.0, 1.0]
    assert ranks_of(np.zeros((1, 101)), np.zeros(1)).tolist() == [51.0]


def test_equal_captions_are_one_and_the_best_picture_of_them_counts() -> None:
    class Knows:
        def texts(self, texts: list[str]) -> np.ndarray:
            return np.eye(3, dtype=np.float32)[[["a", "b", "c"].index(text) for text in texts]]

    images = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.5, 0.6, 0], [0.0, 0.1, 0.9]], np.float32)
    found = retrieval(Knows(), images, ["a", "b", "a", "c"])  # type: ignore[arg-type]
    assert found["distinct captions"] == {"value": 3, "n": 4}
    assert found["picture to text mean rank"]["value"] == 1.2  # the third is second: (1 + 1 + 2 + 1) / 4
    assert found["text to picture mean rank"]["value"] == 1.0 and found["text to picture R@10"]["n"] == 3
    with pytest.raises(BadInput, match="no numbers"):
        retrieval(Knows(), images * np.nan, ["a", "b", "a", "c"])  # type: ignore[arg-type]


def test_the_probe_finds_what_can_be_parted_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    parted = (rng.normal(size=(200, 4)) + 5 * labels[:, None]).astype(np.float32)
    found = linear_probe(parted, labels, parted, labels)
    assert found["accuracy"]["value"] > 0.97 and found["AUC, first draw"]["value"] > 0.97
    noise = rng.normal(size=(200, 4)).astype(np.float32)
    low, high = linear_probe(noise, labels, noise[::-1], labels)["accuracy"]["interval"]
    assert low < 0.5 < high


def test_texts_that_end_in_the_first_token_are_whole() -> None:
    torch.manual_seed(0)
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    model = open_clip.CLIP(48, {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}, text).eval()
    ids = open_clip.get_tokenizer("ViT-B-16")(['help!". it itches!!!)', "a mole!!!!", "a mole"])
    assert (ids == 0).sum() > 0  # "!" has the number that pads
    with torch.no_grad():
        whole = model.encode_text(ids, normalize=True)
        for some in ([0, 1, 2], [0], [1]):
            assert torch.allclose(encode_texts(model, ids[some]), whole[some], atol=1e-6)


def test_a_picture_that_is_turned_over_is_the_same_picture_when_all_turns_are_seen() -> None:
    torch.manual_seed(0)
    encoder = DualEncoder(build(), lambda texts: torch.ones(len(texts), 8, dtype=torch.long))
    picture = Image.effect_noise((128, 96), 90).convert("RGB")
    over = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    one, other = (encoder.pictures([view], turned=True) for view in (picture, over))
    assert np.allclose(one, other, atol=1e-5) and np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    plain, plain_over = (encoder.pictures([view]) for view in (picture, over))
    assert not np.allclose(plain, plain_over, atol=1e-4)
