"""Takes captions apart with a chat model; what the caption does not say literally is dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

from ...errors import BadInput
from .aspects import SUB_CAPTIONS, Aspects
from .decompose import concepts_sentence, diagnosis_sentence, is_diagnosed, is_there
from .ontology import Ontology
from .wording import folded_in, split_sentences, words

_PROMPT = Path(__file__).parents[2] / "prompts" / "decompose.txt"


class LLMDecomposer:
    """Takes captions apart with a LangChain chat model, which finds wordings that no table has."""

    def __init__(self, model: BaseChatModel, ontology: Ontology) -> None:
        """Keeps a model and what its answers are held against.

        Args:
            model: Any chat model.
            ontology: Gives the path of the disease; one that it lacks stands without a path.
        """
        self._model = model
        self._ontology = ontology
        listed = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in words().concepts.items())
        self._prompt = _PROMPT.read_text(encoding="utf-8").strip().replace("{concepts}", listed)

    def decompose(self, caption: str) -> Aspects:
        """Takes a caption apart; an empty one without asking.

        Raises:
            BadInput: The model's answer is not the JSON that it was asked for.
        """
        if not caption.strip():
            return Aspects(caption)
        answer = self._model.invoke([SystemMessage(self._prompt), HumanMessage(caption)])
        said = read_answer(str(answer.text))
        return Aspects(
            caption=caption,
            diagnosis=diagnosis_sentence(self._path(caption, said["disease"])),
            concepts=concepts_sentence(_concepts(caption, said["concepts"])),
            sub_captions=tuple(split_sentences(caption)[:SUB_CAPTIONS]),
        )

    def _path(self, caption: str, disease: str) -> tuple[str, ...]:
        if not any(is_diagnosed(sentence, span) for sentence, span in _places(disease, caption)):
            return ()
        id_ = self._ontology.named(disease)
        return self._ontology.path(id_) if id_ else (disease.strip(),)


def read_answer(text: str) -> dict[str, Any]:
    """Reads a model's answer: a JSON object, perhaps in a fence or among words.

    Returns:
        `disease`, a text that may be empty, and `concepts`, a table of concept -> quote.

    Raises:
        BadInput: There is no object, or it has something else in those places.
    """
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else (None, 0)
    except (ValueError, RecursionError) as error:
        raise _unreadable(text) from error
    if not isinstance(found, dict):
        raise _unreadable(text)
    disease, concepts = found.get("disease") or "", found.get("concepts") or {}
    if not isinstance(disease, str) or not isinstance(concepts, dict):
        raise _unreadable(text)
    if not all(isinstance(quote, str) for quote in concepts.values()):
        raise _unreadable(text)
    return {"disease": disease, "concepts": concepts}


def _unreadable(text: str) -> BadInput:
    return BadInput(
        f"the model's answer cannot be read: {text[:120]!r}",
        hint="Use a model that writes JSON, or RuleDecomposer.",
    )


def _concepts(caption: str, quotes: Mapping[str, str]) -> tuple[str, ...]:
    """The concepts of the vocabulary whose quote the caption has and does not deny."""
    known = {concept for names in words().concepts.values() for concept in names}
    return tuple(
        concept
        for concept, quote in quotes.items()
        if concept in known and any(is_there(sentence, span) for sentence, span in _places(quote, caption))
    )


def _places(phrase: str, caption: str) -> list[tuple[str, tuple[int, int]]]:
    """Where a caption has a phrase: the sentence, and the stretch of it."""
    return [(sentence, span) for sentence in split_sentences(caption) for span in folded_in(phrase, sentence)]
