"""Whatever stands in for the specialist behaves like this: the shipped weights, and a small random one."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from clarify.agent.context import Context
from clarify.errors import WeightsMissing
from clarify.tools.scope import describe
from clarify.tools.skin_tone import OUTSIDE
from clarify.tools.specialist import DEFAULT, FILES, Classification, Specialist
from clarify.training.specialist.calibrate import fit_patient, fit_probabilities, fit_refinement, fit_scope
from clarify.training.specialist.export import Reader, write_manifest
from clarify.training.specialist.scenes import LEARNT, draw_many
from clarify.training.synthetic import draw_lesion, random_spec

LESIONS = [draw_lesion(random_spec(np.random.default_rng(k)), k, (90, 120)).picture for k in range(24)]


def small_model(folder):
    """A random network of another architecture with three classes: nothing of it is the shipped one's."""
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_small_050", num_classes=3).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    config = {
        "architecture": "mobilenetv3_small_050", "num_classes": 3,
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3,
                           "interpolation": "bicubic", "crop_pct": 0.9},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    labels = {
        f"kind-{k}": {"name": f"kind {k}", "curie": f"DOID:{k}", "curies": [f"DOID:{k}", f"MONDO:{k}"]}
        for k in range(3)
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    reader = Reader(folder)
    logits = np.stack([reader.logits(image, False) for image in LESIONS])
    labels = np.arange(24) % 3
    fitted = fit_probabilities(logits, logits, labels, np.zeros(3))
    people = [{"age": 20.0 + 25 * label, "sex": "female", "site": "back"} for label in labels]
    fitted |= fit_refinement(fit_patient(people, labels, 3), fitted, (logits, logits), people, labels)
    (folder / "calibration.json").write_text(json.dumps(fitted))
    others = [Image.fromarray(p) for ps in draw_many(LEARNT, 2, 0, (90, 120)).values() for p in ps]
    inside = reader.features(LESIONS)
    fit_scope(inside, reader.features(others), inside, 8).save(folder / "scope.safetensors")
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module", params=["shipped", "random small timm model"])
def expert(request, small):
    return Specialist.load(None if request.param == "shipped" else small)


def in_scope(expert):
    for image in LESIONS:
        found = expert.classify(image)
        if found.in_scope:
            return image, found
    pytest.fail("no drawn lesion is in scope")


def test_every_label_has_a_name_and_curies(expert):
    for label in expert.labels:
        assert expert.names[label]
        assert expert.curies[label] and all(":" in curie for curie in expert.curies[label])
    assert len(expert.sha256) == 64


@pytest.mark.parametrize("look", ["classify", "second_look"])
def test_a_lesion_gets_a_calibrated_label(expert, look):
    image, _ = in_scope(expert)
    found = getattr(expert, look)(image)
    assert isinstance(found, Classification) and found.in_scope
    assert set(found.probabilities) == set(expert.labels)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.label == max(found.probabilities, key=found.probabilities.get) == found.prediction_set[0]
    assert found.confidence == found.probabilities[found.label]
    assert found.curies == expert.curies[found.label] and found.curie == found.curies[0]


@pytest.mark.parametrize("look", ["classify", "second_look"])
def test_what_is_known_of_the_patient_refines_and_the_unknown_changes_nothing(expert, look):
    image, _ = in_scope(expert)
    plain = getattr(expert, look)(image)
    for nothing in ({}, {"site": "hip"}, {"age": -1, "sex": "?", "bleeds": True}):
        assert expert.known(nothing) == {} and getattr(expert, look)(image, nothing) == plain
    people = [{"age": age, "sex": sex, "site": site} for age in (20, 80) for sex in ("female", "male")
              for site in ("back", "face")]  # fmt: skip
    refined = [getattr(expert, look)(image, person) for person in people]
    for person, found in zip(people, refined, strict=True):
        assert found.refined_by == expert.known(person)
        assert sum(found.probabilities.values()) == pytest.approx(1)
        assert found.prediction_set[0] == found.label
    moved = [found for found in refined if found.refined_by]
    assert all(found.probabilities != plain.probabilities for found in moved)


def test_the_shipped_one_knows_age_sex_and_site():
    expert = Specialist.load()
    assert expert.known({"age": 70, "sex": "male", "site": "left cheek"}) == {
        "age": 70.0, "sex": "male", "site": "face",
    }  # fmt: skip
    image = next(image for image in LESIONS if expert.classify(image).in_scope)
    young, old = (expert.classify(image, {"age": age}).probabilities["nv"] for age in (15, 85))
    assert young > old
    assert len(expert.fitted.conformal) == len(expert.fitted.refined_conformal) == 7


def test_another_kind_of_picture_never_reaches_a_label(expert):
    refused = 0
    for pictures in draw_many(
        {k: LEARNT[k] for k in ("document", "landscape", "noise", "pattern")}, 3, 5
    ).values():
        for pixels in pictures:
            found = expert.classify(Image.fromarray(pixels))
            if not found.in_scope:
                refused += 1
                assert (found.label, found.curie, found.confidence) == (None, None, 0.0)
                assert (found.curies, found.probabilities, found.prediction_set) == ([], {}, [])
    assert refused >= 8


def test_a_mirror_image_is_the_same_case(expert):
    image, found = in_scope(expert)
    mirrored = expert.classify(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    if mirrored.in_scope:
        for label in expert.labels:
            assert mirrored.probabilities[label] == pytest.approx(found.probabilities[label], abs=0.02)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (900, 40), (1600, 1200)])
