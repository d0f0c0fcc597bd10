"""Blocks of five families are ranked and removed, and what is left is a model like any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from clarify.agent.generalist import LocalVLM, ModelStore
from clarify.errors import BadInput
from clarify.tests.contract.chat_model.families import BUILDERS
from clarify.training.generalist.export import WEIGHTS, load_full, store
from clarify.training.generalist.prune import blocks, influence, keep, least, save_pruned

FAMILIES = tuple(BUILDERS)


def tokens(model: Any) -> dict[str, torch.Tensor]:
    ids = torch.arange(20, 44).view(2, 12) % model.config.get_text_config().vocab_size
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def deepened(folder: Any) -> Any:
    """The model with its last block twice, the first of them silent."""
    model = load_full(folder)
    layers, copy = blocks(model), load_full(folder)
    silent = blocks(copy)[1]
    for part in (silent.self_attn.o_proj, silent.mlp.down_proj):
        torch.nn.init.zeros_(part.weight)
        if part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    layers.insert(1, silent)
    config = model.config.get_text_config()
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[0], *config.layer_types]
    keep(model, range(3))
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_that_does_nothing_is_found_and_nothing_changes_without_it(family, folders):
    model = deepened(folders[family])
    inputs = tokens(model)
    with torch.no_grad():
        before = model(**inputs).logits
    found = influence(model, [inputs, inputs])
    assert found[1] == pytest.approx(0, abs=1e-6) and min(found[0], found[2]) > 0.01
    assert least(found, 1) == [1]
    keep(model, [0, 2])
    assert model.config.get_text_config().num_hidden_layers == len(blocks(model)) == 2
    with torch.no_grad():
        after = model(**inputs).logits
    seen = inputs["attention_mask"].bool()
    assert torch.allclose(before[seen], after[seen], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_influence_is_the_mean_over_tokens_that_count(family, folders):
    model = load_full(folders[family])
    inputs = tokens(model)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
    seen = inputs["attention_mask"].bool()
    changed = 1 - torch.nn.functional.cosine_similarity(states[0].double(), states[1].double(), dim=-1)
    assert influence(model, [inputs])[0] == pytest.approx(float(changed[seen].mean()), abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_left_is_saved_loaded_and_talks(family, folders, tmp_path):
    model = deepened(folders[family])
    keep(model, [0, 2])
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    assert len(blocks(again)) == 2
    with torch.no_grad():
        assert torch.allclose(model(**tokens(model)).logits, again(**tokens(model)).logits, atol=1e-5)
    for file in folders[family].iterdir():
        if not (tmp_path / file.name).exists():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    vlm = LocalVLM.from_folder(tmp_path, store=ModelStore(), quantize=False, max_new_tokens=8)
    first = vlm.invoke("what is it?")
    assert vlm.invoke("what is it?").content == first.content  # from the prefix cache, whose places are new


def test_a_model_in_4_bits_is_pruned_and_stored_in_4_bits_again(folders, tmp_path):
    store(folders["nano"], tmp_path / "nf4")
    model = load_full(tmp_path / "nf4")
    ends = model.generation_config.eos_token_id
    save_pruned(model, [0], tmp_path / "nf4", tmp_path / "pruned")
    assert load_full(tmp_path / "pruned").generation_config.eos_token_id == ends is not None
    store(tmp_path / "pruned", tmp_path / "again")
    before, after = ((tmp_path / name / WEIGHTS).stat().st_size for name in ("nf4", "again"))
    assert after < before
    vlm = LocalVLM.from_folder(tmp_path / "again", store=ModelStore(), max_new_tokens=4)
    assert vlm.loaded.quantized and vlm.invoke("what is it?").usage_metadata["output_tokens"] > 0


def test_a_model_that_could_not_be_read_again_is_refused(folders, tmp_path):
    """As where a block has other parts than the one whose number it gets."""
    model = load_full(folders["nano"])
    blocks(model)[1].extra = torch.nn.Linear(2, 2)
    with pytest.raises(BadInput, match="cannot be read"):
        save_pruned(model, [0], folders["nano"], tmp_path)


def test_the_first_and_the_last_block_stay_and_so_does_one(folders):
    assert least([0.0, 0.3, 0.2, 0.1, 0.0], 2) == [2, 3]
    with pytest.raises(BadInput, match="4 of 5"):
        least([0.1] * 5, 4)
    with pytest.raises(BadInput, match="cannot be kept"):
        keep(load_full(folders["nano"]), [])
    with pytest.raises(BadInput, match="nothing to calibrate"):
        influence(load_full(folders["nano"]), [])
