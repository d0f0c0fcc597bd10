"""LLaVA's JSON: what is written is read as it was, and what cannot be used is refused by name."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from PIL import Image

pytest.importorskip("tokenizers")

from clarify.agent.generalist.loading import load
from clarify.agent.generalist.profiles import nano_folder
from clarify.errors import BadImage, BadInput
from clarify.training.generalist.conversations import FILE, IMAGES, export, from_dialogue, opener, read, write
from clarify.training.generalist.dialogues import DialogueMaker
from clarify.training.generalist.encode import PICTURE, segments, system_text
from clarify.training.generalist.pictures import PictureBank
from clarify.training.generalist.records import Conversation, Record, call_id, from_record, to_record
from clarify.training.generalist.world import load_names

TEXTS = st.text(st.sampled_from("aé\n <{\"'>[]|"), max_size=12)
NAMES = st.sampled_from(["look", "ask"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {}}}


@st.composite
def shown(draw: st.DrawFn) -> Any:
    """What a person or a tool shows: a text, or pictures with single texts around them."""
    blocks: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        text = draw(TEXTS)
        blocks += [{"type": "text", "text": text}] if text else []
        blocks.append({"type": "image", "file_id": draw(st.sampled_from(["a.png", "b/c.jpg", "ä .png"]))})
    text = draw(TEXTS)
    return [*blocks, *([{"type": "text", "text": text}] if text else [])] if blocks else text


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    system = draw(TEXTS)
    messages: list[Any] = [SystemMessage(system)] if system else []
    unlearnt: set[int] = set()
    for _ in range(draw(st.integers(1, 3))):
        messages.append(HumanMessage(draw(shown())))
        for _ in range(draw(st.integers(0, 2))):
            at, number = len(messages), draw(st.integers(1, 2))
            args = [draw(st.dictionaries(TEXTS, VALUES, max_size=2)) for _ in range(number)]
            calls = [tool_call(name=draw(NAMES), args=a, id=call_id(at, i)) for i, a in enumerate(args)]
            unlearnt |= {at} if draw(st.booleans()) else set()
            messages.append(AIMessage(draw(TEXTS), tool_calls=calls))
            messages += [
                ToolMessage(draw(shown()), name=call["name"], tool_call_id=call["id"]) for call in calls
            ]
        messages.append(AIMessage(draw(TEXTS)))
    tools = [TOOL] if draw(st.booleans()) else []
    return Conversation(draw(st.text(max_size=5)), messages, tools, frozenset(unlearnt))


@given(conversations())
def test_what_is_written_is_read_as_it_was(conversation: Conversation) -> None:
    text = json.dumps(to_record(conversation).model_dump(by_alias=True, exclude_defaults=True))
    assert from_record(Record.model_validate_json(text)) == conversation


@given(st.recursive(VALUES, lambda inner: st.dictionaries(st.sampled_from(["id", "image", "from"]), inner)))
def test_any_other_json_is_refused_and_nothing_else_is_raised(tmp_path_factory: Any, value: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "x.json").write_text(json.dumps([value]), encoding="utf-8")
    with pytest.raises(BadInput, match="conversation "):
        read(folder / "x.json", folder)


def test_the_plain_format_of_llava_is_read(tmp_path: Any) -> None:
    Image.new("RGB", (24, 16), (9, 80, 200)).save(tmp_path / "a.png")
    rows = [
        {
            "id": 7,
            "image": "a.png",
            "model": "x",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is this?"},
                {"from": "gpt", "value": "A mole."},
            ],
        },
        {"id": "t", "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]},
    ]
    (tmp_path / "c.json").write_text(json.dumps(rows), encoding="utf-8")
    one, two = read(tmp_path / "c.json", tmp_path)
    asked = [{"type": "image", "file_id": "a.png"}, {"type": "text", "text": "What is this?"}]
    assert one == Conversation("7", [HumanMessage(asked), AIMessage("A mole.")], [])
    assert two == Conversation("t", [HumanMessage("Hello"), AIMessage("Hi")], [])
    assert opener(tmp_path)("a.png").getpixel((0, 0)) == (9, 80, 200)
    write(tmp_path / "again.json", [one, two])
    again = json.loads((tmp_path / "again.json").read_text("utf-8"))
    assert [r["conversations"] for r in again] == [r["conversations"] for r in rows]
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(BadImage, match="a.png: "):
        opener(tmp_path)("a.png")


HUMAN, GPT = {"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}


def call(value: Any) -> dict[str, Any]:
    return {"from": "function_call", "value": value if isinstance(value, str) else json.dumps(value)}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image": ["a.png", "a.png"]}, "0 <image> for 2 pictures"),
        ({"conversations": [{"from": "human", "value": "<image>"}, GPT]}, "1 <image> for 0 pictures"),
        ({"image": "a.png", "conversations": [HUMAN, {**GPT, "value": "<image>"}]}, "<image> in a turn of"),
        ({"conversations": [HUMAN, {"from": "robot", "value": "hi"}]}, r"conversations\.1\.from"),
        ({"conversations": [{"from": "human"}, GPT]}, r"conversations\.0\.value"),
        ({"conversations": [GPT, HUMAN]}, "gpt speaks first"),
        ({"conversations": [HUMAN]}, "nothing that is learnt"),
        ({"conversations": [HUMAN, {**GPT, "weight": 0}]}, "nothing that is learnt"),
        ({"conversations": []}, "conversations"),
        ({"conversations": [HUMAN, call("{look}")]}, "function_call cannot be read"),
        ({"conversations": [HUMAN, call({"name": "look"})]}, r"cannot be read: 0\.arguments"),
        ({"conversations": [HUMAN, call([])]}, "calls nothing"),
        ({"conversations": [HUMAN, {"from": "observation", "value": ""}]}, "observation without a call"),
        ({"tools": "[1]"}, "its tools cannot be read"),
        ({"tools": "[{}]"}, "its tools cannot be read"),
        ({"tools": "look"}, "its tools cannot be read"),
        ({"image": "b.png", "conversations": [{"from": "human", "value": "<image>"}, GPT]}, "no picture"),
        ({"image": "../a.png", "conversations": [{"from": "human", "value": "<image>"}, GPT]}, "outside"),
        ({"image": "/a.png", "conversations": [{"from": "human", "value": "<image>"}, GPT]}, "outside"),
        ({"image": "link.png", "conversations": [{"from": "human", "value": "<image>"}, GPT]}, "outside"),
    ],
)  # fmt: skip
def test_a_bad_record_is_named_with_what_is_wrong(changed: dict[str, Any], said: str, tmp_path: Any) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for file in (tmp_path / "a.png", folder / "a.png"):
        Image.new("RGB", (8, 8)).save(file)
    (folder / "link.png").symlink_to(tmp_path / "a.png")
    good, bad = {"id": "good", "conversations": [HUMAN, GPT]}, {"id": "bad-1", "conversations": [HUMAN, GPT]}
    (tmp_path / "c.json").write_text(json.dumps([good, bad | changed]), encoding="utf-8")
    with pytest.raises(BadInput, match=f"conversation bad-1: .*{said}"):
        read(tmp_path / "c.json", folder)


@pytest.mark.parametrize("text", ["{", '{"id": "1"}'])
def test_a_file_that_is_no_list_is_refused(text: str, tmp_path: Any) -> None:
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"c\.json"):
        read(tmp_path / "c.json", tmp_path)
    with pytest.raises(BadInput, match="gone"):
        read(tmp_path / "gone.json", tmp_path)


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("an <image> in words"),
        HumanMessage([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        HumanMessage([{"type": "image", "base64": "AAAA"}]),
        ToolMessage("to no call", tool_call_id="x"),
    ],
)
def test_what_would_be_read_as_something_else_is_not_written(message: Any) -> None:
    with pytest.raises(BadInput, match="conversation c"):
        to_record(Conversation("c", [HumanMessage("hello"), AIMessage("hi"), message, AIMessage("so")], []))


def tiny_bank() -> PictureBank:
    """Nine pictures, three of each kind, made of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 64, 64), dtype=np.uint8)
    kind = np.repeat(["lesion", "skin_other", "not_skin"], 3)
    shares = np.full((9, 2), np.nan, dtype=np.float32)
    shares[0] = 0.7, 0.3
    names, split = ["melanoma", "melanocytic nevus"], np.array(["train"] * 9)
    what = np.array(["melanoma"] * 9)
    return PictureBank(pixels, kind, split, shares, names, what, np.eye(9, dtype=np.float16))


