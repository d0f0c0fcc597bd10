"""The segmenter's plumbing and the ABCD measures, over drawn lesions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clarify.errors import WeightsMissing
from clarify.tools.abcd import COLOURS, measure
from clarify.tools.segmenter import FILES, Segmenter, build, largest_piece, mask_image, overlay
from clarify.training.segmenter.data import augment
from clarify.training.segmenter.metrics import dice
from clarify.training.segmenter.train import CONFIG, export, loss_of, step

SMALL = {**CONFIG, "input_size": [32, 64]}


def ellipse(height: float, width: float, size: tuple[int, int] = (150, 200), turn: float = 0.0) -> np.ndarray:
    """A mask of an ellipse with these half axes in the middle, turned by an angle in radians."""
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    y, x = ys - size[0] / 2, xs - size[1] / 2
    across, down = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    return np.hypot(down / height, across / width) < 1


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (150, 200)) -> Image.Image:
    return Image.new("RGB", size[::-1], colour)


def test_a_circle_is_symmetric_and_its_border_even() -> None:
    found = measure(flat((100, 70, 40)), ellipse(40, 40), mm_per_px=0.05)
    assert found.asymmetry == pytest.approx(0, abs=0.02)
    assert found.border_irregularity == pytest.approx(1, abs=0.05)
    assert found.diameter_px == pytest.approx(80, abs=2) and found.diameter_mm == pytest.approx(4, abs=0.1)
    assert found.area_fraction == pytest.approx(np.pi * 1600 / 30000, rel=0.01)
    assert measure(flat((0, 0, 0)), ellipse(40, 40)).diameter_mm is None


@settings(max_examples=25, deadline=None)
@given(st.floats(0, np.pi), st.integers(15, 40), st.integers(15, 40))
def test_turning_a_lesion_changes_no_measure(turn: float, height: int, width: int) -> None:
    mask, turned = ellipse(height, width), ellipse(height, width, turn=turn)
    before, after = measure(flat((90, 60, 40)), mask), measure(flat((90, 60, 40)), turned)
    assert before.asymmetry is not None and after.asymmetry is not None
    assert after.asymmetry < 0.06 and before.asymmetry < 0.06
    assert after.border_irregularity == pytest.approx(before.border_irregularity, rel=0.08)
    assert after.diameter_px == pytest.approx(before.diameter_px, abs=3)


def test_a_lopsided_or_ragged_lesion_measures_more() -> None:
    round_one = ellipse(40, 40)
    lopsided = round_one | np.roll(ellipse(18, 18), (28, 40), (0, 1))
    angle = np.arctan2(*(np.mgrid[0:150, 0:200] - np.array([75, 100])[:, None, None]))
    distance = np.hypot(*(np.mgrid[0:150, 0:200] - np.array([75, 100])[:, None, None]))
    star = distance < 40 + 12 * np.sin(9 * angle)
    image = flat((90, 60, 40))
    plain, uneven, ragged = (measure(image, mask) for mask in (round_one, lopsided, star))
    assert uneven.asymmetry > plain.asymmetry + 0.05  # type: ignore[operator]
    assert ragged.border_irregularity > 1.5 * plain.border_irregularity  # type: ignore[operator]


@pytest.mark.parametrize("name", COLOURS)
def test_a_lesion_of_one_of_the_six_colours_has_that_colour(name: str) -> None:
    assert measure(flat(COLOURS[name]), ellipse(30, 40)).colours == [name]


def test_colours_are_named_by_their_share_and_traces_are_not() -> None:
    pixels = np.asarray(flat(COLOURS["dark brown"])).copy()
    pixels[:, 110:] = COLOURS["black"]  # a fifth or so
    pixels[74:76, 99:101] = COLOURS["white"]  # a trace
    assert measure(Image.fromarray(pixels), ellipse(30, 30)).colours == ["dark brown", "black"]


def test_without_a_lesion_there_is_nothing_to_measure() -> None:
    found = measure(flat((200, 150, 140)), np.zeros((150, 200), bool))
    assert (found.area_fraction, found.asymmetry, found.border_irregularity) == (0.0, None, None)
    assert (found.colours, found.diameter_px) == ([], 0.0)
    assert measure(flat((0, 0, 0)), ellipse(1, 1) & ellipse(0.8, 0.8)).diameter_px <= 3  # a speck
    with pytest.raises(ValueError, match="does not fit"):
        measure(flat((0, 0, 0)), np.zeros((10, 10), bool))


def test_the_largest_piece_is_kept_without_holes() -> None:
    mask = ellipse(40, 40) & ~ellipse(10, 10)
    mask[:5, :5] = True
    assert np.array_equal(largest_piece(mask), ellipse(40, 40))
    assert not largest_piece(np.zeros((5, 5), bool)).any()


def test_the_overlay_draws_the_border_and_nothing_else() -> None:
    image, mask = flat((200, 150, 140)), ellipse(40, 40)
    drawn = np.asarray(overlay(image, mask))
    changed = (drawn != np.asarray(image)).any(-1)
    assert changed.any() and not (changed & ~mask).any() and not changed[ellipse(30, 30)].any()
    assert np.array_equal(np.asarray(overlay(image, np.zeros_like(mask))), np.asarray(image))
    assert set(np.unique(np.asarray(mask_image(mask)))) == {0, 255}


def test_a_written_segmenter_loads_and_gives_a_mask_of_the_pictures_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    export(build(CONFIG), tmp_path)
    segmenter = Segmenter.load(tmp_path)
    for size in ((200, 150), (31, 77), (640, 480)):
        mask = segmenter.segment(Image.effect_noise(size, 80).convert("RGB"))
        assert mask.shape == size[::-1] and mask.dtype == bool
    config = json.loads((tmp_path / "config.json").read_text())
    assert (tmp_path / "model.safetensors").stat().st_size < 2_000_000 and config == CONFIG
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsMissing, match="not the one"):
        Segmenter.load(tmp_path)
    (tmp_path / FILES[0]).unlink()
    with pytest.raises(WeightsMissing, match="missing"):
        Segmenter.load(tmp_path)
    with pytest.raises(WeightsMissing, match="no segmenter weights"):
        Segmenter.load(tmp_path / "nowhere")


def test_dice_and_its_loss() -> None:
    a, b = ellipse(40, 40), ellipse(20, 20)
    assert dice(a, a) == 1 and dice(a, ~a) == 0 and dice(a & b & ~b, a & ~a) == 1
    assert dice(a, b) == pytest.approx(2 * b.sum() / (a.sum() + b.sum()))
    truth = torch.from_numpy(a)[None, None].float()
    right, wrong = 20 * (truth - 0.5), -20 * (truth - 0.5)
    assert loss_of(right, truth) < 0.01 < 1 < loss_of(wrong, truth)


def test_augmentation_moves_picture_and_mask_together() -> None:
    mask = ellipse(30, 45)
    pixels = np.where(mask[..., None], 40, 220).astype(np.uint8).repeat(3, -1)
    images, masks = augment(
        np.stack([pixels] * 8), np.stack([mask] * 8), (96, 128), torch.Generator().manual_seed(1)
    )
    assert images.shape == (8, 3, 96, 128) and masks.shape == (8, 1, 96, 128)
    for image, moved in zip(images, masks, strict=True):
        inside, outside = image.mean(0)[moved[0] > 0.9], image.mean(0)[moved[0] < 0.1]
        assert inside.max() < outside.min()


def test_a_few_steps_learn_a_drawn_lesion() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(SMALL).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    mask = torch.from_numpy(ellipse(10, 18, (32, 64)))[None, None].float().repeat(4, 1, 1, 1)
    images = (1 - mask).repeat(1, 3, 1, 1) + 0.1 * torch.rand(4, 3, 32, 64)
    losses = [step(model, optimiser, images, mask) for _ in range(25)]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
