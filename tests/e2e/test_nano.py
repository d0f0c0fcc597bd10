"""The shipped generalist decides and speaks alone, on invented diseases, names and facts it cannot know."""

from __future__ import annotations

import re

import pytest

from clarify.bench.generalist import Speaker, play, report, scripts
from clarify.bench.generalist_player import Player
from clarify.training.generalist.dialogues import DialogueMaker
from clarify.training.generalist.world import load_names

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scores():
    from clarify.agent.generalist.profiles import nano_folder

    maker = DialogueMaker("test", load_names(None), [], ["melanoma", "melanocytic nevus"], None)
    players = [Player(script, ()) for script in scripts(maker, 40, seed=7)]
    return report(play(Speaker(nano_folder()), players, None, {}, 20), show=5)


def test_it_calls_the_right_tool_with_the_right_arguments(scores):
    # 79 of 81 here, 96.5 % of 1980 in the bench. Raise this floor with every better training.
    right = scores["right tool and arguments"]
    assert right["n"] >= 60 and right["hits"] / right["n"] >= 0.92


def test_what_it_states_is_what_the_cited_row_says(scores):
    faithful = scores["statements that say their row"]
    assert faithful["n"] >= 80 and faithful["hits"] / faithful["n"] >= 0.98


def test_it_cites_nothing_that_was_not_retrieved_however_hot_it_writes():
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    from clarify.agent.generalist.profiles import load_generalist

    rows = [
        f"[mel-{kind}-{i}] melanoma | {kind} | {said}"
        for kind, things in (("cause", ("sun", "a gene")), ("test", ("a biopsy", "dermoscopy of the edge")))
        for i, said in enumerate(things)
    ]
    call = {"name": "query_knowledge", "args": {"query": "causes", "diseases": ["melanoma"]}, "id": "1"}
    said = [
        SystemMessage("You are CLARIFY. Answer questions about skin from tool results alone."),
        HumanMessage("What causes melanoma, and how is it found?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("\n".join(rows), tool_call_id="1"),
    ]
    free, held = set(), set()
    for copies, cited in ((False, free), (True, held)):
        model = load_generalist("nano", copies=copies, temperature=2.5, max_new_tokens=120)
        for seed in range(12):
            cited |= set(re.findall(r"\[([^\[\]]*)\]", str(model.invoke(said, seed=seed).text)))
    known = {row[1:].partition("]")[0] for row in rows}
    assert held and held <= known
    assert not free <= known  # so hot that it makes ids up, if it may


def test_it_says_nearly_every_row(scores):
    said = scores["rows said"]
    assert said["hits"] / said["n"] >= 0.95