@pytest.fixture(scope="module", params=[None, tiny_bank()], ids=["text", "pictures"])
def maker(request: pytest.FixtureRequest) -> DialogueMaker:
    labels = ["melanoma", "melanocytic nevus"]
    return DialogueMaker("train", load_names(None), [], labels, request.param, 0.3)


def test_made_dialogues_are_read_as_they_were(maker: DialogueMaker, tmp_path: Any) -> None:
    bank: Any = maker.pictures
    counts = export(maker, bank, 40, tmp_path)
    found = read(tmp_path / FILE, tmp_path / IMAGES)
    dialogues = [maker.make(random.Random(f"conversations/0/{i}")) for i in range(40)]
    assert found == [from_dialogue(f"0-{i}", d) for i, d in enumerate(dialogues)]
    shown = {index for d in dialogues for m in d for _, index in m.images}
    assert counts == {"conversations": 40, "pictures": len(shown)} and bool(shown) == (bank is not None)
    for index in shown:
        picture = np.asarray(opener(tmp_path / IMAGES)(f"{index:06d}.png"))
        assert (picture == bank.pixels[index].transpose(1, 2, 0)).all()
    for conversation, dialogue in zip(found, dialogues, strict=True):  # the system message is before them
        assert conversation.learnt == [i for i, m in enumerate(dialogue, 1) if m.target]
    assert any(c.unlearnt for c in found)


def test_nano_is_shown_a_made_dialogue_as_it_was_trained_on_it(maker: DialogueMaker) -> None:
    nano = load(str(nano_folder()), False, None, "cpu", True, warm=False)
    for seed in range(12):
        dialogue = maker.make(random.Random(seed))
        made = from_dialogue("x", dialogue)
        text, _ = nano.template.render(made.messages, made.tools, lambda _: Image.new("RGB", (16, 16)))
        learnt = "".join(part for part, _ in segments(dialogue, system_text()))
        assert text.replace("<image>", PICTURE) == f"{learnt}<|assistant|>"
