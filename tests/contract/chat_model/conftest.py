"""Every family of `families.py`, saved once and loaded once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from clarify.agent.generalist import LocalVLM, ModelStore
from clarify.tests.contract.chat_model.families import BUILDERS


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models by family."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    out = {name: tmp_path_factory.mktemp(name) for name in BUILDERS}
    for name, build in BUILDERS.items():
        build(out[name])
    return out


@pytest.fixture(scope="session")
def store() -> ModelStore:
    """One holder of loaded models for all tests."""
    return ModelStore()


def picture(sha: str) -> Image.Image:
    """A picture that depends on its reference: smooth colours, 96 x 64."""
    seed = torch.Generator().manual_seed(int(sha[:8], 16))
    noise = (torch.rand((8, 12, 3), generator=seed) * 255).to(torch.uint8).numpy()
    return Image.fromarray(noise).resize((96, 64))


@pytest.fixture(params=list(BUILDERS))
def vlm(request: pytest.FixtureRequest, folders: dict[str, Path], store: ModelStore) -> LocalVLM:
    """Every family in turn, in full precision, with an empty prefix cache."""
    return ready(folders[request.param], store)


@pytest.fixture
def nano(folders: dict[str, Path], store: ModelStore) -> LocalVLM:
    """The nano-shaped model, with an empty prefix cache."""
    return ready(folders["nano"], store)


def ready(folder: Path, store: ModelStore) -> LocalVLM:
    """Loads through the shared store."""
    model = LocalVLM.from_folder(folder, store=store, quantize=False, image_loader=picture, max_new_tokens=24)
    model.loaded.cache.clear()
    return model
