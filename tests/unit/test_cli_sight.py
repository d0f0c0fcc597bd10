"""`classify` and the reading of picture files, over a specialist that only counts."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clarify.apps import cli
from clarify.apps.pictures import load, walk
from clarify.errors import BadImage, BadInput
from clarify.tools import segmenter, specialist
from clarify.tools.specialist import Classification

FIELDS = "path label curie confidence probabilities prediction_set in_scope scope_score quality".split()


def save(path: Path, mode: str = "RGB", **options: Any) -> Path:
    Image.new(mode, (40, 30), 0 if mode in {"P", "1"} else None).save(path, **options)
    return path


def bomb(path: Path) -> Path:
    """A PNG of a few bytes whose header says 20,000 x 10,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    return path


def cut(path: Path) -> Path:
    save(path, format="JPEG", quality=95)
    noisy = Image.effect_noise((300, 200), 90).convert("RGB")
    noisy.save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-4000])
    return path


def text(path: Path) -> Path:
    path.write_text("this is no picture")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Replaces the specialist; returns the sizes of what it was shown."""
    seen: list[tuple[int, int]] = []

    class Counting:
        names = {"mel": "melanoma", "nv": "melanocytic nevus"}

        @classmethod
        def load(cls, folder: Path | None = None) -> Counting:
            return cls()

        def classify(self, image: Image.Image, patient: dict[str, Any]) -> Classification:
            assert image.mode == "RGB"
            seen.append(image.size)
            return Classification(
                label="mel", curie="DOID:1909", curies=["DOID:1909"], confidence=0.7,
                probabilities={"mel": 0.7, "nv": 0.3}, prediction_set=["mel", "nv"], in_scope=True,
                scope_score=0.9, quality=["blurred"], refined_by={k: patient[k] for k in patient},
            )  # fmt: skip

    monkeypatch.setattr(specialist, "Specialist", Counting)
    return seen


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (lambda p: p, "none.png", "does not exist"),
        (empty, "empty.png", "empty"),
        (text, "text.png", "not a picture"),
        (cut, "cut.jpg", "cut short"),
        (bomb, "bomb.png", "64 megapixels"),
        (lambda p: p.mkdir() or p, "folder.png", "is a folder"),
        (pipe, "pipe.png", "is not a file"),
        (lambda p: Path(f"{p}\0"), "", "NUL"),
    ],
)
def test_a_bad_file_is_one_clear_line(make: Any, name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadImage) as caught:
        load(make(tmp_path / name))
    line = caught.value.line()
    assert said in line and name in line and "\n" not in line and caught.value.exit_code == 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_usual_kind_is_read(mode: str, tmp_path: Path) -> None:
    path = save(tmp_path / "picture.xyz", mode, format="TIFF" if mode == "CMYK" else "PNG")
    data, image = load(path)
    assert data == path.read_bytes() and image.mode == "RGB" and image.size == (40, 30)


def test_classify_gives_the_fields_of_the_contract(
    counting: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert cli.run(["classify", "./a.png", "--jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row) == FIELDS and row["path"] == "./a.png"
    assert (row["label"], row["curie"], row["probabilities"]) == ("mel", "DOID:1909", {"mel": 0.7, "nv": 0.3})


def test_classify_says_what_of_the_patient_it_used(
    counting: list[tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--age", "67", "--site", "left forearm"]
    assert cli.run(["classify", str(save(tmp_path / "a.png")), "--jsonl", *told]) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row) == [*FIELDS, "refined_by"] and row["refined_by"] == {"age": 67, "site": "left forearm"}
    assert cli.run(["classify", str(save(tmp_path / "a.png")), "--site", "hip"]) == 2
    assert "hip" in capsys.readouterr().err


def test_a_folder_is_walked_and_a_bad_file_does_not_stop_it(
    counting: list[tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").touch()
    save(tmp_path / "a.png"), text(tmp_path / "b.png"), save(tmp_path / "sub" / "c.jpg")
    assert cli.run(["classify", str(tmp_path), "--jsonl"]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [os.path.relpath(row["path"], tmp_path) for row in rows] == [
        "a.png",
        "b.png",
        os.path.join("sub", "c.jpg"),
    ]
    assert [("error" in row) for row in rows] == [False, True, False] and list(rows[1]) == ["path", "error"]
    assert "b.png" in err and len(counting) == 2


def test_only_bad_input_exits_2_and_still_gives_its_line(
    counting: list[tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["classify", str(tmp_path / "none.png"), "--jsonl"]) == 2
    out, err = capsys.readouterr()
    assert "does not exist" in json.loads(out)["error"] and err.count("\n") == 1 and counting == []


def test_for_people_it_is_a_line_a_picture(
    counting: list[tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.png")
    assert cli.run(["classify", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "melanoma 70 %" in out and "shortlist melanoma, melanocytic nevus" in out and "blurred" in out


def test_an_empty_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file"):
        list(walk([str(tmp_path)]))


MEASURES = "path mask area_fraction asymmetry border_irregularity colours diameter_px".split()


@pytest.fixture
def marking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the segmenter by one that marks a square of ten pixels, or nothing on a small picture."""

    class Marking:
        @classmethod
        def load(cls, folder: Path | None = None) -> Marking:
            return cls()

        def segment(self, image: Image.Image) -> np.ndarray:
            mask = np.zeros((image.height, image.width), bool)
            mask[5:15, 5:15] = image.width > 20
            return mask

    monkeypatch.setattr(segmenter, "Segmenter", Marking)


def test_segment_gives_the_fields_of_the_contract_and_writes_what_it_marked(
    marking: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert cli.run(["segment", "./a.png", "--out", "found", "--jsonl", "--mm-per-px", "0.1"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row)[: len(MEASURES)] == MEASURES and row["path"] == "./a.png"
    with Image.open(row["mask"]) as mask:
        assert mask.size == (40, 30) and np.asarray(mask).astype(bool).sum() == 100
    assert (tmp_path / "found" / "a_overlay.png").is_file()
    assert row["area_fraction"] == pytest.approx(100 / 1200) and row["colours"] == ["black"]
    assert row["diameter_mm"] == pytest.approx(row["diameter_px"] / 10)


def test_segment_walks_folders_keeps_every_mask_and_reads_none_of_its_own(
    marking: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    save(tmp_path / "a.png"), save(tmp_path / "sub" / "a.png"), text(tmp_path / "b.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "sub" / "small.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli.run(["segment", ".", "--jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 8 and sum("error" in row for row in rows) == 2
    masks = [row["mask"] for row in rows if "mask" in row]
    assert len(set(masks)) == 6 and all(Path(mask).is_file() for mask in masks)
    small = next(row for row in rows if row["path"].endswith("small.png"))
    assert (small["area_fraction"], small["asymmetry"], small["colours"]) == (0.0, None, [])
    assert cli.run(["segment", "sub"]) == 0
    out = capsys.readouterr().out
    assert "no lesion found" in out and "8 % of the picture" in out and "black" in out
    assert cli.run(["segment", "none.png"]) == 2
