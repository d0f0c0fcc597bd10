"""What the adapter shows nano and lets it write is, token for token, what nano is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from PIL import Image
from pydantic import BaseModel, Field
from transformers import Idefics3Processor

from clarify.agent.generalist import LocalVLM
from clarify.agent.generalist.encoding import encode
from clarify.training.generalist import encode as trained
from clarify.training.generalist.dialogues import Call, Message, call_text
from clarify.training.generalist.model import build, image_processor
from clarify.training.generalist.tokenizer import train_tokenizer, wrap_tokenizer


class ClassifyLesion(BaseModel):
    """Classify."""

    image: Literal["img1", "img2"]
    second_look: bool = False


class QueryKnowledge(BaseModel):
    """Ask."""

    query: Literal["describe", "signs", "treatment", "differential"]
    diseases: list[Annotated[str, Field(max_length=80)]] = Field(min_length=1, max_length=4)


LOOK = Call("classify_lesion", {"image": "img1"})
ASK = Call("query_knowledge", {"query": "differential", "diseases": ["melanoma", "Bowen's disease"]})
DIALOGUE = [
    Message("user", "What is this, and is it dangerous?", images=[("img1", 0)]),
    Message("assistant", calls=[LOOK], target=True),
    Message(
        "tool", "img1: melanoma 71 %, melanocytic nevus 21 %; unsure; shortlist melanoma, melanocytic nevus"
    ),
    Message("assistant", calls=[LOOK, ASK], target=True),
    Message("tool", "img1 second look: melanoma 80 %; sure; shortlist melanoma"),
    Message(
        "tool", "[mel-diff-1] melanoma | differs from bowen's disease | an uneven shape\n[mel-x-2] a | b | c"
    ),
    Message(
        "assistant",
        "The picture looks like melanoma. [specialist:img1]\nIt is uneven. [mel-diff-1]",
        target=True,
    ),
    Message("user", "Thanks! And this one?", images=[("img2", 0)]),
    Message("assistant", "You are welcome.", target=True),
]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> LocalVLM:
    """nano's architecture and tokenizer, untrained."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer([m.text for m in DIALOGUE] + [call_text(ASK)] * 5, 700)
    fast = wrap_tokenizer(tokenizer)
    model = build(len(fast), *(tokenizer.token_to_id(t) for t in ("<image>", "<pad>", "<|end|>")))
    folder: Path = tmp_path_factory.mktemp("nano")
    model.save_pretrained(folder)
    processor = Idefics3Processor(
        image_processor(), fast, image_seq_len=trained.IMAGE_TOKENS, chat_template=fast.chat_template
    )
    processor.save_pretrained(folder)
    return LocalVLM.from_folder(folder, quantize=False, image_loader=lambda _: Image.new("RGB", (60, 45)))


def tools() -> list[dict[str, Any]]:
    out = [convert_to_openai_tool(ClassifyLesion), convert_to_openai_tool(QueryKnowledge)]
    for tool, name in zip(out, ("classify_lesion", "query_knowledge"), strict=True):
        tool["function"]["name"] = name
    return out


def as_langchain(messages: list[Message]) -> list[BaseMessage]:
    system = trained.system_text().removesuffix("\n" + trained.TOOLS_LINE)
    out: list[BaseMessage] = [SystemMessage(system)]
    waiting: list[str] = []
    for i, message in enumerate(messages):
        if message.role == "assistant":
            waiting = [f"{i}-{j}" for j in range(len(message.calls))]
            calls = [
                {"name": c.name, "args": c.args, "id": k} for c, k in zip(message.calls, waiting, strict=True)
            ]
            out.append(AIMessage(message.text, tool_calls=calls))
        elif message.role == "tool":
            out.append(ToolMessage(message.text, tool_call_id=waiting.pop(0)))
        else:
            blocks: list[Any] = []
            for name, _ in message.images:
                blocks += [{"type": "text", "text": f"{name}:"}, {"type": "image", "file_id": "ab" * 32}]
            out.append(HumanMessage([*blocks, {"type": "text", "text": message.text}]))
    return out


def test_prompts_are_the_training_prompts(vlm: LocalVLM) -> None:
    tokenizer = vlm.loaded.tokenizer.backend_tokenizer
    for i, message in enumerate(DIALOGUE):
        if message.role == "assistant":
            shown = encode(
                vlm.loaded, *vlm.loaded.template.render(as_langchain(DIALOGUE[:i]), tools(), vlm.image_loader)
            )
            learnt = trained.encode(DIALOGUE[:i], tokenizer, trained.system_text()).ids
            assert shown.ids[0].tolist() == [*learnt, tokenizer.token_to_id("<|assistant|>")]


def test_the_grammar_permits_the_training_calls_and_forces_their_tokens(vlm: LocalVLM) -> None:
    lm = vlm.loaded
    guide = lm.guides.guide(tools(), "required", 4)
    ids = lm.tokenizer(call_text(LOOK) + call_text(ASK) + "<|end|>", add_special_tokens=False).input_ids
    done = forced = 0
    while ids[done] not in lm.stop_ids:
        logits = torch.zeros(len(lm.tokenizer))
        guide.mask(logits)
        assert logits[ids[done]] == 0, lm.tokenizer.decode(ids[: done + 1])
        fresh = [ids[done]]
        while fresh:
            assert ids[done : done + len(fresh)] == fresh
            for token in fresh:
                guide.accept(token, "")
            done += len(fresh)
            fresh = guide.forced()
            forced += len(fresh)
    assert forced > len(ids) / 4


def test_arguments_come_back_without_the_padding(vlm: LocalVLM) -> None:
    from clarify.agent.generalist.tool_syntax import parse

    parsed = parse(call_text(LOOK) + call_text(ASK), vlm.loaded.guides.syntax)
    assert [(c.name, c.args) for c in parsed.calls] == [(LOOK.name, LOOK.args), (ASK.name, ASK.args)]
