"""Hair, lesions cut off by the frame, and where the specialist looked."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from clarify.tools.image_quality import cut_off, hair, quality, small_grey
from clarify.tools.specialist import Specialist, upright
from clarify.tools.where import heat_picture, where
from clarify.training.synthetic import draw_lesion, random_spec

PICTURE = draw_lesion(random_spec(np.random.default_rng(5)), 5, (150, 200)).picture


def hairy(image, count=14):
    rng, image = np.random.default_rng(0), image.copy()
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        start, end = rng.uniform(0, 200, 2), rng.uniform(0, 200, 2)
        pen.line([(start[0], 0), (end[0], 150)], fill=(40, 25, 20), width=2)
        pen.line([(0, start[1] * 0.75), (200, end[1] * 0.75)], fill=(40, 25, 20), width=1)
    return image


def test_hair_is_said_and_a_lesion_or_a_dark_corner_is_none():
    assert "hair" in quality(hairy(PICTURE)) and "hair" not in quality(PICTURE)
    assert hair(np.asarray(small_grey(hairy(PICTURE))) / 255) > 5 * hair(
        np.asarray(small_grey(PICTURE)) / 255
    )
    round_field = np.asarray(PICTURE).copy()
    ys, xs = np.mgrid[0:150, 0:200]
    round_field[np.hypot(ys - 75, xs - 100) > 74] = 0
    assert "hair" not in quality(Image.fromarray(round_field))


def test_hair_that_grows_any_way_is_found():
    counts = [hair(np.asarray(small_grey(hairy(PICTURE).rotate(turn))) / 255) for turn in (0, 90, 180)]
    assert min(counts) > 0.03


@pytest.mark.parametrize(("left", "cut"), [(60, False), (-20, True), (-45, True)])
def test_a_lesion_is_cut_off_when_the_frame_is_part_of_its_outline(left, cut):
    ys, xs = np.mgrid[0:150, 0:200]
    mask = np.hypot(ys - 75, xs - left - 40) < 45
    assert cut_off(mask) == (["lesion cut off"] if cut else [])


def test_no_lesion_is_not_cut_off():
    assert cut_off(np.zeros((10, 10), bool)) == [] and cut_off(np.ones((10, 10), bool)) == ["lesion cut off"]


def test_only_a_second_look_says_that_the_lesion_is_cut_off():
    expert = Specialist.load(outline=lambda image: np.ones((image.height, image.width), bool))
    assert "lesion cut off" not in expert.classify(PICTURE).quality
    again = expert.second_look(PICTURE)
    assert ("lesion cut off" in again.quality) == again.in_scope


def test_where_it_looked_turns_with_the_picture_and_moves_with_the_label():
    expert = Specialist.load()
    heat = where(expert, PICTURE)
    assert heat.shape == (150, 200) and heat.min() >= 0 and heat.max() == pytest.approx(1)
    mirrored = where(expert, PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert np.abs(mirrored[:, ::-1] - heat).max() < 0.02
    others = [where(expert, PICTURE, label) for label in expert.labels]
    assert any(np.abs(other - heat).max() > 0.3 for other in others)
    tall = PICTURE.transpose(Image.Transpose.ROTATE_90)
    assert where(expert, tall).shape == (upright(tall).height, upright(tall).width) == (150, 200)
    assert heat_picture(PICTURE, heat).size == PICTURE.size
    with pytest.raises(ValueError, match="no label"):
        where(expert, PICTURE, "acne")
