import argparse
import json
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from clarify.errors import BadInput
from clarify.hashing import file_sha256
from clarify.tools.specialist import load_network
from clarify.training.specialist import train as training
from clarify.training.specialist.calibrate import composites, mild, negatives, wash
from clarify.training.specialist.data import Split, affine, augment, erase, resize
from clarify.training.specialist.export import write_network
from clarify.training.specialist.lessons import Pupil, Taught, Teacher, Teachers, targets
from clarify.training.specialist.train import (
    one_cycle,
    parameter_groups,
    step_loss,
    take_step,
    update_ema,
)


def test_one_cycle_rises_to_its_peak_and_falls_to_nearly_nothing():
    rates = [one_cycle(p / 200, 3e-3) for p in range(201)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(3e-3, rel=1e-3)
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert one_cycle(1.4, 3e-3) == rates[-1] < 1e-5


def _still(angle=0.0, scale=1.0, flip=1.0):
    picture = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    one = torch.ones(1)
    return picture, affine(picture, one * angle, one * scale, one * flip, torch.zeros(1, 2), (30, 40))


def test_affine_does_nothing_when_told_so():
    picture, out = _still()
    assert torch.allclose(picture, out, atol=1e-4)


def test_affine_flips_and_turns_like_the_real_thing():
    picture, flipped = _still(flip=-1.0)
    assert torch.allclose(picture.flip(3), flipped, atol=1e-4)
    picture, turned = _still(angle=math.pi)
    assert torch.allclose(picture.flip(2, 3), turned, atol=1e-3)


def test_augmentation_is_seeded_and_stays_in_range():
    pixels = np.random.default_rng(0).integers(0, 255, (4, 150, 200, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels)
    masks = torch.zeros(4, 1, 150, 200, dtype=torch.bool)
    masks[..., :75, :] = True
    (first, moved), (again, _) = (
        augment(tensor, masks, (24, 32), torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, again) and moved.shape == (4, 1, 24, 32) and 0.2 < float(moved.mean()) < 0.8
    assert first.shape == (4, 3, 24, 32) and 0 <= float(first.min()) and float(first.max()) <= 1
    assert resize(pixels, (24, 32)).shape == first.shape


def test_a_small_network_learns_from_a_step():
    torch.manual_seed(0)
    network = timm.create_model("resnet18", channels=[4, 4, 8, 8], num_classes=7)
    wanted = targets(eight(), eight_masks(), 0.05)
    pupil = Pupil(network, wanted.site.shape[1])
    optimiser = torch.optim.AdamW(parameter_groups(pupil, 0.05), lr=0.01)
    args = argparse.Namespace(mixup=0.2, colour=1.0, mask=0.3, patient=0.05)
    generator, pixels, losses = torch.Generator().manual_seed(0), torch.from_numpy(eight().images), []
    for _ in range(40):
        loss = step_loss(pupil, pixels, wanted, (32, 40), args, generator)
        take_step(pupil, optimiser, loss)
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def eight() -> Split:
    pixels = np.zeros((8, 30, 40, 3), np.uint8)
    pixels[4:, ..., 0] = 255
    known = ({"age": 34.0, "site": "back"}, {}) * 4
    return Split(pixels, np.array([0] * 4 + [1] * 4), tuple("abcdefgh"), known)


def eight_masks() -> np.ndarray:
    masks = np.zeros((8, 30, 40), bool)
    masks[:, 10:20, 10:30] = True
    return masks


def test_labels_are_smoothed_and_unknown_patients_are_not_learnt():
    wanted = targets(eight(), eight_masks(), 0.07)
    assert torch.allclose(wanted.kind.sum(1), torch.ones(8))
    assert wanted.kind[0, 0] == pytest.approx(0.93 + 0.01)
    assert wanted.decade[0, 3] == 1 and wanted.decade[1].sum() == 0 == wanted.site[1].sum()
    half = wanted.rows(torch.arange(8)).mixed(0.5)
    assert torch.allclose(half.kind[0], half.kind[7]) and half.decade[0, 3] == 0.5


def test_the_pupil_is_the_network_that_is_shipped():
    """The heads are beside it: its own forward gives the same logits."""
    torch.manual_seed(0)
    network = timm.create_model("resnet18", channels=[4, 4, 8, 8], num_classes=7).eval()
    images = torch.rand(2, 3, 32, 40)
    pupil = Pupil(network, 3).eval()
    kind, lesion, decade, site = pupil(images)
    assert torch.allclose(kind, network(images), atol=1e-5)
    assert (lesion.shape, decade.shape, site.shape) == ((2, 1, 2, 3), (2, 9), (2, 3))


def test_ema_moves_towards_the_model():
    old, new = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.9 * old.weight.detach().clone() + 0.1 * new.weight.detach()
    update_ema(old, new, 0.9)
    assert torch.allclose(old.weight, expected)


def test_negatives_are_drawn_from_every_family_and_recoloured():
    rng = np.random.default_rng(0)
    dermoscopy = rng.integers(100, 200, (6, 60, 80, 3), dtype=np.uint8)
    assert composites(dermoscopy, 2, rng).shape == (2, 60, 80, 3)
    assert len(negatives(dermoscopy, 1, 0)) == 12 + 3 + 2
    green = np.full((60, 80, 3), (20, 220, 20), np.uint8)
    washed = [wash(green, dermoscopy[0], rng) for _ in range(20)]
    assert any(not np.array_equal(out, green) for out in washed) and any(
        np.array_equal(out, green) for out in washed
    )


def test_mild_changes_keep_the_size():
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8))
    assert {mild(picture, np.random.default_rng(k)).size for k in range(6)} == {(80, 60)}


def test_erasing_hides_one_rectangle_in_the_mean_colour():
    pictures = torch.rand(16, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    erased = erase(pictures, torch.Generator().manual_seed(1), chance=1.0)
    for before, after in zip(pictures, erased, strict=True):
        hidden = (before != after).any(0)
        rows, columns = hidden.any(1).nonzero(), hidden.any(0).nonzero()
        assert hidden.sum() == len(rows) * len(columns)
        assert 0.01 < float(hidden.float().mean()) < 0.2
        assert torch.allclose(after[:, hidden], before.mean((1, 2))[:, None], atol=1e-5)
    assert torch.equal(erase(pictures, torch.Generator().manual_seed(1), chance=0.0), pictures)


def test_teachers_say_their_mean_and_weigh_as_they_are_told():
    torch.manual_seed(0)
    networks = [timm.create_model("resnet18", channels=[4, 4, 8, 8], num_classes=7) for _ in range(2)]
    images = torch.rand(8, 3, 32, 40)
    taught = Teachers([Teacher(network, (32, 40)) for network in networks], 0.7).judge(images)
    assert not any(network.training for network in networks)
    both = torch.stack([network(images).softmax(1) for network in networks]).mean(0)
    assert torch.allclose(taught.shares, both, atol=1e-5) and not taught.shares.requires_grad
    wanted = targets(eight(), eight_masks(), 0.0)
    pupil = Pupil(timm.create_model("resnet18", channels=[4, 4, 8, 8], num_classes=7), 1).eval()
    label, shares = (pupil.loss(images, wanted, 0, 0, Taught(both, weight)) for weight in (0.0, 1.0))
    assert torch.allclose(pupil.loss(images, wanted, 0, 0), label)
    assert torch.allclose(pupil.loss(images, wanted, 0, 0, taught), 0.3 * label + 0.7 * shares)


def run_of(tmp_path, *more):
    args = training.arguments().parse_args(["--data", ".", "--out", str(tmp_path), *more])
    return training.Run(args, 2, torch.device("cpu"))


def test_a_run_goes_on_with_all_it_had(tmp_path):
    torch.manual_seed(3)
    first = run_of(tmp_path)
    images = torch.rand(2, 3, 32, 40)
    first.learnt(first.pupil(images)[0].square().mean(), 0.1)
    first.epoch, first.spent = 4, 9.5
    first.save()
    drawn = torch.rand(3), torch.rand(3, generator=first.generator)
    second = run_of(tmp_path)
    assert (second.epoch, second.step, second.spent) == (4, 1, 9.5)
    assert torch.equal(drawn[0], torch.rand(3))
    assert torch.equal(drawn[1], torch.rand(3, generator=second.generator))
    for part in ("pupil", "ema"):
        old, new = getattr(first, part).state_dict(), getattr(second, part).state_dict()
        assert all(torch.equal(value, new[name]) for name, value in old.items())
    assert any(
        not torch.equal(a, b) for a, b in zip(first.ema.parameters(), first.model.parameters(), strict=True)
    )
    with pytest.raises(BadInput, match="colour"):
        run_of(tmp_path, "--colour", "1.4")


def test_a_finished_run_teaches_and_is_exported(tmp_path):
    teacher = run_of(tmp_path / "made", "--network", "teacher", "--height", "32", "--width", "40")
    (tmp_path / "made").mkdir()
    teacher.save()
    images = torch.rand(2, 3, 32, 40)
    taught = training.load_teachers([tmp_path / "made" / "last.pt"], 0.5, torch.device("cpu")).judge(images)
    with torch.no_grad():
        assert torch.allclose(taught.shares, teacher.ema(images).softmax(1), atol=1e-5)
    write_network(tmp_path / "made" / "last.pt", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    (tmp_path / "other").mkdir()
    for file in (tmp_path / "out").iterdir():
        (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    config["pretrained_cfg"]["label_names"].reverse()
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="other labels"):
        training.load_teachers([tmp_path / "other"], 0.5, torch.device("cpu"))
    exported = training.load_teachers([tmp_path / "out"], 0.5, torch.device("cpu")).judge(images)
    assert torch.allclose(exported.shares, taught.shares, atol=0.02)
    network, transform = load_network(tmp_path / "out")
    assert transform(Image.new("RGB", (200, 150))).shape == (3, 32, 40)
    with torch.no_grad():  # half precision
        assert torch.allclose(network(images), teacher.ema(images), atol=0.02)
    pupil = run_of(tmp_path / "pupil", "--teachers", str(tmp_path / "made" / "last.pt"))
    assert pupil.settings["teachers"] == [file_sha256(tmp_path / "made" / "last.pt")]


def test_a_teacher_sees_pictures_at_its_own_size():
    images = torch.zeros(1, 3, 32, 40)
    images[..., 16:, :] = 1

    class Looks(torch.nn.Module):
        def forward(self, seen):
            assert seen.shape[-2:] == (16, 20)
            return torch.stack([seen[:, 0, 0, 0], seen[:, 0, -1, -1]], 1)

    shares = Teachers([Teacher(Looks(), (16, 20))], 1.0).judge(images).shares
    assert torch.allclose(shares, torch.tensor([[0.0, 1.0]]).softmax(1), atol=1e-4)
