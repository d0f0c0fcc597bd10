"""Loading: 4 bits, checked hashes, one copy in memory, profiles."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from clarify.agent.generalist import LocalVLM, ModelStore, load_generalist
from clarify.errors import BadInput, Unavailable, WeightsMissing
from clarify.tests.contract.chat_model.families import BUILDERS
from clarify.tests.contract.chat_model.talk import Look, dialogue, same


@pytest.mark.parametrize("family", list(BUILDERS))
def test_nf4_loads_answers_and_saves(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    from transformers import AutoConfig

    store = ModelStore()
    vlm = load_generalist(
        f"path:{folders[family]}", store=store, device="cpu", image_loader=_grey, max_new_tokens=8
    )
    assert isinstance(vlm, LocalVLM) and vlm.loaded.quantized
    asked = vlm.bind_tools([Look], tool_choice="required", max_calls=1)
    first = asked.invoke(dialogue(), max_new_tokens=80)
    Look.model_validate(first.tool_calls[0]["args"])
    vlm.loaded.model.save_pretrained(tmp_path)
    vlm.loaded.processor.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).quantization_config["bnb_4bit_quant_type"] == "nf4"
    again = LocalVLM.from_folder(tmp_path, quantize=False, device="cpu", image_loader=_grey)
    assert again.loaded.quantized
    assert again.loaded.model.get_memory_footprint() == vlm.loaded.model.get_memory_footprint()
    assert same(again.bind_tools([Look], tool_choice="required", max_calls=1).invoke(dialogue()), first)


def _grey(_: str) -> Image.Image:
    return Image.new("RGB", (64, 64), (128, 128, 128))


def test_another_nano_is_a_folder_too(folders: dict[str, Path], store: ModelStore) -> None:
    vlm = load_generalist(f"nano:{folders['nano']}", store=store, device="cpu")
    assert isinstance(vlm, LocalVLM) and vlm.loaded.name == str(folders["nano"])


def test_one_model_in_memory_for_each_folder(folders: dict[str, Path], store: ModelStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: store.get(folders["nano"], quantize=False), range(4)))
    assert len({id(m) for m in loaded}) == 1


def test_missing_and_changed_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        LocalVLM.from_folder(tmp_path / "none")
    assert caught.value.hint and caught.value.exit_code == 3
    for file in folders["nano"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.json").write_text(
        json.dumps({"files": {"model.safetensors": {"sha256": "0" * 64}}})
    )
    with pytest.raises(WeightsMissing, match="changed"):
        LocalVLM.from_folder(tmp_path)


def test_unknown_profile_lists_the_profiles() -> None:
    for profile in ("tiny", "nano:", "hub:", "server:http://localhost#", ""):
        with pytest.raises(BadInput) as caught:
            load_generalist(profile)
        assert "server:URL#MODEL" in caught.value.line()


def test_hub_model_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable) as caught:
        load_generalist("hub:nobody/no-such-model@main")
    assert "network" in caught.value.hint
