"""The stages of nano's training: what each reads, what it moves, and that one goes on from the other."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("tokenizers")

import clarify
from clarify.errors import BadInput
from clarify.graph_schema.protocol import FactRow, SourceRef
from clarify.training.generalist import export as exporting
from clarify.training.generalist import train as training
from clarify.training.generalist import vision
from clarify.training.generalist.alone import ASKED, Alone, shipped_facts
from clarify.training.generalist.export import load_full
from clarify.training.generalist.pictures import PictureBank
from clarify.training.generalist.stages import STAGES, Source

WEIGHTS = Path(clarify.__file__).parent / "weights" / "nano"


@pytest.fixture(scope="module")
def bank():
    """Lesions are dark in the middle, documents striped; the encoder tells them apart and nothing else."""
    rng = np.random.default_rng(0)
    kinds = np.array(["lesion", "skin_other", "not_skin"] * 40)
    pixels = rng.integers(150, 170, (120, 3, 64, 64)).astype(np.uint8)
    pixels[kinds == "lesion", :, 20:44, 20:44] = 60
    pixels[kinds == "not_skin", :, ::4] = 250
    seen = np.eye(3, 8)[[["lesion", "skin_other", "not_skin"].index(kind) for kind in kinds]]
    seen = (seen + 0.05 * rng.normal(size=seen.shape)).astype(np.float16)
    what = np.array([{"lesion": "melanoma", "skin_other": "face", "not_skin": "document"}[k] for k in kinds])
    splits = np.array(["train"] * 90 + ["test"] * 30)
    return PictureBank(pixels, kinds, splits, np.full((120, 1), np.nan, np.float32), ["melanoma"], what, seen)


@pytest.fixture(scope="module")
def pictures(bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "pictures.npz"
    bank.save(path)
    return path


def made(stage, bank, split="train"):
    maker = STAGES[stage].reads(Source(None, bank, split))
    return [maker.make(random.Random(seed)) for seed in range(120)]


def test_alignment_reads_captions_that_say_what_the_picture_shows(bank):
    for split in ("train", "test"):
        kinds = Counter()
        for user, answer in made("align", bank, split):
            ((_, index),) = user.images
            assert bank.split[index] == split and not answer.calls
            assert answer.target and answer.text.endswith(f"{bank.what[index]}.")
            kinds[bank.kind[index]] += 1
        assert set(kinds) == {"lesion", "skin_other", "not_skin"}


def test_instruction_knows_no_specialist_and_experts_bring_it(bank):
    calls = {
        stage: Counter(call.name for messages in made(stage, bank) for m in messages for call in m.calls)
        for stage in ("instruct", "experts")
    }
    assert set(calls["instruct"]) == {"query_knowledge"}
    assert calls["experts"]["classify_lesion"] > 12 and calls["experts"]["query_knowledge"] > 12
    captions = sum(messages[0].kind == "caption" for messages in made("instruct", bank))
    assert 8 < captions < 45
    assert not any(messages[0].kind == "caption" for messages in made("instruct", None))


def test_cka_is_one_of_turned_and_stretched_vectors_and_near_none_of_others():
    torch.manual_seed(0)
    a = torch.randn(400, 6)
    turn, _ = torch.linalg.qr(torch.randn(6, 6))
    assert float(vision.cka(a, 3 * a @ turn + 5)) == pytest.approx(1, abs=1e-5)
    assert float(vision.cka(a, torch.randn(400, 6))) < 0.1
    x, y = (v - v.mean(0) for v in (a, a.square()[:, :3]))
    kernels = [v @ v.T for v in (x, y)]  # the definition: n x n kernels, Kornblith et al., equation 3
    wanted = (kernels[0] * kernels[1]).sum() / (kernels[0].norm() * kernels[1].norm())
    assert float(vision.cka(a, a.square()[:, :3])) == pytest.approx(float(wanted), rel=1e-4)


def test_a_tower_learns_which_pictures_are_alike_and_goes_on_where_it_stopped(pictures, bank, tmp_path):
    args = vision.arguments().parse_args(
        ["--pictures", str(pictures), "--out", str(tmp_path / "a"), "--steps", "25", "--batch", "48"]
        + ["--threads", "1", "--minutes", "60", "--lr", "1e-2"]
    )
    torch.manual_seed(0)
    before = vision.nearest_right(vision.new_tower(), bank, torch.device("cpu"))
    vision.train(args)
    tower = vision.new_tower()
    tower.load_state_dict(load_file(tmp_path / "a" / "tower.safetensors"))
    after = vision.nearest_right(tower, bank, torch.device("cpu"))
    assert 1 - after["cka"] < 0.7 * (1 - before["cka"])
    args.steps = 26
    vision.train(args)
    assert torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)["step"] == 26
    args.batch = 47
    with pytest.raises(BadInput, match="another batch"):
        vision.train(args)


def test_a_bank_of_an_older_version_is_refused(pictures, tmp_path):
    with np.load(pictures) as held:
        np.savez(tmp_path / "old.npz", **{k: held[k] for k in held if k not in ("what", "seen")})
    with pytest.raises(BadInput, match="what"):
        PictureBank.load(tmp_path / "old.npz")


def run(out, *options):
    args = training.arguments().parse_args(
        ["--data", "none", "--out", str(out), "--tokens", "1500", "--steps", "2", "--layers", "2"]
        + ["--threads", "1", "--minutes", "10", "--vocab", "600", "--lr", "1e-2", *map(str, options)]
    )
    args.data = None
    training.train(args)
    return torch.load(out / "checkpoint.pt", weights_only=True)["model"]


def test_each_stage_goes_on_from_the_one_before_and_alignment_leaves_the_tower_alone(pictures, tmp_path):
    from safetensors.torch import save_file

    tower = vision.new_tower()
    save_file(tower.state_dict(), tmp_path / "tower.safetensors")
    seen = ("--pictures", pictures)
    aligned = run(tmp_path / "align", "--stage", "align", "--tower", tmp_path / "tower.safetensors", *seen)
    kept = {k: v for k, v in aligned.items() if "vision_model." in k}
    assert kept and all(
        torch.equal(v, tower.state_dict()[k.split("vision_model.")[1]]) for k, v in kept.items()
    )
    told = run(tmp_path / "instruct", "--stage", "instruct", "--weights", tmp_path / "align", *seen)
    near = [float((told[k] - aligned[k]).abs().max()) for k in aligned]
    assert 0 < max(near) < 0.5  # two steps away, not begun anew
    final = run(tmp_path / "experts", "--weights", tmp_path / "instruct", *seen)
    assert any(not torch.equal(final[k], told[k]) for k in final if "vision_model." in k)
    same = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("align", "instruct", "experts")]
    assert len(set(same)) == 1
    for name, others in (("instruct", ()), ("experts", (tmp_path / "instruct" / "full",))):
        exporting.export(tmp_path / name, tmp_path / "out", others=others)
    stored = [load_full(tmp_path / name).state_dict() for name in ("instruct/full", "experts/full")]
    mean = load_full(tmp_path / "experts" / "mean").state_dict()
    for key, value in mean.items():
        assert torch.allclose(value, (stored[0][key] + stored[1][key]) / 2, rtol=1e-2, atol=1e-6)
    with pytest.raises(BadInput, match="different shapes"):
        exporting.average([tmp_path / "experts" / "full", WEIGHTS], tmp_path / "none")
    with pytest.raises(BadInput, match="another stage"):
        run(tmp_path / "instruct", "--stage", "experts", "--weights", tmp_path / "align", *seen)
    with pytest.raises(BadInput, match="captions of pictures"):
        run(tmp_path / "none", "--stage", "align")


def test_who_answers_alone_names_the_true_label_or_the_specialists_and_recites_the_graph(bank):
    row = FactRow(
        fact_id="mel-treat-1", statement="s", source=SourceRef(id="x", title="x"),
        subject="melanoma", predicate="first-line treatment", object="excision",
    )  # fmt: skip
    facts = {name: dict.fromkeys(ASKED, [row]) for name in ("melanoma", "nevus")}
    judged = np.where(np.arange(120)[:, None] % 2, np.nan, [[0.2, 0.8]]).astype(np.float32)
    seen_by = replace(bank, probabilities=judged, names=["melanoma", "nevus"])
    told = 0
    for seed in range(80):
        user, *between, answer = Alone("train", seen_by, facts).make(random.Random(seed))
        ((_, index),) = user.images
        first, *rest = answer.text.split("\n")
        assert seen_by.split[index] == "train" and "[" not in answer.text
        assert rest[-1] == "The first treatment of melanoma is excision."
        if between:
            told += 1
            assert not any(message.target for message in between)
            assert "The picture fits nevus best, at 80 %" in first
        else:
            assert first == "The picture fits melanoma best."
    assert 20 < told < 60


def test_the_shipped_facts_are_those_the_agent_is_given():
    facts = shipped_facts(["melanoma", "benign keratosis"])
    assert {row.fact_id for row in facts["melanoma"]["treatment"]} >= {"mel-treat-1"}
    assert all(len(rows) <= 6 for queries in facts.values() for rows in queries.values())
