"""Experts beside the specialist: called by rule or generalist, cited, remembered, added in one file."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from PIL import Image

from clarify.agent.deps import Env, default_deps
from clarify.agent.nodes.use_tools import _remembered
from clarify.agent.prompts import system_prompt
from clarify.agent.runtime import Session
from clarify.errors import BadInput, WeightsMissing
from clarify.settings import Settings
from clarify.tests.graph.conftest import picture
from clarify.tests.graph.scripted import OUTSIDE, SURE, Expert, call, deps, good, this_turn
from clarify.tools.classify import as_finding
from clarify.tools.experts import Experts, Memo
from clarify.tools.measure import NAME
from clarify.tools.registry import REGISTRY, Seen, model_cards
from clarify.tools.registry import Expert as PictureExpert

Make = Callable[..., Session]
LINE = "The asymmetry of the lesion in img1 is 0.31 (0 none, 1 complete)."
CITE = "measure_lesion:img1:asymmetry"


def names(answer: Any) -> list[str]:
    return [record.name for record in answer.tool_calls]


def test_a_question_for_measures_is_answered_with_what_was_measured(session: Make, pic: bytes) -> None:
    talk = session(good("describe"))
    answer = talk.ask("What is this, and how asymmetric is it?", images=[pic])
    assert names(answer)[0] == "classify_lesion" and names(answer).count(NAME) == 1
    assert any(s.text == LINE and s.citations == [CITE] and s.kind == "finding" for s in answer.statements)
    assert any(s.kind == "fact" for s in answer.statements)
    row = next(e for e in answer.evidence if e.fact_id == CITE)
    assert row.query == NAME and "measured by measure_lesion" in row.source.title
    assert LINE in answer.answer
    (drawn,) = answer.overlays
    assert (drawn.tool, drawn.image) == (NAME, "img1")
    assert talk.deps.images.open(drawn.sha256).size == (96, 72)


def test_a_later_turn_measures_the_picture_of_before_and_owes_no_fact(session: Make, pic: bytes) -> None:
    talk = session(good("describe", ""))
    talk.ask("What is this?", images=[pic], thread="t")
    answer = talk.ask("Is it symmetric?", thread="t")
    assert names(answer) == [NAME] and not answer.abstained
    assert [s.citations for s in answer.statements if s.text == LINE] == [[CITE]]
    again = talk.ask("And what is its diameter?", thread="t")
    assert names(again) == [NAME] and any("40 pixels" in s.text for s in again.statements)


def test_nothing_is_measured_unasked_or_out_of_scope(session: Make, pic: bytes) -> None:
    assert NAME not in names(session(good("describe")).ask("What is this?", images=[pic]))
    outside = session(good(), expert=Expert(OUTSIDE)).ask("How asymmetric is this?", images=[pic])
    assert outside.abstained and NAME not in names(outside)


def test_nano_is_not_shown_what_it_was_not_taught(session: Make, pic: bytes) -> None:
    shown: list[Any] = []

    def watched(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        shown.append((messages, tools))
        return good("describe")(messages, choice, tools)

    session(watched).ask("What is this, and how asymmetric is it?", images=[pic])
    for messages, tools in shown:
        assert not any(m.name == NAME for m in messages if isinstance(m, ToolMessage))
        assert NAME not in str(tools)


def test_another_generalist_calls_it_and_sees_what_it_drew(session: Make, pic: bytes) -> None:
    seen: list[Any] = []

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        results = [m for m in this_turn(messages) if isinstance(m, ToolMessage)]
        seen.extend(m.content for m in results if m.name == NAME)
        if choice != "none" and [m.name for m in results] == ["classify_lesion"]:
            return call(NAME, image="img1")
        plain = [m for m in messages if not (isinstance(m, ToolMessage) and m.name == NAME)]
        said = good("describe")(plain, choice, tools)
        if said.tool_calls:
            return said
        return AIMessage(
            f"{said.content}\n{LINE} [{CITE}]\nThe asymmetry of the lesion in img1 is 0.99. [{CITE}]"
        )

    answer = session(policy, profile="hub:some").ask("What is this?", images=[pic])
    text, drawn = seen[0]
    assert CITE in text["text"] and drawn["type"] == "image" and len(drawn["file_id"]) == 64
    assert [s.text for s in answer.statements if CITE in s.citations] == [LINE]
    assert any("0.99" in text for text in answer.removed_statements)


def test_an_expert_without_weights_is_said_and_the_rest_goes_on(session: Make, pic: bytes) -> None:
    def gone() -> Any:
        raise WeightsMissing("no segmenter weights.", hint="Restore them.")

    experts = Experts({NAME: PictureExpert(gone, lambda model, image: Seen({}))})
    answer = session(good("describe"), experts=experts).ask("What is this, is it symmetric?", images=[pic])
    failed = [d for d in answer.decisions if d.rule == "tool_failed"]
    assert len(failed) == 1 and "Restore them" in failed[0].reason
    assert any(s.kind == "fact" for s in answer.statements)


def test_a_picture_is_looked_at_once_with_the_same_weights() -> None:
    looked: list[tuple[int, int]] = []

    class Model:
        sha256 = "a" * 64

    def look(model: Any, image: Image.Image) -> Seen:
        looked.append(image.size)
        return Seen({"width": str(image.width)})

    experts = Experts({"e": PictureExpert(Model, look)})
    small, wide = Image.new("RGB", (20, 10)), Image.new("RGB", (30, 10))
    for sha, image in (("1", small), ("2", wide), ("1", small)):
        assert experts.see("e", sha, lambda image=image: image)[0].values["width"] == str(image.width)
    assert looked == [(64, 48), (20, 10), (30, 10)]  # the first is the warm-up


def test_the_specialist_looks_once_at_a_picture_whatever_the_conversation(session: Make, pic: bytes) -> None:
    expert = Expert()
    talk = session(good("describe"), expert=expert)
    first, again = (talk.ask("What is this?", images=[pic], thread=name) for name in ("a", "b"))
    assert expert.looks == ["first"] and first.findings == again.findings
    talk.ask("She is a woman of 30. What is this?", images=[pic], thread="c")
    talk.ask("What is this?", images=[picture(9)], thread="d")
    assert expert.looks == ["first"] * 3


def test_many_threads_load_once_and_look_at_the_same_time() -> None:
    loaded: list[int] = []
    together = threading.Barrier(4, timeout=10)

    def load() -> Any:
        loaded.append(1)
        time.sleep(0.05)

    def look(model: Any, image: Image.Image) -> Seen:
        if image.width != 64:  # not in the warm-up
            together.wait()
        return Seen({})

    experts = Experts({"e": PictureExpert(load, look)})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: experts.see("e", str(i), lambda: Image.new("RGB", (i + 1, 9))), range(4)))
    assert loaded == [1]


def test_the_memo_forgets_the_oldest_and_keeps_no_failure() -> None:
    made: list[str] = []
    memo: Memo[str] = Memo(2)

    def make(key: str) -> str:
        made.append(key)
        if key == "bad":
            raise ValueError(key)
        return key

    for key in ("a", "b", "a", "c", "a", "b"):
        memo(key, lambda key=key: make(key))
    assert made == ["a", "b", "c", "b"]
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            memo("bad", lambda: make("bad"))
    assert made[-2:] == ["bad", "bad"]


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The expert of the README, in its one file."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = re.search(r'```python\n("""redness\.py.*?)```', readme, re.S)
    assert code and code.group(1).count("\n") < 60
    (tmp_path / "redness.py").write_text(code.group(1), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "redness"
    sys.modules.pop("redness", None)
    REGISTRY.experts.pop("measure_redness", None)
    REGISTRY._entries.pop("measure_redness", None)


def test_a_third_expert_is_one_file(third: str, session: Make, tmp_path: Path) -> None:
    default_deps(Settings(home=tmp_path / "home", experts=f" {third}, "))
    prompts: list[str] = []

    def policy(messages: list[BaseMessage], choice: Any, tools: list[Any]) -> AIMessage:
        prompts.append(str(messages[0].content))
        results = [m for m in this_turn(messages) if isinstance(m, ToolMessage)]
        if choice != "none" and [m.name for m in results] == ["classify_lesion"]:
            return call("measure_redness", image="img1")
        known = [m for m in messages if getattr(m, "name", "") != "measure_redness"]
        return good("describe")(known, choice, tools)

    talk = session(policy, profile="hub:some", experts=Experts())
    answer = talk.ask("What is this?", images=[picture()])
    assert "measure_redness: Measures how red" in prompts[0] and "Measured: not measured." in prompts[0]
    assert any(e.fact_id == "measure_redness:img1:redness" for e in answer.evidence)
    assert any("redness" in s.text for s in answer.statements) and not answer.abstained


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no_such_expert"):
        default_deps(Settings(home=tmp_path / "home", experts="no_such_expert"))


def test_cards_say_what_was_measured_and_stand_in_the_prompt() -> None:
    cards = model_cards(REGISTRY)
    assert re.search(r"classify_lesion: .*Measured: accuracy 0\.\d\d", cards)
    assert re.search(r"measure_lesion: .*Measured: Dice 0\.9", cards)
    assert cards in system_prompt("hub:some", REGISTRY) and "{cards}" not in system_prompt(
        "hub:some", REGISTRY
    )
    assert "Measured" not in system_prompt("nano", REGISTRY)
    assert system_prompt("nano:mine", REGISTRY) == system_prompt("nano", REGISTRY)


def test_the_shipped_expert_measures_a_drawn_lesion() -> None:
    image = Image.open(Path(__file__).parents[2] / "examples" / "sure.png").convert("RGB")
    seen, weights = Experts().see(NAME, "x", lambda: image)
    assert set(seen.values) == {
        "area", "asymmetry", "border irregularity", "largest diameter", "colour",
    }  # fmt: skip
    assert seen.picture is not None and seen.picture.size == image.size and len(weights) == 64


def test_a_finding_kept_before_patients_counted_is_still_remembered(tmp_path: Path) -> None:
    finding = {**as_finding("img1", SURE, second_look=False), "turn": 1}
    del finding["refined_by"]
    state: Any = {"findings": [finding]}
    env = Env(deps(tmp_path, good()))
    asked = {"name": "classify_lesion", "args": {"image": "img1"}, "id": "1"}
    remembered = _remembered(state, env, asked)
    assert remembered is not None and "melanoma 93 %" in str(remembered.content)
    assert _remembered({**state, "patient": {"age": 30}}, env, asked) is None
