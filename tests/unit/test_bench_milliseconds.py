"""Every millisecond is booked once, on the innermost part, and all of them are drawn."""

import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

from clarify.bench import milliseconds
from clarify.bench.milliseconds import (
    PARTS,
    PREFILL,
    REST,
    SPECIALIST,
    Spent,
    Stopwatch,
    figure,
    measure,
    show,
    watched,
)
from clarify.bench.staircase_systems import Said
from clarify.tools.specialist import Specialist


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves on, in seconds."""
    now = SimpleNamespace(at=0.0)
    monkeypatch.setattr(milliseconds.time, "process_time", lambda: now.at)

    def work(seconds, then=lambda: None):
        def run():
            now.at += seconds
            then()
            now.at += seconds

        return run

    return work


def test_a_part_within_another_is_taken_off_it(clock):
    watch = Stopwatch()
    inner = watch.timed("inner", clock(2))
    outer = watch.timed("outer", clock(1, then=inner))
    clock(0.5, then=outer)()
    watch.lap()
    assert watch.ms == pytest.approx({"inner": 4000, "outer": 2000, REST: 1000})


def test_what_a_prefill_calls_is_prefill(clock):
    watch = Stopwatch()
    watch.timed(PREFILL, clock(1, then=watch.timed("passes", clock(2))))()
    assert watch.ms == pytest.approx({PREFILL: 6000, REST: 0})


def test_a_part_that_fails_ends_all_the_same(clock):
    def fail():
        raise ValueError

    watch = Stopwatch()
    with pytest.raises(ValueError):
        watch.timed("broken", clock(1, then=fail))()
    clock(3)()
    watch.lap()
    assert watch.ms == pytest.approx({"broken": 1000, REST: 6000})


def test_the_functions_are_timed_within_and_as_they_were_after():
    before = Specialist.classify
    with watched() as watch:
        assert Specialist.classify is not before
        with pytest.raises(AttributeError):
            Specialist.classify(None, None)
    assert Specialist.classify is before
    assert watch.ms[SPECIALIST] > 0


def test_a_system_is_measured_after_a_first_answer(clock, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(Specialist, "classify", lambda self: clock(0.01)())

    def system(case):
        asked.append(case)
        Specialist.classify(None)
        clock(0.04)()
        return Said("melanoma", ["One sign is growth.", "It may itch."], None)

    found = measure(system, ["a", "b"])
    assert asked == ["a", "a", "b"]
    assert found.parts == pytest.approx({SPECIALIST: 20, REST: 80})
    assert (found.ms, found.words) == (pytest.approx([100, 100]), [7, 7])
    show({"alone": found, "other": Spent({REST: 50.0}, [40.0, 60.0], [14, 14])})
    said = capsys.readouterr().out
    assert "| specialist | 20 (20%) |  |" in said and "| all | 100 | 50 |" in said
    assert "other: a word takes 0.25 x [0.20, 0.30] of what it takes alone" in said


def test_a_bar_is_as_long_as_its_parts():
    found = {
        "a<b": Spent({SPECIALIST: 30.0, REST: 70.0}, [100.0], [5]),
        "c": Spent({REST: 50.0}, [50.0], [1]),
    }
    sheet = ET.fromstring(figure(found))
    space = "{http://www.w3.org/2000/svg}"
    bars = [r for r in sheet.iter(f"{space}rect") if r.get("height") == "34"]
    wide = [float(r.get("width")) for r in bars]
    assert len(bars) == 2 * (len(PARTS) + 1)
    assert sum(wide[: len(PARTS) + 1]) == pytest.approx(560, abs=0.5)
    assert sum(wide[len(PARTS) + 1 :]) == pytest.approx(280, abs=0.5)
    assert "100 ms" in {t.text for t in sheet.iter(f"{space}text")}
