"""The benches of the generalist's costs count what they say, on stand-ins and by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from clarify.bench import constraint, prefix_cache
from clarify.bench.constraint import Outcome, judge
from clarify.bench.prefix_cache import (
    SHIPPED,
    UNCACHED,
    UNDRAFTED,
    UNFORCED,
    WAYS,
    Answer,
    Counts,
    Log,
    Watched,
)
from clarify.tools.classify import classify_tool
from clarify.tools.experts import Memo
from clarify.tools.knowledge import knowledge_tool
from clarify.training.generalist.dialogues import Call, Message
from clarify.training.intervals import ratio_of_medians, resampled

# -- overhead


def test_both_agents_say_the_same_facts_with_as_many_calls(tmp_path: Path) -> None:
    pytest.importorskip("langchain.agents", reason="the extra `bench`")
    from clarify.bench.instant import instant
    from clarify.bench.overhead import AGENTS, FIRST, KEEPING, LATER, TEXT, play

    turns = play(instant(), tmp_path, threads=1)
    ours, *others = (turns[name] for name in AGENTS)
    assert [t.kind for t in ours] == [FIRST, *[LATER] * 4, *[TEXT] * 4] and len(turns[KEEPING]) == 1
    for other in others:
        for mine, theirs in zip(ours, other, strict=True):
            cited = set(re.findall(r"\[([^\]]+)\]", theirs.answer))
            assert cited and cited - {"specialist:img1"} <= set(re.findall(r"\[([^\]]+)\]", mine.answer))
            assert mine.calls == theirs.calls == (3 if mine.kind == FIRST else 2)
            assert min(mine.ms, mine.cpu, theirs.ms, theirs.cpu) > 0
    assert sum(t.stored for t in ours) > 0


def test_copies_of_a_picture_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("langchain.agents", reason="the extra `bench`")
    from clarify.bench.instant import instant
    from clarify.bench.overhead import follow, noise

    parts, large = instant(), noise(0.05)
    assert 0.04e6 < len(large) < 0.06e6
    ours = follow("CLARIFY", parts, tmp_path / "ours", large)
    assert [copies for copies, *_ in ours] == [0] * 5 and ours[-1][2] == 1 and ours[-1][3] > 0.04e6
    exit_ = follow("create_agent, exit", parts, tmp_path / "exit", large)
    assert [copies for copies, *_ in exit_] == [1, 2, 3, 4, 5] and exit_[-1][2] == 0
    every = follow("create_agent", parts, tmp_path / "every", large)
    assert all(more[0] > less[0] and more[1] > less[1] for more, less in zip(every, exit_, strict=True))


# -- prefix cache


def test_what_is_new_is_what_no_earlier_call_of_the_thread_computed() -> None:
    log, answers = Log(), dict[str, Answer]()
    log.add((1, 2, 3), [(1, 2, 3, 4)], answers)
    log.add((1, 2, 3, 4, 5, 6), [(1, 2, 3, 4, 5, 6)], answers)
    log.add((1, 2, 9), [], answers)
    log.add((1, 2, 3), [], answers)
    assert [(call.later, call.new) for call in log.calls] == [(False, 3), (True, 2), (True, 1), (True, 1)]


def test_a_twin_is_a_cache_of_its_own() -> None:
    cache: Any = Watched(2)
    cache._entries[(1, 2)] = "kept"
    twin = cache.twin()
    assert twin.match((1, 2, 3)).length == 2 and twin.asked == [(1, 2, 3)] and cache.asked == []
    twin.clear()
    assert len(cache) == 1


class Inside:
    """A guide within a call of six tokens, of which two are forced."""

    constrained = True

    def accept(self, token: int, text: str) -> None:
        self.constrained = self.constrained and token != 6

    def forced(self) -> list[int]:
        return [7, 8]


@pytest.mark.parametrize("jump", [True, False])
def test_forced_tokens_are_counted_or_left_to_the_model(jump: bool) -> None:
    counts = Counts()
    guide: Any = prefix_cache.CountingGuide(Inside(), counts, jump)  # type: ignore[arg-type]
    for token in (1, 6, 2):
        guide.accept(token, "")
    assert guide.forced() == ([7, 8] if jump else [])
    assert (counts.inside, counts.forced) == (2, 2 if jump else 0)
    assert guide.constrained is False  # read from the guide


def made_call(**different: str) -> prefix_cache.Call:
    answers = {}
    for way, slower in zip(WAYS, (1.0, 3.0, 2.0, 4.0), strict=True):
        said = (different.get(way, "the same"),)
        computed = 100 if way == UNCACHED else 10
        answers[way] = Answer(said, 100, computed, 15 * slower, 5 * slower, Counts(8, 4))
    return prefix_cache.Call(True, 10, answers)


def test_the_report_tells_answers_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert prefix_cache.report([made_call()] * 5)
    said = capsys.readouterr().out
    assert "computed: 10.0 %" in said and "forced: 50.0 %" in said and "differ" not in said
    assert "prefill, no prefix cache over as shipped: 3.00 x [3.00, 3.00]" in said
    assert "after the prefill, no forced tokens over as shipped: 2.00 x [2.00, 2.00]" in said
    assert "after the prefill, no drafts over as shipped: 4.00 x [4.00, 4.00]" in said
    for way in (UNCACHED, UNFORCED, UNDRAFTED):
        assert not prefix_cache.report([made_call(), made_call(**{way: "another"})])
        assert "another" in capsys.readouterr().out
    assert SHIPPED == WAYS[0]


def test_the_conversations_are_many_and_their_pictures_are_there() -> None:
    import tomllib

    threads = tomllib.loads(prefix_cache.CONVERSATIONS.read_text(encoding="utf-8"))["thread"]
    assert len(threads) >= 15 and sum(len(t["questions"]) for t in threads) >= 40
    assert all(len(t["questions"]) > 1 for t in threads)
    assert all((prefix_cache.EXAMPLES / t["picture"]).is_file() for t in threads if "picture" in t)


# -- constraint

ASKED = Call("query_knowledge", {"query": "treatment", "diseases": ["zorbitis"]}, "rows")
DUE = [
    Message("user", "How is zorbitis treated?", kind="named"),
    Message("assistant", calls=[ASKED], target=True),
    Message("tool", "rows"),
    Message("assistant", "By rest.", target=True),
]
HELLO = [Message("user", "Hello!", kind="greeting"), Message("assistant", "Hello.", target=True)]
TOOLS = [
    knowledge_tool(knowledge=lambda: None, max_rows=6),  # type: ignore[arg-type, return-value]
    classify_tool(
        specialist=lambda: None,  # type: ignore[arg-type, return-value]
        open_image=lambda name: None,  # type: ignore[arg-type, return-value]
        pictures=(),
        threshold=0.8,
        sha256={},
        memo=Memo(),
    ),
]


def said(*calls: tuple[str, dict[str, Any]], broken: int = 0) -> AIMessage:
    return AIMessage(
        "",
        tool_calls=[tool_call(name=name, args=args, id="x") for name, args in calls],
        invalid_tool_calls=[invalid_tool_call(name="", args="{", id="x", error="cut")] * broken,
    )


QUERY = "query_knowledge"


def asked(query: str = "treatment", diseases: Any = ("zorbitis",), **more: Any) -> AIMessage:
    names = list(diseases) if isinstance(diseases, tuple) else diseases
    return said((QUERY, {"query": query, "diseases": names, **more}))


CASES = {
    "right": (DUE, asked(diseases=(" zorbitis",)), (1, 1, True, True, True)),
    "other query": (DUE, asked("causes"), (1, 1, True, False, False)),
    "misspelt, found by linking": (DUE, asked(diseases=("zorbitiss",)), (1, 1, True, True, False)),
    "no list": (DUE, asked(diseases="zorbitis"), (1, 0, True, False, False)),
    "no such query": (DUE, asked("cure"), (1, 0, True, False, False)),
    "one argument too many": (DUE, asked(x=1), (1, 0, True, False, False)),
    "other tool": (DUE, said(("classify_lesion", {"image": "img1"})), (1, 1, False, False, False)),
    "no such tool": (DUE, said(("search", {})), (1, 0, False, False, False)),
    "broken": (DUE, said(broken=1), (1, 0, False, False, False)),
    "none": (DUE, said(), (0, 0, False, False, False)),
    "rightly none": (HELLO, said(), (0, 0, True, True, True)),
    "wrongly one": (HELLO, asked(), (1, 1, False, False, False)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_judged(name: str) -> None:
    script, answer, wanted = CASES[name]
    found = judge(answer, script, TOOLS, {"zorbitis"}, 3.0)
    assert (found.calls, found.well, found.tools, found.right, found.exact) == wanted
    assert found.due == (script is DUE) and found.ms == 3.0


def test_the_difference_is_paired(capsys: pytest.CaptureFixture[str]) -> None:
    def outcome(right: bool) -> Outcome:
        return Outcome(True, 1, 1, True, right, right, 1.0)

    rows = [dict(zip(constraint.WAYS, (outcome(a), outcome(b), outcome(False)), strict=True))
            for a, b in [(True, True)] * 6 + [(False, True)] * 2 + [(False, False)] * 2]  # fmt: skip
    constraint.report(rows)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "+20.0 points [+0.0, +50.0]" in last and last.endswith("n = 10")


# -- intervals


def test_resampling_keeps_rows_together() -> None:
    over, under = [2.0, 4.0, 6.0, 80.0], [1.0, 2.0, 3.0, 40.0]
    assert ratio_of_medians(over, under) == (2.0, 2.0, 2.0)
    value, low, high = resampled(np.mean, over)
    assert value == 23.0 and 2.0 <= low < value < high <= 80.0
