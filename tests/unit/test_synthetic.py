import numpy as np
import pytest

from clarify.training.specialist.scenes import HELD_BACK, LEARNT, draw_many
from clarify.training.synthetic import (
    COLOURS,
    STRUCTURES,
    LesionSpec,
    draw_lesion,
    fold_asymmetry,
    random_spec,
)

SIZE = (120, 160)


def test_same_seed_same_picture_other_seed_other_picture():
    spec = LesionSpec(structures=("network", "hair"))
    first, again, other = (draw_lesion(spec, seed, SIZE) for seed in (3, 3, 4))
    assert first.picture.tobytes() == again.picture.tobytes()
    assert np.array_equal(first.mask, again.mask)
    assert first.picture.tobytes() != other.picture.tobytes()


def test_mask_is_where_the_pigment_is():
    spec = LesionSpec(colours=("dark brown",), contrast=1.0, sharpness=0.9, skin="fair")
    drawn = draw_lesion(spec, 1, SIZE)
    grey = np.asarray(drawn.picture.convert("L"), np.float32)
    inside, outside = grey[drawn.mask > 0].mean(), grey[drawn.mask == 0].mean()
    assert inside < outside - 60
    assert drawn.area_fraction == pytest.approx((drawn.mask > 0).mean())


def test_radius_sets_the_area():
    areas = [
        draw_lesion(LesionSpec(radius=r, border_irregularity=0), 5, SIZE).area_fraction
        for r in (0.15, 0.25, 0.35)
    ]
    assert areas == sorted(areas)
    expected = np.pi * 0.25**2 * SIZE[0] / SIZE[1]
    assert areas[1] == pytest.approx(expected, rel=0.2)


def test_asymmetry_and_irregularity_are_measurable():
    def mean(figure, **change):
        spec = LesionSpec(**{"border_irregularity": 0.0, "asymmetry": 0.0, **change})
        return np.mean([getattr(draw_lesion(spec, seed, SIZE), figure) for seed in range(6)])

    assert mean("measured_asymmetry", asymmetry=1.0) > mean("measured_asymmetry") + 0.03
    assert mean("compactness", border_irregularity=1.0) < mean("compactness") - 0.1


def test_fold_asymmetry_of_a_disc_is_small_and_of_a_half_disc_is_not():
    ys, xs = np.mgrid[-50:51, -50:51]
    disc = np.hypot(ys, xs) < 40
    wedge = disc & (xs > 0) & (ys > -10)
    assert fold_asymmetry(disc) < 0.03
    assert fold_asymmetry(wedge) > 0.12


def test_regions_name_what_was_asked_for():
    spec = LesionSpec(colours=("light brown", "blue-grey"), structures=STRUCTURES, radius=0.3)
    drawn = draw_lesion(spec, 2, SIZE)
    assert set(drawn.regions) == {"light brown", "blue-grey", *STRUCTURES}
    assert all(region.shape == SIZE for region in drawn.regions.values())
    assert drawn.regions["network"].any() and drawn.regions["hair"].any()


def test_random_specs_are_drawable_and_valid():
    rng = np.random.default_rng(0)
    for seed in range(5):
        spec = random_spec(rng)
        assert set(spec.colours) <= set(COLOURS)
        assert draw_lesion(spec, seed, SIZE).picture.size == (160, 120)


def test_every_scene_draws_and_held_back_families_are_not_learnt():
    assert not set(LEARNT) & set(HELD_BACK)
    for name, pictures in draw_many(LEARNT | HELD_BACK, 2, 0, SIZE).items():
        assert pictures.shape == (2, *SIZE, 3), name
        assert not np.array_equal(pictures[0], pictures[1]) or name == "plain", name
