"""The dual encoder: its format, its captions, its training on a handful of drawn pictures, its scores."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
import open_clip
import torch
from PIL import Image

from clarify.apps.cli import run
from clarify.apps.sight import spread_labels
from clarify.errors import WeightsMissing
from clarify.tests.graph.scripted import Facts
from clarify.tools.concepts.concepts import CALIBRATION, Concepts
from clarify.tools.concepts.encoder import FILES, DualEncoder, encode_patches, transform_of
from clarify.tools.concepts.prompts import prompts
from clarify.tools.concepts.signs import signs_of
from clarify.tools.weights import write_manifest
from clarify.training.device import loader
from clarify.training.make import train as training
from clarify.training.make.aspects import Aspects
from clarify.training.make.calibrate import fit, truths
from clarify.training.make.captions import Captioner, person
from clarify.training.make.data import Known, colour_concepts, drawn, shape_concepts
from clarify.training.make.model import begin_small, build, encode_texts
from clarify.training.specialist.data import LABELS

KNOWN = [
    Known(label, {"age": 47.0, "sex": "female", "site": "back"}, {"asymmetry": True, "red": False}, 0.2)
    for label in LABELS
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("make")
    texts = [text for one in Captioner().batch(KNOWN, random.Random(0)) for text in one.texts()]
    begin_small(texts).export(path)
    (path / CALIBRATION).write_text(json.dumps({"red": [0.5, -1.0]}))
    write_manifest(path, [*FILES, CALIBRATION])
    return path


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def test_open_clip_alone_reads_what_was_written(folder, picture):
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    ours = DualEncoder.load(folder)
    with torch.no_grad():
        image = model.eval().encode_image(preprocess(picture)[None], normalize=True).numpy()
        text = model.encode_text(tokenizer(["dermoscopy of a mole"]), normalize=True).numpy()
    assert np.allclose(image, ours.pictures([picture]), atol=1e-5)
    assert np.allclose(text, ours.texts(["dermoscopy of a mole"]), atol=1e-5)


def test_the_encoder_is_small(folder):
    assert (folder / FILES[0]).stat().st_size < 6_000_000


@pytest.mark.parametrize(
    "vision",
    [
        {"layers": 2, "width": 64, "patch_size": 16, "image_size": 64},
        {"timm_model_name": "regnetx_002", "timm_proj": "linear", "image_size": 64},
    ],
)
def test_places_of_every_tower_lie_in_the_space_of_the_texts(vision):
    text = {"width": 64, "heads": 2, "layers": 1, "vocab_size": 100, "context_length": 8}
    model = open_clip.CLIP(32, vision, text).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole, places = encode_patches(model, pixels)
        assert torch.allclose(whole, model.encode_image(pixels, normalize=True), atol=1e-5)
    assert places.shape[0] == 2 and places.shape[2] == 32
    assert torch.allclose(places.norm(dim=-1), torch.ones(places.shape[:2]), atol=1e-5)


def test_cropped_texts_are_encoded_as_whole_ones():
    model, ids = build().eval(), torch.zeros(6, 48, dtype=torch.long)
    for row, length in enumerate((2, 20, 21, 48, 3, 30)):
        ids[row, :length] = torch.randint(1, 1000, (length,))
        ids[row, length - 1] = 1023
    with torch.no_grad():
        assert torch.allclose(model.encode_text(ids, normalize=True), encode_texts(model, ids), atol=1e-5)


def test_a_changed_file_is_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / CALIBRATION).write_text("{}")
    with pytest.raises(WeightsMissing, match="concepts.json"):
        Concepts.load(tmp_path)
    with pytest.raises(WeightsMissing):
        Concepts.load(tmp_path / "nowhere")


def test_hidden_labels_are_told_by_nothing():
    captioner = Captioner(hidden=("df", "vasc"))
    hidden = [captioner.labels[label] for label in ("df", "vasc")]
    telling = [text for label in hidden for text in (*label.names, *label.path[2:])]
    others = {sign for key in LABELS if key not in ("df", "vasc") for sign in captioner.labels[key].signs}
    telling += [sign for label in hidden for sign in label.signs if sign not in others]
    for seed in range(20):
        batch = captioner.batch(KNOWN, random.Random(seed))
        for known, aspects in zip(KNOWN, batch, strict=True):
            if known.label in ("df", "vasc"):
                assert aspects.diagnosis == ""
                said = [*aspects.texts(), *aspects.also]
                assert not [t for t in telling if any(t in text for text in said)]
            else:
                assert aspects.diagnosis


def test_all_that_is_true_of_a_picture_is_known_but_only_some_is_said():
    captioner = Captioner()
    concepts = dict.fromkeys(list(prompts().wordings)[:6], True) | {"red": False}
    known = Known("mel", {"age": 47.0, "site": "back"}, concepts, 0.2)
    (one,) = captioner.batch([known], random.Random(0))
    assert not set(one.also) & set(one.texts())
    signs = captioner.labels["mel"].signs
    true = [*one.sub_captions, *one.also]
    assert sum(any(sign in text for text in true) for sign in signs) == len(signs)
    unknown = len(prompts().wordings) - 7  # nobody said whether they are there
    assert len(true) == len(signs) + 6 + 4 + unknown  # concepts; name, place, person, size
    (other,) = captioner.batch([Known("", {}, concepts, 0.2)], random.Random(0))
    assert len(other.sub_captions) == 7 and len(other.also) == unknown
    reds = prompts().wordings["red"]  # of which it is known that it is not there
    assert not [text for text in (*one.texts(), *one.also) if text.endswith(reds)]


def test_what_is_true_is_known_by_number():
    aspects = [Aspects("a mole", also=("red areas",)), Aspects("a wart", sub_captions=("red areas",))]
    numbers: dict[str, int] = {}
    texts = training.Texts(
        lambda new: torch.tensor([[numbers.setdefault(t, len(numbers) + 1)] for t in new], dtype=torch.long)
    )
    batch = texts.batch(aspects)
    assert batch.also[0, 0] == batch.numbers[1, 3] != batch.numbers[0, 0] and batch.also[1, 0] == -1
    assert batch.ids.shape == (4, 1) and batch.which.shape == batch.mask.shape == (2, 11)


def test_within_a_batch_the_same_is_said_in_the_same_words():
    first, second = Captioner().batch([KNOWN[5], KNOWN[5]], random.Random(1))
    assert (first.diagnosis, first.concepts) == (second.diagnosis, second.concepts)
    assert len({Captioner().batch([KNOWN[5]], random.Random(s))[0].diagnosis for s in range(9)}) > 1


def test_a_patient_is_told_by_decade_and_sex():
    assert person({"age": 47.0, "sex": "female"}) == "woman of 40 to 49 years"
    assert person({"sex": "male"}) == "man" and person({}) == "person"


def test_concepts_between_the_tertiles_are_left_out():
    assert "asymmetry" not in shape_concepts(0.2, 0.07, 1.0)
    assert shape_concepts(0.2, 0.3, 2.0) == {
        "asymmetry": True, "symmetry": False, "irregular border": True, "regular border": False
    }  # fmt: skip
    assert colour_concepts(["red", "white", "black"])["several colours"]
    assert set(prompts().wordings) >= set(shape_concepts(0.2, 0.3, 2.0)) | set(colour_concepts([]))


def test_scores_are_probabilities_and_the_fit_is_used(folder, picture):
    concepts = Concepts.load(folder)
    found = concepts.annotate(picture)
    margin = concepts.margins(concepts.encoder.pictures([picture], turned=True))["red"][0]
    assert set(found) == set(prompts().wordings) and all(0 <= s <= 1 for s in found.values())
    assert found["red"] == pytest.approx(1 / (1 + np.exp(-(0.5 * margin - 1.0))), abs=1e-6)


def test_shares_of_diseases_sum_to_one_and_signs_count(folder, picture):
    concepts = Concepts.load(folder)
    names = {"melanoma": ["melanoma"], "mole": ["mole", "nevus"]}
    plain = concepts.zero_shot(picture, names)
    told = concepts.zero_shot(picture, names, {"mole": ["an even brown colour"]})
    assert sum(plain.values()) == pytest.approx(1) == sum(told.values())
    assert plain["mole"] != told["mole"]


def test_the_fit_parts_pictures_by_a_concept(folder):
    concepts = Concepts.load(folder)
    red = concepts.encoder.texts(["red"])[0]
    noise = np.random.default_rng(0).normal(0, 0.05, (40, 128)).astype(np.float32)
    images = noise + np.where(np.arange(40) % 2, 1.0, -1.0)[:, None].astype(np.float32) * red
    there = [{name: bool(i % 2) for name in prompts().wordings} for i in range(40)]
    known = [Known("", {}, concepts_there, 0.2) for concepts_there in there]
    slope, offset = fit(concepts, images, known)["red"]
    rows, truth = truths(known, "red")
    said = slope * concepts.margins(images)["red"][rows] + offset > 0
    assert len(rows) == 40 and (said == truth).all()
    unrelated = [Known("", {}, {name: i < 20 for name in prompts().wordings}, 0.2) for i in range(40)]
    assert fit(concepts, images, unrelated)["red"] == (0.0, 0.0)  # is never spoken of


def test_rare_classes_come_up_more_often_when_asked():
    labels = np.array(["nv"] * 90 + ["df"] * 10)
    drawn_rows = training.rows_of_epoch(labels, 4000, 0.0, np.random.default_rng(0))
    assert 0.45 < (labels[drawn_rows] == "df").mean() < 0.55
    as_they_are = training.rows_of_epoch(labels, 4000, 1.0, np.random.default_rng(0))
    assert 0.07 < (labels[as_they_are] == "df").mean() < 0.13


def test_further_processes_prepare_the_same_steps(folder):
    small = drawn(12, 4)
    side = training.Made(small, Captioner())
    texts = training.Texts(open_clip.get_tokenizer(f"local-dir:{folder}"))
    rows = np.arange(12).reshape(3, 4)
    made = training.Steps(side, texts, rows, "0/7")
    alone, shared = (list(loader(made, workers)) for workers in (0, 2))
    assert len(alone) == len(shared) == 3
    for (pixels, batch), (same, again), picked in zip(alone, shared, rows, strict=True):
        assert np.array_equal(pixels.numpy(), small.pixels[picked]) and torch.equal(pixels, same)
        assert all(torch.equal(one, other) for one, other in zip(batch, again, strict=True))


def test_training_goes_on_where_it_stopped_and_is_exported(tmp_path, monkeypatch):
    small = drawn(24, 4)
    labelled = training.Pictures(
        small.pixels, small.masks,
        tuple(Known(LABELS[i % 7], {"site": "back"}, k.concepts, k.area) for i, k in enumerate(small.known)),
        small.ids,
    )  # fmt: skip
    monkeypatch.setattr(training, "ham", lambda *_: labelled)
    monkeypatch.setattr(training, "drawn", lambda *_: small)
    args = training.arguments().parse_args(
        ["--data", ".", "--checkpoints", str(tmp_path), "--epochs", "1", "--batch", "24", "--every", "1"]
    )
    training.train(args)
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    args.epochs = 2
    towers = training.train(args)
    second = torch.load(tmp_path / "last.pt", weights_only=True)
    assert (first["epoch"], second["epoch"]) == (1, 2) and second["spent"] > first["spent"]
    towers.export(tmp_path / "out")
    assert DualEncoder.load(tmp_path / "out").pictures([Image.fromarray(small.pixels[0])]).shape == (1, 128)


@pytest.fixture(scope="module")
def seven(folder):
    """A batch: prepared pictures of seven colours, and their texts."""
    batch = training.Texts(open_clip.get_tokenizer(f"local-dir:{folder}")).batch(
        Captioner().batch(KNOWN, random.Random(0))
    )
    pictures = [Image.new("RGB", (20, 20), (40 * i, 90, 200 - 20 * i)) for i in range(7)]
    return torch.stack([transform_of(build())(picture) for picture in pictures]), batch


@pytest.mark.parametrize("row", sorted(training.ROWS))
def test_every_row_of_the_ablation_teaches_both_towers(row, seven):
    torch.manual_seed(1)
    model, parts = build(), training.ROWS[row]
    losses = training.step_loss(model, *seven, parts, 11 if parts.multi_aspect else 1)
    losses.total.backward()
    assert torch.isfinite(losses.total) and bool(losses.local != 0) == (parts.multi_aspect and parts.local)
    for part in (model.visual, model.transformer):
        assert sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0


def test_a_few_steps_bring_pictures_and_texts_together(seven):
    torch.manual_seed(1)
    model = build()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = training.step_loss(model, *seven, training.ROWS["make"]).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (["zero-shot", "a.png", "--label", "mole", "--label", "acne"],) * 2,
        (
            ["zero-shot", "a.png", "--label", "mole", "blue nevus", "--jsonl"],
            ["zero-shot", "a.png", "--label", "mole", "--label", "blue nevus", "--jsonl"],
        ),
        (["zero-shot", "--label", "mole", "--label", "acne", __file__],) * 2,
        (["zero-shot", "a.png", "--label"],) * 2,
    ],
)
def test_labels_may_follow_one_another(said, read):
    assert spread_labels(said) == read


def test_the_command_line_of_training_is_whole():
    assert isinstance(training.arguments(), argparse.ArgumentParser)


@pytest.mark.slow
def test_a_checkpoint_of_the_published_shape_is_read_by_name(picture, tmp_path):
    torch.manual_seed(0)
    published = open_clip.create_model("ViT-B-16", pretrained=None)
    trained = published.state_dict().items()
    state = {f"module.{key}": value for key, value in trained}  # as open_clip's own training writes it
    torch.save({"epoch": 15, "name": "make", "state_dict": state}, tmp_path / "epoch_15.pt")
    encoder = DualEncoder.from_hub("ViT-B-16", str(tmp_path / "epoch_15.pt"))
    whole, places = encoder.pictures([picture]), encoder.patches([picture])
    with torch.no_grad():
        pixels = transform_of(published)(picture)[None]
        assert np.allclose(published.eval().encode_image(pixels, normalize=True).numpy(), whole, atol=1e-5)
    assert whole.shape == (1, 512) and places.shape == (1, 14, 14, 512)
    assert Concepts(encoder).zero_shot(picture, {"melanoma": ["melanoma"], "mole": ["mole"]})


@pytest.fixture
def shipped(folder, monkeypatch):
    """The folder in the place of the shipped weights."""
    monkeypatch.setattr("clarify.tools.concepts.concepts.DEFAULT", folder)
    return folder


def test_concepts_prints_the_fields_of_the_contract(shipped, picture, tmp_path, capsys):
    picture.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert run(["concepts", str(tmp_path), "--jsonl"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert set(first) == {"path", "concepts"} and set(first["concepts"]) == set(prompts().wordings)
    assert set(second) == {"path", "error"}


def test_zero_shot_prints_the_fields_of_the_contract(shipped, picture, tmp_path, capsys):
    picture.save(tmp_path / "a.png")
    arguments = ["zero-shot", str(tmp_path / "a.png"), "--label", "melanoma", "lumpy thing", "--jsonl"]
    assert run([*arguments, "--names-only"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row) == {"path", "probabilities"}
    assert list(row["probabilities"]) == ["melanoma", "lumpy thing"]
    assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_nothing_to_compare_and_no_weights_are_said(shipped, picture, tmp_path, monkeypatch, capsys):
    picture.save(tmp_path / "a.png")
    assert run(["zero-shot", str(tmp_path / "a.png"), "--label", "melanoma"]) == 2
    monkeypatch.setattr("clarify.tools.concepts.concepts.DEFAULT", tmp_path / "gone")
    assert run(["concepts", str(tmp_path / "a.png")]) == 3
    assert "dual encoder" in capsys.readouterr().err


def test_signs_come_from_the_graph_and_an_unknown_disease_has_none():
    found = signs_of(Facts(), {name: [name] for name in ("melanoma", "foobaritis")})
    assert found == {"melanoma": ["an uneven shape with several colours"], "foobaritis": []}
