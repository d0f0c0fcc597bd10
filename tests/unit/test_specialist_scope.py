import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from clarify.tools.image_quality import quality
from clarify.tools.scope import ScopeHead, describe
from clarify.tools.specialist import lesion_box, second_views, upright, views
from clarify.training.specialist.calibrate import fit_scope
from clarify.training.synthetic import LesionSpec, draw_lesion

PICTURE = draw_lesion(LesionSpec(structures=("network",), contrast=1.0), 0, (225, 300)).picture


def test_description_has_one_length_and_no_holes():
    odd = [
        Image.new("RGB", (1, 1)),
        Image.new("RGB", (3, 500), "red"),
        PICTURE,
        PICTURE.rotate(90, expand=True),
    ]
    rows = [describe(image) for image in odd]
    assert {row.shape for row in rows} == {(70,)}
    assert all(np.isfinite(row).all() for row in rows)


def test_description_is_deterministic():
    assert np.array_equal(describe(PICTURE), describe(PICTURE))


def _head():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, (400, 12)), rng.normal(0, 1, (300, 12))
    outside[:, 0] += 6
    held = rng.normal(0, 1, (300, 12))
    return fit_scope(inside.astype(np.float32), outside.astype(np.float32), held.astype(np.float32), 6), rng


def test_scope_keeps_its_kind_and_refuses_the_learnt_and_the_never_seen():
    head, rng = _head()
    own = head.score(rng.normal(0, 1, (1000, 12)))
    learnt = rng.normal(0, 1, (200, 12))
    learnt[:, 0] += 6
    unseen = rng.normal(0, 8, (200, 12))
    assert (own >= head.threshold).mean() > 0.93
    assert (head.score(learnt) < head.threshold).mean() > 0.95
    assert (head.score(unseen) < head.threshold).mean() > 0.95
    assert ((own >= 0) & (own <= 1)).all()


def test_scope_head_survives_the_disk(tmp_path):
    head, rng = _head()
    head.save(tmp_path / "scope.safetensors")
    rows = rng.normal(0, 1, (50, 12))
    assert np.allclose(
        ScopeHead.load(tmp_path / "scope.safetensors").score(rows), head.score(rows), atol=0.02
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: ImageEnhance.Brightness(image).enhance(0.15), "too dark"),
        (lambda image: Image.new("RGB", image.size, "white"), "too bright"),
        (lambda image: image.filter(ImageFilter.GaussianBlur(8)), "blurred"),
        (lambda image: Image.new("RGB", image.size, (150, 110, 110)), "too little contrast"),
        (lambda image: image.resize((80, 60)), "too small"),
    ],
)
def test_quality_says_what_is_wrong(change, reason):
    assert reason not in quality(PICTURE)
    assert reason in quality(change(PICTURE))


def test_a_good_picture_has_no_complaints():
    assert quality(PICTURE) == []


def test_views_are_an_upright_rgb_and_its_mirror_image():
    tall = PICTURE.rotate(90, expand=True).convert("L")
    seen = views(tall)
    assert [image.mode for image in seen] == ["RGB"] * 2
    assert all(image.width >= image.height for image in seen)
    assert seen[0].tobytes() == upright(tall).tobytes()
    assert ImageOps.mirror(seen[1]).tobytes() == seen[0].tobytes() != seen[1].tobytes()
    assert len(second_views(tall)) == 4


def test_lesion_box_frames_the_lesion():
    plain = np.full((150, 200, 3), (215, 170, 170), np.uint8)
    plain[40:70, 30:70] = (90, 50, 40)
    left, top, right, bottom = lesion_box(Image.fromarray(plain))
    assert left <= 30 and top <= 40 and right >= 70 and bottom >= 70
    assert (right - left) / (bottom - top) == pytest.approx(200 / 150, rel=0.05)
    assert (right - left) * (bottom - top) < 0.6 * 150 * 200


def test_lesion_box_of_a_flat_picture_is_the_whole_frame():
    assert lesion_box(Image.new("RGB", (200, 150), "pink")) == (0, 0, 200, 150)