def test_any_size_is_answered(expert, size):
    found = expert.classify(LESIONS[0].resize(size))
    assert 0 <= found.scope_score <= 1


def test_same_picture_same_answer_also_from_threads(expert):
    image, found = in_scope(expert)
    with ThreadPoolExecutor(4) as pool:
        assert all(again == found for again in pool.map(lambda _: expert.classify(image), range(8)))


def test_the_answer_is_plain_json(expert):
    _, found = in_scope(expert)
    assert Classification.model_validate_json(found.model_dump_json()) == found
    assert json.loads(json.dumps(found.model_dump()))["label"] == found.label


def test_features_of_scope_fit_the_head(expert):
    logits, features = expert.logits_and_features([LESIONS[0]])
    assert logits.shape == (1, len(expert.labels))
    assert features.shape[1] + len(describe(LESIONS[0])) == len(expert.scope.mean)


@pytest.mark.parametrize("name", FILES)
def test_changed_or_missing_weights_are_refused(tmp_path, small, name):
    folder = tmp_path / "weights"
    shutil.copytree(small, folder)
    path = folder / name
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    path.write_bytes(bytes(spoilt))
    with pytest.raises(WeightsMissing, match=name):
        Specialist.load(folder)
    path.unlink()
    with pytest.raises(WeightsMissing, match=name):
        Specialist.load(folder)


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(WeightsMissing) as caught:
        Specialist.load(tmp_path)
    assert caught.value.hint and caught.value.exit_code == 3


def test_the_examples_are_what_they_are_named():
    expert, folder = Specialist.load(), DEFAULT.parent.parent / "examples"
    found = {
        name: expert.classify(Image.open(folder / f"{name}.png").convert("RGB"))
        for name in ("sure", "unsure", "out_of_scope", "rash_photo")
    }
    assert found["sure"].in_scope and found["sure"].confidence >= Context().confidence_threshold
    assert found["unsure"].in_scope and 0.35 <= found["unsure"].confidence <= 0.7
    assert not found["out_of_scope"].in_scope and not found["rash_photo"].in_scope


def test_shipped_files_are_small_and_name_their_licence():
    assert sum(path.stat().st_size for path in DEFAULT.iterdir()) < 9_500_000
    assert (DEFAULT / "model.safetensors").stat().st_size <= 9_000_000
    card = (DEFAULT / "MODEL_CARD.md").read_text()
    assert "cc-by-nc-4.0" in card and Specialist.load().sha256 in card


def test_skin_darker_than_any_that_was_learnt_from_is_said():
    expert = Specialist.load()
    low, high = expert.fitted.skin_tone
    assert -60 < low < 30 < high
    image = next(image for image in LESIONS if expert.classify(image).skin_tone is not None)
    dark = Image.fromarray((np.asarray(image) * np.array([0.30, 0.22, 0.15])).astype(np.uint8))
    assert OUTSIDE not in expert.classify(image).quality
    found = expert.classify(dark)
    assert found.skin_tone < low and OUTSIDE in found.quality
