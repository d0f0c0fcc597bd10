"""The training table of MAKE and its masks, and the tables of the evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarify.errors import BadInput
from clarify.training.make.aspects import KNOWLEDGE, Aspects
from clarify.training.make.eval_tables import (
    Captioned,
    Labelled,
    read_concepts,
    read_linear_probe,
    read_retrieval,
    read_zero_shot,
)
from clarify.training.make.tables import (
    COLUMNS,
    DERM1M_COLUMNS,
    GUIDE_ORDER,
    Row,
    mask_order,
    parse_mask,
    read_training,
    truncate,
    write_training,
)

IN_TMP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
FEWER = settings(max_examples=30)


# Masks


@FEWER
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.sampled_from(["[%s]", "(%s)", "%s", " [ %s ] "]))
def test_masks_are_read_in_all_their_spellings(mask: list[bool], frame: str) -> None:
    digits = [str(int(on)) for on in mask]
    for joined in (", ".join(digits), ",".join(digits), " ".join(digits)):
        assert parse_mask(frame % joined, len(mask)) == tuple(mask)


@FEWER
@given(st.text(alphabet="01[](), x-.\u0661\n", max_size=12), st.integers(1, 8))
def test_any_other_mask_is_refused(text: str, length: int) -> None:
    try:
        mask = parse_mask(text, length)
    except BadInput as error:
        assert error.hint
    else:
        assert [str(int(on)) for on in mask] == [c for c in text if c.isalnum()] and len(mask) == length


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('x')", "[1, 1, __import__('os').system('x')]", "", "[]", "[1, 1, 0", "1 1 0]",
     "110", "[1,,0]", "[1, 1, 2]", "[1, 1]", "[1, 1, 0, 0]", "[[1, 1, 0]]", "[True, True, False]", "1.0 1 0"],
)  # fmt: skip
def test_masks_are_never_run(text: str) -> None:
    with pytest.raises(BadInput):
        parse_mask(text, 3)


# The training table

TEXT = st.text(max_size=30) | st.sampled_from(
    ['a, "b"\r\nc;\t\'', "\ufeffx", "\r", "\u76ae\u75b9 \U0001f9b6", "[1]", "=1+1"]
)
SAID = TEXT.filter(bool)
ASPECTS = st.builds(
    Aspects, caption=TEXT, diagnosis=TEXT, concepts=TEXT, sub_captions=st.lists(SAID, max_size=8).map(tuple)
)


@IN_TMP
@given(rows=st.lists(st.tuples(ASPECTS, st.tuples(TEXT, TEXT)), max_size=4), data=st.data())
def test_what_is_written_is_read_again(
    tmp_path: Path, rows: list[tuple[Aspects, tuple[str, str]]], data: st.DataObject
) -> None:
    written = [
        Row(
            tmp_path / "pictures" / f"{n}, \u00e4.png",
            aspects,
            dict(zip(("age", 'a,"b'), extra, strict=True)),
        )
        for n, (aspects, extra) in enumerate(rows)
    ]
    table = tmp_path / "train.csv"
    assert write_training(table, iter(written)) == len(rows)
    assert list(read_training(table)) == written
    assert mask_order(table) == KNOWLEDGE and [p.name for p in tmp_path.iterdir()] == ["train.csv"]


def line(tmp_path: Path, *changes: dict[str, str]) -> Path:
    """A table of rows with a diagnosis and no concepts, but for some cells each."""
    table = tmp_path / "train.csv"
    write_training(table, [Row(tmp_path / "a.png", Aspects("Red.", "Diagnosed.", "", ("Red.",)))])
    header, row = table.read_text(encoding="utf-8").splitlines()
    cells = dict(
        zip(COLUMNS, ["a.png", "Red.", "Red.", "", "Diagnosed.", "1", "Red.", *[""] * 7], strict=False)
    )
    cells |= {"sub_caption_mask": "[1, 0, 0, 0, 0, 0, 0, 0]", "knowledge_masks": "[1, 1, 0]"}
    text = [",".join(f'"{value}"' for value in (cells | change).values()) for change in changes]
    assert row.count("[1, 1, 0]") == 1
    table.write_text("\n".join([",".join(COLUMNS), *text]) + "\n", encoding="utf-8")
    return table


def test_the_columns_are_the_published_ones(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    extra = dict.fromkeys(DERM1M_COLUMNS, "No information")
    write_training(table, [Row(Path("/elsewhere/a.png"), Aspects("w " * 100, "d", "", ("x", "y")), extra)])
    header, row = table.read_text(encoding="utf-8").splitlines()
    assert header.split(",") == [*COLUMNS, *DERM1M_COLUMNS]
    assert '"[1, 1, 0, 0, 0, 0, 0, 0]","[1, 1, 0]"' in row and ",2,x,y," in row
    (read,) = read_training(table)
    assert read.filename == Path("/elsewhere/a.png") and read.extra == extra
    assert len(truncate(read.aspects.caption).split()) == 77 and truncate("a  b") == "a  b"


def test_relative_filenames_follow_the_table_or_a_given_folder(tmp_path: Path) -> None:
    table = line(tmp_path, {})
    assert next(read_training(table)).filename == tmp_path / "a.png"
    assert next(read_training(table, Path("/pictures"))).filename == Path("/pictures/a.png")


def test_reading_is_a_stream(tmp_path: Path) -> None:
    rows = read_training(line(tmp_path, {}, {"knowledge_masks": "x"}))
    assert next(rows).aspects == Aspects("Red.", "Diagnosed.", "", ("Red.",))
    with pytest.raises(BadInput, match="row 3: 'x' is no mask"):
        next(rows)


def test_masks_switch_texts_off(tmp_path: Path) -> None:
    table = line(tmp_path, {"knowledge_masks": "1 0 0", "sub_caption_mask": "0 0 0 0 0 0 0 0"})
    assert next(read_training(table)).aspects == Aspects("Red.")


def test_the_order_of_the_masks_is_found_and_a_contradiction_is_named(tmp_path: Path) -> None:
    either = {"visual_concept_caption": "Shows.", "knowledge_masks": "[1, 1, 1]"}
    other = {"knowledge_masks": "[1, 0, 1]"}
    assert mask_order(line(tmp_path, either)) == KNOWLEDGE
    assert mask_order(line(tmp_path, either, {})) == KNOWLEDGE
    table = line(tmp_path, either, other)
    assert mask_order(table) == GUIDE_ORDER
    with pytest.raises(
        BadInput, match=r"row 3: .*\[1, 0, 1\], but visual_concept_caption is empty"
    ) as refused:
        list(read_training(table))
    assert "mask_order" in refused.value.hint
    assert [row.aspects.diagnosis for row in read_training(table, order=GUIDE_ORDER)] == ["Diagnosed."] * 2
    with pytest.raises(BadInput, match="row 3: .*that of row 2 is not"):
        mask_order(line(tmp_path, {}, other))
    with pytest.raises(BadInput, match="row 2: knowledge_masks fits neither"):
        mask_order(line(tmp_path, {"knowledge_masks": "[1, 1, 1]"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knowledge_masks": "[1, 1, 1]"}, "visual_concept_caption is empty"),
        ({"knowledge_masks": "__import__('os').system('x')"}, "is no mask"),
        ({"sub_caption_mask": "[1, 1, 0, 0, 0, 0, 0, 0]"}, "1 for subcaption_2, which is empty"),
        ({"sub_caption_mask": "[1, 0]"}, "has 2 numbers"),
        ({"filename": " "}, "no filename"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=f"row 3: .*{message}") as refused:
        list(read_training(line(tmp_path, {}, change)))
    assert refused.value.hint and refused.value.exit_code == 2


def test_bad_files_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    for content, message in (
        (b"filename,caption\n", "lacks the columns"),
        (b"", "lacks the columns"),
        (b"\xff\xfe", "not UTF-8"),
        ((",".join(COLUMNS) + ",age,age\n").encode(), "two columns age"),
        ((",".join(COLUMNS) + "\na,b\n").encode(), "row 2: 2 cells, the header has 16"),
    ):
        table.write_bytes(content)
        with pytest.raises(BadInput, match=message):
            list(read_training(table))
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_training(tmp_path / "none.csv"))


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    table = line(tmp_path, {})
    before = table.read_bytes()
    row = Row(tmp_path / "a.png", Aspects("Red."))
    for rows in (
        [row, Row(row.filename, row.aspects, {"age": "3"})],
        [Row(row.filename, row.aspects, {"caption": ""})],
    ):
        with pytest.raises(BadInput):
            write_training(table, rows)
        assert table.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# Evaluation tables


def test_zero_shot_tables(tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("filename,label,diag\na.png,3,acne\n/b.png,0,\n", encoding="utf-8")
    assert read_zero_shot(table) == (Labelled(tmp_path / "a.png", 3, "acne"), Labelled(Path("/b.png"), 0))
    table.write_text("label,image_path\n1,a.png\nacne,b.png\n", encoding="utf-8")
    with pytest.raises(BadInput, match="row 3: the label is 'acne'"):
        read_zero_shot(table)
    table.write_text("picture,label\n", encoding="utf-8")
    with pytest.raises(BadInput, match="no column filename or image_path"):
        read_zero_shot(table)


def test_linear_probe_tables(tmp_path: Path) -> None:
    table = tmp_path / "probe.csv"
    table.write_text("image_path,diag,split,label\na.png,acne,Valid,2\n", encoding="utf-8")
    assert read_linear_probe(table, Path("/p")) == (Labelled(Path("/p/a.png"), 2, "acne", "val"),)
    table.write_text("image_path,diag,split,label\na.png,acne,later,2\n", encoding="utf-8")
    with pytest.raises(BadInput, match="row 2: the split is 'later'"):
        read_linear_probe(table)


def test_retrieval_tables(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text(
        "filename,caption,caption_zh_polish_en\na.png,raw,Polished.\nb.png,raw,\n", encoding="utf-8"
    )
    assert read_retrieval(table, "caption")[0] == Captioned(tmp_path / "a.png", "raw")
    with pytest.raises(BadInput, match="row 3: caption_zh_polish_en is empty"):
        read_retrieval(table)
    with pytest.raises(BadInput, match="lacks the columns title"):
        read_retrieval(table, "title")


def concept_set(folder: Path, meta: str, concepts: str, synonyms: object) -> Path:
    (folder / "meta.csv").write_text(meta, encoding="utf-8")
    (folder / "concept_list.txt").write_text(concepts, encoding="utf-8")
    (folder / "terms.json").write_text(json.dumps(synonyms), encoding="utf-8")
    return folder / "terms.json"


SYNONYMS = {"scale": ["flakes"], "brown(pigment)": ["brown", "tan"], "spare": ["x"]}


def test_concepts_are_matched_by_name(tmp_path: Path) -> None:
    header = "Other,Scale,ImageID,Brown(Pigment),Do not consider this image"
    meta = f"{header}\n9,0,a.jpg,1,0\n9,1,b.jpg,0,0\n9,1,c.jpg,0,1\n"
    found = read_concepts(tmp_path, concept_set(tmp_path, meta, "Brown(Pigment)\n\nScale\n", SYNONYMS))
    assert found.concepts == ("Brown(Pigment)", "Scale")
    assert found.synonyms == {"Brown(Pigment)": ("brown", "tan"), "Scale": ("flakes",)}
    assert found.filenames == (tmp_path / "final_images" / "a.jpg", tmp_path / "final_images" / "b.jpg")
    assert found.present == ((True, False), (False, True))


@pytest.mark.parametrize(
    ("meta", "concepts", "synonyms", "message"),
    [
        ("ImageID,Scale,Crust\na,0,1\n", "Scale\nCrust\n", SYNONYMS, "no wordings of the concept 'Crust'"),
        ("ImageID,Scale\na,0\n", "Scale\n", {"scale": []}, "no wordings of the concept 'Scale'"),
        ("ImageID,Crust\na,0\n", "Scale\n", SYNONYMS, "no column for the concept 'Scale'"),
        ("ImageID,Scale\na,0\nb,maybe\n", "Scale\n", SYNONYMS, "row 3: Scale is 'maybe'"),
        ("ImageID,Scale,scale\na,0,1\n", "Scale\n", SYNONYMS, "two columns 'Scale'"),
        ("Image,Scale\na,0\n", "Scale\n", SYNONYMS, "lacks the columns ImageID"),
        ("ImageID,Scale\na,0\n", "\n", SYNONYMS, "lists no concepts"),
        ("ImageID,Scale\na,0\n", "Scale\nscale\n", SYNONYMS, "twice"),
        ("ImageID,Scale\na,0\n", "Scale\n", ["scale"], "no JSON object"),
    ],
)  # fmt: skip
def test_bad_concept_sets_are_refused(
    tmp_path: Path, meta: str, concepts: str, synonyms: object, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        read_concepts(tmp_path, concept_set(tmp_path, meta, concepts, synonyms))
    assert refused.value.hint
