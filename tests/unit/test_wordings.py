"""The question wordings: enough of each, slots where needed, train and test apart."""

import re
import tomllib
from pathlib import Path

import pytest

from clarify.training.generalist.wording import load_wordings

WORDINGS = Path(__file__).resolve().parents[2] / "training" / "generalist" / "wordings"
INTENTS = (
    "describe",
    "signs",
    "treatment",
    "causes",
    "tests",
    "prognosis",
    "differential",
    "urgency",
)
# Fewest wordings per table, in train and in test.
FLOORS = {
    **{f"named.{intent}": (70, 25) for intent in INTENTS},
    **{f"follow.{intent}": (45, 18) for intent in INTENTS},
    **{f"picture.{intent}": (35, 15) for intent in INTENTS},
    **{f"clause.{intent}": (20, 8) for intent in INTENTS},
    "picture.identify": (90, 35),
    "pair.differential": (60, 25),
    "pair.treatments_shared": (50, 12),
    "pair.treatments_conflict": (50, 12),
    "context.any": (100, 0),  # only training joins a sentence and a question
    "second_picture.identify": (40, 15),
    "named_with_picture.identify": (40, 15),
    "greeting.none": (40, 12),
    "thanks.none": (40, 12),
    "small_talk.none": (50, 12),
    "out_of_field.none": (150, 50),
    "vague.none": (60, 25),
    "caption.any": (15, 5),
    "prefix.any": (40, 12),
    "suffix.any": (30, 10),
}
SPLITS = ("train", "test")
INTENT_WORDS = re.compile(
    r"\b(treat|cur(e|ed|es)\b|therap|medic(ine|ation)|cream|caus|why\b|trigger|contagi|diagnos|test"
    r"|biops|confirm|prognos|outlook|spread|differen|confus|similar|urgen|worr|emergenc|symptom"
    r"|signs?\b|look|defin|expla|descri)",
    re.IGNORECASE,
)


def load(split):
    return {
        f"{family}.{intent}": wordings
        for family, tables in load_wordings(split).items()
        for intent, wordings in tables.items()
    }


def slots(wording):
    return re.findall(r"\{[^}]*\}", wording)


def normal(wording, keep_slots=True):
    if not keep_slots:
        wording = re.sub(r"\{[^}]*\}", " ", wording)
    return " ".join(re.sub(r"[^a-z0-9 ]", " ", wording.lower()).split())


def needed_slots(table):
    family = table.split(".")[0]
    if family in ("named", "named_with_picture"):
        return {"{d}"}
    return {"{d1}", "{d2}"} if family == "pair" else {"{d}"} if family == "context" else set()


@pytest.mark.parametrize("split", SPLITS)
def test_tables_and_counts(split):
    tables = load(split)
    assert set(tables) == {name for name, floors in FLOORS.items() if floors[SPLITS.index(split)]}
    short = {
        name: len(tables[name])
        for name, floors in FLOORS.items()
        if name in tables and len(tables[name]) < floors[SPLITS.index(split)]
    }
    assert not short


@pytest.mark.parametrize("split", SPLITS)
def test_slots_exactly_where_needed(split):
    wrong = [
        (name, wording)
        for name, wordings in load(split).items()
        for wording in wordings
        if set(slots(wording)) != needed_slots(name)
        or len(slots(wording)) != len(needed_slots(name))
        or re.search(r"[{}]", re.sub(r"\{[^}]*\}", "", wording))
    ]
    assert not wrong


@pytest.mark.parametrize("split", SPLITS)
def test_no_duplicates(split):
    for name, wordings in load(split).items():
        forms = [normal(wording) for wording in wordings]
        assert len(forms) == len(set(forms)), name


@pytest.mark.parametrize("split", SPLITS)
def test_no_wording_of_the_first_file_is_in_two_tables(split):
    seen = set()
    tables = tomllib.loads((WORDINGS / f"{split}.toml").read_text(encoding="utf-8"))
    for name, wordings in ((n, t["w"]) for intents in tables.values() for n, t in intents.items()):
        assert not seen & set(wordings), name
        seen |= set(wordings)


@pytest.mark.parametrize("split", SPLITS)
def test_one_wording_has_one_intent_in_its_family(split):
    intent_of = {}
    for name, wordings in load(split).items():
        family, intent = name.split(".")
        for wording in wordings:
            assert intent_of.setdefault((family, normal(wording)), intent) == intent, wording


@pytest.mark.parametrize("split", SPLITS)
def test_plain_text(split):
    for wordings in load(split).values():
        for wording in wordings:
            assert wording.isascii()
            assert wording == " ".join(wording.split())
            assert normal(wording, keep_slots=False) or slots(wording)


@pytest.mark.parametrize("split", SPLITS)
def test_clauses_are_lower_case_and_open_ended(split):
    for name, wordings in load(split).items():
        if name.startswith("clause."):
            for wording in wordings:
                assert wording == wording.lower()
                assert wording[-1].isalnum(), wording


@pytest.mark.parametrize("split", SPLITS)
def test_prefixes_and_suffixes_hold_no_intent_word(split):
    tables = load(split)
    for wording in tables["prefix.any"] + tables["suffix.any"]:
        assert not INTENT_WORDS.search(wording), wording


def test_train_and_test_are_disjoint():
    forms = {
        split: {
            normal(wording, keep_slots=False) for wordings in load(split).values() for wording in wordings
        }
        for split in SPLITS
    }
    assert not forms["train"] & forms["test"]
