"""Models of three families are fine-tuned: what is learnt, that it is learnt, and what is written."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file
from transformers import TrainerCallback

from clarify.agent.generalist import LocalVLM, ModelStore
from clarify.agent.generalist.encoding import encode
from clarify.agent.generalist.loaded import LoadedModel
from clarify.agent.generalist.loading import load
from clarify.errors import BadInput
from clarify.training.generalist import finetune as module
from clarify.training.generalist.conversations import opener, read
from clarify.training.generalist.export import store
from clarify.training.generalist.finetune import arguments, decoder_linears, finetune
from clarify.training.generalist.records import Conversation
from clarify.training.generalist.samples import UNLEARNT, Collator, sample, samples

FAMILIES = ("nano", "smol", "qwen")
LOOK = {"name": "look", "arguments": {"image": "img1"}}
TOOL = {
    "name": "look",
    "description": "Looks.",
    "parameters": {"type": "object", "properties": {"image": {"type": "string"}}},
}
ROWS = [
    {
        "id": "seen",
        "image": "a.png",
        "system": "Be brief.",
        "tools": json.dumps([TOOL]),
        "conversations": [
            {"from": "human", "value": "img1:<image>\nwhat is it?"},
            {"from": "function_call", "value": json.dumps(LOOK)},
            {"from": "observation", "value": "img1: melanoma 71 %"},
            {"from": "gpt", "value": "I am not sure.", "weight": 0},
            {"from": "human", "value": "Say what fits."},
            {"from": "gpt", "value": "Melanoma fits. [specialist:img1]"},
        ],
    },
    {
        "id": "told",
        "conversations": [
            {"from": "human", "value": "Thanks!"},
            {"from": "gpt", "value": "the lesion is treated."},
            {"from": "human", "value": "Bye"},
        ],
    },
]
SAID = {  # as each family's template writes it, to the token that ends the turn
    "nano": [
        '<tool_call>{"name":"look","arguments":{"image":"img1"}}</tool_call><|end|>',
        " Melanoma fits. [specialist:img1]<|end|>",
        " the lesion is treated.<|end|>",
    ],
    "smol": [
        ' {"name": "look", "arguments": {"image": "img1"}}<end_of_utterance>',
        " Melanoma fits. [specialist:img1]<end_of_utterance>",
        " the lesion is treated.<end_of_utterance>",
    ],
    "qwen": [
        '<tool_call>\n{"name": "look", "arguments": {"image": "img1"}}\n</tool_call><|im_end|>',
        "Melanoma fits. [specialist:img1]<|im_end|>",
        "the lesion is treated.<|im_end|>",
    ],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two conversations and their picture."""
    folder = tmp_path_factory.mktemp("data")
    Image.effect_noise((96, 64), 80).convert("RGB").save(folder / "a.png")
    (folder / "c.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return folder


def settings(model: Path, data: Path, out: Path, *more: str) -> Namespace:
    where = ["--model", model, "--conversations", data / "c.json", "--images", data, "--out", out]
    usual = ["--steps", "12", "--batch", "2", "--accumulate", "1", "--lr", "0.01", "--rank", "8"]
    return arguments().parse_args([*map(str, where), *usual, *more])


def untrained(folder: Path, quantize: bool = False) -> LoadedModel:
    return load(str(folder), quantize, None, "cpu", True, warm=False)


def talking(folder: Path, data: Path) -> LocalVLM:
    return LocalVLM.from_folder(
        folder, store=ModelStore(), quantize=False, image_loader=opener(data), max_new_tokens=8
    )


def conversations(data: Path) -> list[Conversation]:
    return read(data / "c.json", data)


def spans(labels: list[int]) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for label in labels:
        if label == UNLEARNT:
            found += [[]] if found[-1] else []
        else:
            found[-1].append(label)
    return [span for span in found if span]


@torch.no_grad()
def logits_and_loss(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, float]:
    out = model.eval()(**inputs)
    return out.logits, float(out.loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_the_assistant_says_or_calls_is_learnt(family, folders, data):
    lm = untrained(folders[family])
    made = samples(lm, conversations(data), opener(data), 4096)
    said = [lm.tokenizer.decode(span) for one in made for span in spans(one.labels)]
    assert said == SAID[family]
    assert all(len(one.ids) == len(one.labels) for one in made)
    assert made[0].ids.count(lm.image_token_id) > 1 and made[0].pictures == ["a.png"]


@pytest.mark.parametrize("family", FAMILIES)
def test_before_what_is_learnt_stands_the_prompt_of_the_agent(family, folders, data):
    """Also where a token would hold the prompt's end and the turn's start, as in the small nano."""
    lm = untrained(folders[family])
    for one in conversations(data):
        made = sample(lm, one, opener(data))
        for place in one.learnt:
            prompt = encode(lm, *lm.template.render(one.messages[:place], one.tools, opener(data)))
            ids = prompt.ids[0].tolist()
            assert made.ids[: len(ids)] == ids and made.labels[len(ids)] != UNLEARNT
            for name, values in prompt.token_inputs.items():
                assert made.token_inputs[name][: len(ids)] == values[0].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_its_samples(family, folders, data):
    """Padding and pictures in one row change nothing, nor does the model count positions otherwise."""
    lm = untrained(folders[family])
    first, second = samples(lm, conversations(data), opener(data), 4096)
    collate = Collator(lm, opener(data))
    batch, _ = logits_and_loss(lm.model, collate([second, first, first]))
    for row, one in enumerate((second, first, first)):
        alone, _ = logits_and_loss(lm.model, collate([one]))
        assert torch.allclose(batch[row, : len(one.ids)], alone[0], atol=1e-4)
    seen = conversations(data)[0]
    encoded = encode(lm, *lm.template.render(seen.messages[:2], seen.tools, opener(data)))
    more = {**encoded.token_inputs, **encoded.picture_inputs}
    more |= {"position_ids": encoded.positions} if encoded.positions is not None else {}
    with torch.no_grad():
        asked = lm.model(input_ids=encoded.ids, **more).logits
    assert torch.allclose(batch[1, : asked.shape[1]], asked[0], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_layer_of_the_text_decoder_and_no_other_is_adapted(family, folders):
    model = untrained(folders[family]).model
    linears = {id(m) for m in model.get_decoder().modules() if isinstance(m, torch.nn.Linear)}
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=decoder_linears(model)))
    found = [m.base_layer for m in adapted.modules() if hasattr(m, "base_layer")]
    assert {id(m) for m in found} == linears and len(linears) == 2 * 7


@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_steps_are_learnt_merged_and_answer(family, folders, data, tmp_path):
    facts = finetune(settings(folders[family], data, tmp_path))
    assert facts["conversations"] == 2 and facts["left_out"] == 0 and facts["steps"] == 12
    lm = untrained(folders[family])
    inputs = Collator(lm, opener(data))(samples(lm, conversations(data), opener(data), 4096))
    _, before = logits_and_loss(lm.model, inputs)
    merged = talking(tmp_path, data)
    after, loss = logits_and_loss(merged.loaded.model, inputs)
    assert loss < 0.6 * before
    adapted, _ = logits_and_loss(PeftModel.from_pretrained(lm.model, tmp_path / "adapter"), inputs)
    assert torch.allclose(adapted, after, atol=1e-3)
    asked = conversations(data)[1].messages[:1]
    said, said_before = (vlm.invoke(asked).content for vlm in (merged, talking(folders[family], data)))
    assert said != said_before


def test_over_4_bits_adapters_are_learnt_and_merged_into_full_precision(folders, data, tmp_path):
    facts = finetune(settings(folders["nano"], data, tmp_path, "--qlora"))
    assert facts["steps"] == 12
    base, merged = untrained(folders["nano"]), untrained(tmp_path)
    assert not merged.quantized and merged.model.dtype == base.model.dtype
    inputs = Collator(base, opener(data))(samples(base, conversations(data), opener(data), 4096))
    _, before = logits_and_loss(base.model, inputs)
    _, after = logits_and_loss(merged.model, inputs)
    assert after < 0.7 * before
    weights, new = base.model.state_dict(), merged.model.state_dict()
    changed = {name for name in weights if not torch.equal(weights[name], new[name])}
    assert changed == {name for name in weights if "text_model" in name and "_proj" in name}


def test_a_model_in_4_bits_wants_qlora_and_gets_its_4_bits_undone(folders, data, tmp_path):
    store(folders["nano"], tmp_path / "nf4")
    with pytest.raises(BadInput, match="stored in 4 bits"):
        finetune(settings(tmp_path / "nf4", data, tmp_path / "lora"))
    finetune(settings(tmp_path / "nf4", data, tmp_path / "qlora", "--qlora", "--steps", "1"))
    made = untrained(tmp_path / "qlora")
    assert not made.quantized and made.model.dtype == torch.bfloat16


class Cut(TrainerCallback):
    """Ends a run as a power cut does."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(folders, data, tmp_path, monkeypatch):
    whole, cut = (settings(folders["nano"], data, tmp_path / n, "--steps", "6") for n in ("whole", "cut"))
    finetune(whole)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_Lines", Cut)
        with pytest.raises(KeyboardInterrupt):
            finetune(cut)
    assert not (tmp_path / "cut" / "adapter").exists()
    assert [f.name for f in (tmp_path / "cut" / "checkpoints").iterdir()] == ["checkpoint-3"]
    assert finetune(cut)["steps"] == 6
    one, two = (load_file(tmp_path / n / "adapter" / "adapter_model.safetensors") for n in ("whole", "cut"))
    assert one.keys() == two.keys() and all(torch.allclose(one[k], two[k], atol=1e-6) for k in one)


def test_another_training_in_the_same_folder_is_refused(folders, data, tmp_path):
    finetune(settings(folders["nano"], data, tmp_path, "--steps", "1"))
    with pytest.raises(BadInput, match=r"training\.json was made with another steps, lr\n"):
        finetune(settings(folders["nano"], data, tmp_path, "--steps", "2", "--lr", "0.1"))
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "c.json").write_text(json.dumps(ROWS[1:]), encoding="utf-8")
    with pytest.raises(BadInput, match="another conversations"):
        finetune(settings(folders["nano"], other, tmp_path, "--steps", "1"))


def test_long_conversations_are_left_out_and_counted(folders, data, tmp_path, capsys):
    lm = untrained(folders["nano"])
    long, short = (len(s.ids) for s in samples(lm, conversations(data), opener(data), 4096))
    assert short < long
    wanted = ("--steps", "1", "--longest")
    facts = finetune(settings(folders["nano"], data, tmp_path / "a", *wanted, str(long - 1)))
    assert (facts["conversations"], facts["left_out"]) == (1, 1)
    assert f"1 of 2 conversations are longer than {long - 1}" in capsys.readouterr().err
    with pytest.raises(BadInput, match=f"at most {short - 1} tokens"):
        finetune(settings(folders["nano"], data, tmp_path / "b", *wanted, str(short - 1)))


TALK = [HumanMessage("a"), AIMessage("b"), HumanMessage("c"), AIMessage("d")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('{{- "<|end|>" -}}', '{{- "<|end|>" if m.role == "user" else "." -}}', "does not end"),
        ("{%- if m.content is string -%}", '{%- if loop.last or m.role == "assistant" -%}', "changes what"),
    ],
)
def test_a_template_that_cannot_be_learnt_from_is_refused(old, new, said, folders, data, tmp_path):
    shutil.copytree(folders["nano"], tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    text = template.read_text("utf-8")
    assert old in text
    template.write_text(text.replace(old, new), encoding="utf-8")
    lm = untrained(tmp_path / "model")
    with pytest.raises(BadInput, match=f"conversation x: .*{said}"):
        sample(lm, Conversation("x", TALK, []), opener(data))
