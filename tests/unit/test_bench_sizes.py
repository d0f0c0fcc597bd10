"""Computed bytes of `bench.sizes` are those that real tensors take, and its measuring runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import Params4bit
from transformers import AutoModelForImageTextToText

from clarify.agent.generalist import loading
from clarify.bench import sizes
from clarify.bench.sizes_model import (
    REAL,
    TABLES,
    TOY,
    Shape,
    Variant,
    build,
    cache_bytes,
    configuration,
    held_bytes,
    nf4_bytes,
    skeleton,
    variants,
    weight_bytes,
)
from clarify.errors import BadInput
from clarify.tests.contract.chat_model.families import build_qwen
from clarify.training.generalist.export import load_full
from clarify.training.generalist.prune import save_pruned

CPU = torch.device("cpu")
SMALL = replace(TOY, layers=3, hidden=128, intermediate=192, heads=4)
# 80 x 75 weights are no whole number of blocks of 64; 512 x 1344 have 42 times 256 scales.
ODD = replace(TOY, layers=2, hidden=80, intermediate=75, heads=5, kv_heads=1)
WIDE = replace(TOY, layers=1, hidden=512, intermediate=1344, heads=8, kv_heads=8)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Qwen2.5-VL of the chat model's contract, in bf16."""
    folder = tmp_path_factory.mktemp("qwen")
    torch.manual_seed(0)
    build_qwen(folder)
    load_full(folder).to(torch.bfloat16).save_pretrained(folder)
    return folder


def product(folder: Path, monkeypatch: pytest.MonkeyPatch, *, quantize: bool) -> Any:
    """A folder as the product loads it, before its first pass."""
    with monkeypatch.context() as patch:
        patch.setattr(loading, "_warm", lambda loaded: None)
        return loading.load(str(folder), quantize, None, "cpu", local=True).model


