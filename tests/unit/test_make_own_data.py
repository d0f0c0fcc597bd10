"""MAKE on pictures and captions of one's own: a table is made, trained on, and the encoder evaluated."""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.distributed as dist
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from PIL import Image

from clarify.apps.cli import run
from clarify.bench import make_tables
from clarify.errors import BadInput
from clarify.tools.concepts.concepts import Concepts
from clarify.tools.concepts.encoder import DualEncoder
from clarify.training.make import prepare, train
from clarify.training.make.decompose import RuleDecomposer
from clarify.training.make.decompose_llm import LLMDecomposer
from clarify.training.make.eval_tables import Labelled
from clarify.training.make.model import begin_named
from clarify.training.make.ontology import Ontology
from clarify.training.make.sides import Tabled, open_picture
from clarify.training.make.tables import read_training

COLOURS = {"psoriasis": (200, 60, 60), "melanoma": (40, 20, 20)}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, of each of two diseases six, of two sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(12):
        colour = list(COLOURS.values())[number % 2]
        size = (90, 70) if number < 6 else (60, 80)
        pixels = np.clip(rng.normal(colour, 12, (*size, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def diagnosis(number: int) -> str:
    return list(COLOURS)[number % 2]


@pytest.fixture(scope="module")
def table(pictures: Path) -> Path:
    """What `prepare` makes of captions."""
    rows: list[dict[str, object]] = [
        {
            "filename": f"{n}.png",
            "caption": f"A plaque of {diagnosis(n)}. No scale is seen. It is red.",
            "age": 40 + n,
        }
        for n in range(12)
    ]
    write(pictures / "captions.csv", rows)
    (pictures / "groups.json").write_text(json.dumps({"inflammatory": ["psoriasis"], "tumour": ["melanoma"]}))
    command = ["captions.csv", "train.csv", "--ontology", "groups.json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pictures)
        patch.setattr("sys.argv", ["prepare", *command])
        prepare.main()
    return pictures / "train.csv"


def test_captions_become_a_training_table(table: Path) -> None:
    first = next(iter(read_training(table)))
    assert first.filename == table.parent / "0.png" and first.extra == {"age": "40"}
    assert first.aspects.diagnosis.endswith("inflammatory, psoriasis")
    assert "erythema" in first.aspects.concepts and "scale" not in first.aspects.concepts
    assert len(first.aspects.sub_captions) == 3


def trained(table: Path, folder: Path, *more: str) -> Path:
    arguments = [
        "train",
        "--table",
        str(table),
        "--checkpoints",
        str(folder / "run"),
        "--out",
        str(folder / "out"),
    ]
    arguments += ["--epochs", "1", "--batch", "6", "--size", "64", "64", *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", arguments)
        train.main()
    return folder / "out"


@pytest.fixture(scope="module")
def weights(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(table, tmp_path_factory.mktemp("own"))


def test_a_table_is_trained_on_and_the_encoder_loads(weights: Path) -> None:
    encoder = DualEncoder.load(weights)
    assert encoder.texts(["psoriasis"]).shape == (1, 128)


def test_training_goes_on_from_a_folder_with_its_own_tokens(
    weights: Path, table: Path, tmp_path: Path
) -> None:
    again = trained(table, tmp_path, "--model", f"local-dir:{weights}")
    assert (again / "tokenizer.json").read_text() == (weights / "tokenizer.json").read_text()
    before, after = (DualEncoder.load(folder).texts(["psoriasis"]) for folder in (weights, again))
    assert not np.allclose(before, after) and float((before * after).sum()) > 0.5


def options(table: Path, folder: Path, *more: str) -> argparse.Namespace:
    words = ["--table", str(table), "--checkpoints", str(folder), "--batch", "3", "--size", "64", "64"]
    return train.arguments().parse_args([*words, "--threads", "1", "--epochs", "2", *more])


def states_differ(one: Path, other: Path, *, but: str = " ") -> list[str]:
    a, b = (torch.load(folder / "last.pt", weights_only=True)["model"] for folder in (one, other))
    return [name for name in a if not torch.equal(a[name], b[name]) and but not in name]


def test_a_stopped_training_ends_like_one_that_was_not_stopped(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train(options(table, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(train, "print", lambda *_, **__: 1 / 0, raising=False)  # after the first checkpoint
        with pytest.raises(ZeroDivisionError):
            train.train(options(table, tmp_path / "halves"))
    first = torch.load(tmp_path / "halves" / "last.pt", weights_only=True)
    assert first["epoch"] == 1 and states_differ(tmp_path / "whole", tmp_path / "halves")
    train.train(options(table, tmp_path / "halves"))
    assert not states_differ(tmp_path / "whole", tmp_path / "halves")
    before = (tmp_path / "halves" / "last.pt").read_bytes()
    train.train(options(table, tmp_path / "halves"))  # there is nothing left to do
    assert (tmp_path / "halves" / "last.pt").read_bytes() == before


def test_a_checkpoint_of_other_texts_is_refused(table: Path, tmp_path: Path) -> None:
    train.train(options(table, tmp_path, "--epochs", "1"))
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save({**saved, "tokens": "others"}, tmp_path / "last.pt")
    with pytest.raises(BadInput, match="other texts"):
        train.train(options(table, tmp_path))


def _one_of_two(rank: int, table: Path, folder: Path) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    # The clock leads the learning rate, and the clocks of the two differ.
    towers = train.train(options(table, folder / "run", "--epochs", "50", "--minutes", "0.03"))
    torch.save({"model": towers.model.state_dict()}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_end_with_the_same_weights(table: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_one_of_two, args=(rank, table, tmp_path)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    one, other = (torch.load(tmp_path / f"{rank}.pt")["model"] for rank in range(2))
    apart = [name for name in one if not torch.equal(one[name], other[name])]
    assert all("running_" in name for name in apart)  # what each saw of its own pictures


def test_an_architecture_of_open_clip_is_trained_and_loads_by_name(table: Path, tmp_path: Path) -> None:
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-vit.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-vit.json")
    out = trained(table, tmp_path, "--model", "tiny-vit")
    model = open_clip.create_model(f"local-dir:{out}")
    assert model.visual.image_size == (32, 32)
    assert np.allclose(  # the folder is known by its manifest, without a tokenizer of its own
        DualEncoder.load(out).texts(["a mole"]), DualEncoder.from_hub(f"local-dir:{out}").texts(["a mole"])
    )
    found = Concepts.open(str(out)).encoder.pictures([Image.new("RGB", (40, 30))])
    assert found.shape == (1, 32) and np.isfinite(found).all()
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    name = "visual.conv1.weight"
    assert torch.allclose(model.state_dict()[name], saved[name], atol=1e-3)


def test_what_cannot_be_trained_on_is_said(table: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no architecture 'no-such'"):
        begin_named("no-such")
    with pytest.raises(BadInput, match="make no batch"):
        trained(table, tmp_path, "--batch", "64")
    with pytest.raises(BadInput, match="no rows"):
        Tabled([], (8, 8))
    rows = [replace(row, filename=Path("gone.png")) for row in read_training(table)]
    with pytest.raises(BadInput, match="12 pictures of the table are missing"):
        Tabled(rows, (8, 8))
    with pytest.raises(BadInput, match="its activation is another"):
        begin_named("ViT-B-16", "openai")
    with pytest.raises(BadInput, match="cannot make"):
        begin_named("ViT-B-16", "no-such-tag")
    (tmp_path / "a.png").write_bytes(b"no picture")
    for name in ("a.png", "gone.png"):
        with pytest.raises(BadInput, match=name):
            open_picture(tmp_path / name)


def test_pictures_of_a_table_are_upright_and_of_one_size(table: Path) -> None:
    side = Tabled(list(read_training(table)), (40, 50))
    assert side.pixels([0, 11, 3]).shape == (3, 40, 50, 3)
    assert [a.caption for a in side.aspects([3, 0], None)] == [  # type: ignore[arg-type]
        next(r.aspects.caption for i, r in enumerate(read_training(table)) if i == n) for n in (3, 0)
    ]


def evaluated(weights: Path, *more: str, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["make_tables", "--weights", str(weights), *more])
        make_tables.main()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_the_published_tables_are_evaluated(
    weights: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = [{"filename": f"{n}.png", "label": n % 2, "diag": diagnosis(n)} for n in range(12)]
    splits = [
        {**row, "image_path": row["filename"], "split": "test" if n < 4 else "train"}
        for n, row in enumerate(classes)
    ]
    captions = [{"filename": f"{n}.png", "caption": f"{diagnosis(n)} number {n}"} for n in range(12)]
    concept = pictures / "skincon"
    (concept / "final_images").mkdir(parents=True)
    for n in range(12):
        (concept / "final_images" / f"{n}.png").write_bytes((pictures / f"{n}.png").read_bytes())
    (concept / "concept_list.txt").write_text("Plaque\nScale\n")
    write(
        concept / "meta.csv",
        [{"ImageID": f"{n}.png", "Plaque": n % 2, "Scale": int(n < 6)} for n in range(12)],
    )
    (pictures / "synonyms.json").write_text(json.dumps({"Plaque": ["plaque"], "Scale": ["scale", "flakes"]}))
    found = evaluated(
        weights,
        "--zero-shot", str(write(pictures / "classes.csv", classes)),
        "--probe", str(write(pictures / "probe.csv", splits)),
        "--retrieval", str(write(pictures / "pairs.csv", captions)),
        "--concepts", str(concept), "--synonyms", str(pictures / "synonyms.json"), "--fewest", "2",
        capsys=capsys,
    )  # fmt: skip
    assert found["classes: accuracy"][1] == "12"  # all pictures, not the first batch
    assert 0 <= float(found["classes: accuracy"][0].split()[0]) <= 1
    assert found["pairs: picture to text R@10"][1] == "12" and found["probe: accuracy"][1] == "4"
    assert {"skincon: Plaque", "skincon: Scale", "skincon: mean"} <= set(found)


def test_an_encoder_that_sees_colours_scores_better_than_one_that_does_not(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol, held by an encoder whose answers are known."""

    class Knows:
        sha256 = ""

        def pictures(self, images: list[Image.Image]) -> np.ndarray:
            return np.array([[1.0, 0.0] if np.asarray(i).mean() > 60 else [0.0, 1.0] for i in images])

        def texts(self, texts: list[str]) -> np.ndarray:
            return np.array([[1.0, 0.0] if "psoriasis" in text else [0.0, 1.0] for text in texts])

    monkeypatch.setattr(DualEncoder, "load", classmethod(lambda cls, folder: Knows()))
    classes = [{"filename": f"{n}.png", "label": n % 2, "diag": diagnosis(n)} for n in range(12)]
    file = write(pictures / "known.csv", classes)
    found = evaluated(Path("any"), "--zero-shot", str(file), capsys=capsys)
    assert found["known: accuracy"][0].startswith("1.000") and found["known: AUC"][0].startswith("1.000")
    wrong = [{**row, "label": 1 - int(str(row["label"])), "diag": ""} for row in classes]
    names = pictures / "names.txt"
    names.write_text("psoriasis\nmelanoma\n")
    names.write_text("\ufeffpsoriasis\nmelanoma\nscabies\n", encoding="utf-8")  # a class that no picture has
    command = ["--zero-shot", str(write(pictures / "wrong.csv", wrong)), "--classes", str(names)]
    assert evaluated(Path("any"), *command, capsys=capsys)["wrong: accuracy"][0].startswith("0.000")


def test_an_encoder_is_named_by_a_setting(
    weights: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLARIFY_ENCODER", f"local-dir:{weights}")
    words = [
        "zero-shot",
        str(pictures / "0.png"),
        "--label",
        "psoriasis",
        "melanoma",
        "--names-only",
        "--jsonl",
    ]
    assert run(words) == 0 and set(json.loads(capsys.readouterr().out)["probabilities"]) == set(COLOURS)
    assert Concepts.open(f"local-dir:{weights}").annotate(Image.new("RGB", (9, 9)))
    monkeypatch.setenv("CLARIFY_ENCODER", "no-such-model")
    assert run(words) == 3 and "no-such-model" in capsys.readouterr().err


def test_classes_without_names_are_said() -> None:
    with pytest.raises(BadInput, match="which class is which"):
        make_tables.class_names([Labelled(Path("a"), 0)], None)
    with pytest.raises(BadInput, match="two names"):
        make_tables.class_names([Labelled(Path("a"), 0, "mole"), Labelled(Path("b"), 0, "wart")], None)
    gap = [Labelled(Path("a"), 4, "mole"), Labelled(Path("b"), 1, "wart"), Labelled(Path("c"), 4)]
    assert make_tables.class_names(gap, None) == {1: "wart", 4: "mole"}


def test_a_table_written_elsewhere_finds_its_pictures(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "groups.json").write_text(json.dumps({"tumour": ["melanoma"]}))
    write(tmp_path / "captions.csv", [{"filename": str(pictures / "0.png"), "caption": "A melanoma."}])
    (tmp_path / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr("sys.argv", ["prepare", "captions.csv", "out/train.csv", "--ontology", "groups.json"])
        prepare.main()
    (row,) = read_training(tmp_path / "out" / "train.csv")
    assert row.filename.is_file() and row.aspects.diagnosis.endswith("tumour, melanoma")


def test_an_answer_that_cannot_be_read_is_replaced_by_rules_and_counted() -> None:
    ontology = Ontology.from_json({"tumour": ["melanoma"]})
    answers = iter(["no JSON", '{"disease": "melanoma", "concepts": {}}'])
    model = GenericFakeChatModel(messages=(AIMessage(answer) for answer in answers))
    careful = prepare.Careful(LLMDecomposer(model, ontology), RuleDecomposer(ontology))
    first, second = careful.decompose("A melanoma."), careful.decompose("A melanoma.")
    assert first.diagnosis == second.diagnosis != "" and len(careful.unread) == 1