def repacked(model: torch.nn.Module) -> int:
    """Bytes by which 4-bit layers grew on a CPU that repacks them: 16-bit scales instead of 8-bit ones."""
    grown = 0
    for weight in (p for p in model.parameters() if isinstance(p, Params4bit)):
        if getattr(weight.quant_state, "packing_format_for_cpu", False):
            count = weight.quant_state.shape.numel()
            grown += count // 2 + 2 * (count // 64) + 4 * (16 + 1) - nf4_bytes(count)
    return grown


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("shape", [TOY, SMALL, ODD, WIDE], ids=["toy", "small", "odd", "wide"])
def test_computed_bytes_are_those_that_the_product_holds(shape, quantized, qwen, tmp_path, monkeypatch):
    shutil.copytree(qwen, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    variant = Variant("", quantized, 0)
    build(configuration(shape), replace(variant, quantized=False), CPU).save_pretrained(tmp_path)
    computed = sum(weight_bytes(skeleton(configuration(shape), variant)))
    model = product(tmp_path, monkeypatch, quantize=quantized)
    assert held_bytes(model) == computed
    states = held_bytes(model) - model.get_memory_footprint()  # which leaves scales and tables out
    layers = sum(isinstance(p, Params4bit) for p in model.parameters())
    assert layers == (7 * shape.layers + 5 * 2 + 2) * quantized and states >= layers * TABLES


def test_the_contract_model_and_what_is_left_of_it_hold_what_is_computed(qwen, tmp_path, monkeypatch):
    config = AutoModelForImageTextToText.from_pretrained(qwen).config
    text = config.text_config
    text.num_hidden_layers, text.layer_types = 5, ["full_attention"] * 5
    shutil.copytree(qwen, tmp_path / "full", ignore=shutil.ignore_patterns("*.safetensors"))
    build(config, Variant("", False, 0), CPU).save_pretrained(tmp_path / "full")
    save_pruned(load_full(tmp_path / "full"), [1, 3], tmp_path / "full", tmp_path / "pruned")
    for folder, removed in (("full", 0), ("pruned", 2)):
        computed = sum(weight_bytes(skeleton(config, Variant("", True, removed))))
        assert held_bytes(product(tmp_path / folder, monkeypatch, quantize=True)) == computed


@pytest.mark.parametrize("shape", [SMALL, replace(ODD, layers=3)], ids=["small", "odd"])
def test_what_is_built_and_what_it_keeps_after_an_answer_is_what_is_computed(shape):
    context = 48
    inputs = sizes.prompt(shape, context - 3, CPU)
    for variant, row in zip(variants(1), sizes.compute(shape, variants(1), context).values(), strict=True):
        model = build(configuration(shape), variant, CPU)
        assert held_bytes(model) == row["weights"] == row["packed"] + row["kept"]
        times, cache = sizes.answer(model, inputs, 4)
        assert times.shape == (4,) and (times > 0).all()
        assert cache == row["cache"] == row["total"] - row["weights"]
        assert held_bytes(model) == row["weights"] + repacked(model)


def test_the_cache_is_that_of_the_product_after_a_real_prefill(qwen):
    from clarify.agent.generalist import LocalVLM, ModelStore

    vlm = LocalVLM.from_folder(qwen, store=ModelStore(), device="cpu", max_new_tokens=5)
    used = vlm.invoke("what is it?").usage_metadata["total_tokens"]
    (cache,) = vlm.loaded.cache._entries.values()
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache.get_seq_length() in (used - 1, used)
    assert held == cache_bytes(vlm.loaded.model.config, cache.get_seq_length())


def test_the_real_shape_has_the_published_number_of_parameters():
    model = skeleton(configuration(REAL), Variant("", False, 0))
    assert sum(p.numel() for p in model.parameters()) == 8_292_166_656
    rows = sizes.compute(REAL, variants(4), 4096)
    full, packed, pruned = rows.values()
    embedded = 2 * 2 * 152064 * 3584
    assert full["cache"] == 2 * 2 * 28 * 4 * 128 * 4096 and pruned["cache"] == full["cache"] * 24 // 28
    assert embedded < packed["kept"] < embedded + 10e6  # what is kept is nearly only embedding and lm_head
    assert packed["packed"] * 8 / (full["weights"] - packed["kept"]) * 2 == pytest.approx(4.127, abs=0.002)
    assert pruned["packed"] < packed["packed"] and list(rows)[2] == "NF4, 4 blocks removed"


@pytest.mark.parametrize(
    ("shape", "message"),
    [(replace(TOY, heads=3), "3 heads"), (replace(TOY, kv_heads=3), "3 of keys")],
)
def test_a_shape_that_is_none_is_refused(shape: Shape, message: str):
    with pytest.raises(BadInput, match=message):
        configuration(shape)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(BadInput, match="picture's 16"):
        sizes.prompt(TOY, 16, CPU)
    with pytest.raises(BadInput, match="7 of 8 blocks"):
        sizes.compute(TOY, variants(7), 64)
    with pytest.raises(BadInput, match="GB"):
        sizes.check_room({"huge": {"total": 10**15}}, CPU)


def test_processor_time_is_taken_only_where_it_is_the_time_of_the_work(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert sizes.clock_name(CPU) == "processor time" and sizes.clock_name(torch.device("cuda")) == "wall time"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert sizes.clock_name(CPU) == "wall time"


def test_the_command_prints_both_tables_and_writes_what_it_printed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = (
        "sizes --measure --toy --layers 3 --hidden 128 --remove 1 --context 24 --tokens 3 --repeats 5 --json"
    )
    monkeypatch.setattr("sys.argv", [*line.split(), str(tmp_path / "out.json")])
    sizes.main()
    said, report = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert (
        "COMPUTED" in said
        and "MEASURED" in said
        and "prompt 22 tokens, answer 3, 5 turns, processor time" in said
    )
    assert report["shape"]["layers"] == 3 and [*report["computed"], "NF4, as bitsandbytes calls it"] == [
        *report["measured"]
    ]
    for name, row in report["measured"].items():
        computed = report["computed"][name.partition(", as")[0]]
        assert row["weights"] == computed["weights"] and f"{row['weights']:,}" in said
        assert row["cache"] == computed["cache"]
        assert row["n"] == 5 and 0 < row["token_ms_p50"] <= row["token_ms_p95"] and row["prefill_ms"] > 0
        value, low, high = row["token_ratio"]
        assert 0 < low <= value <= high
    assert report["measured"]["bf16"]["token_ratio"] == [1.0, 1.0, 1.0]
