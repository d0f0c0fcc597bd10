"""Questions whose right call hangs on the picture alone, and the same with words that say what it is."""

from __future__ import annotations

import copy
import math
import random
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..training.generalist.dialogues import DialogueMaker, Kind, Message
from ..training.generalist.encode import segments
from ..training.generalist.pictures import PictureBank, small
from ..training.generalist.world import Split
from ..training.specialist.scenes import LEARNT, draw_many
from .trigger_player import own_steps

SHOWN: dict[str, Kind] = {
    "lesion": "lesion",
    "skin_other": "skin_other",
    "document": "not_skin",
    "landscape": "not_skin",
}
"""What a question is asked with, and what the script takes that for."""
Drawn = tuple[int, Mapping[str, float] | None]
Gallery = Mapping[str, Callable[[random.Random], Drawn]]
"""Draws the index of a picture, and what the specialist said of it, for each key of `SHOWN`."""
Sentences = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Case:
    """A question with a picture.

    Attributes:
        question: Its number; the cases of one number differ by the picture alone.
        shown: Key of `SHOWN`.
        second: Whether it is the second picture of the conversation; the first turn is then given.
        script: The dialogue, whose last turn is measured.
    """

    question: int
    shown: str
    second: bool
    script: list[Message]


class _Given:
    """Hands out pictures that were drawn before."""

    def __init__(self, drawn: Sequence[Drawn]) -> None:
        self._drawn = iter(drawn)

    def draw(self, rng: random.Random, kind: Kind, split: Split) -> Drawn:
        return next(self._drawn)


def draw_scenes(each: int, seed: int) -> dict[str, np.ndarray]:
    """Draws documents and landscapes that are in no bank; uint8, (each, 3, 64, 64) by name."""
    families = {name: LEARNT[name] for name in SHOWN if name in LEARNT}
    return {
        name: np.stack([small(Image.fromarray(picture)) for picture in drawn])
        for name, drawn in draw_many(families, each, seed).items()
    }


def gallery_of(bank: PictureBank, scenes: Mapping[str, np.ndarray]) -> Gallery:
    """Draws from the bank's held-back pictures and from scenes that stand behind them, in order."""

    def of_bank(kind: Kind) -> Callable[[random.Random], Drawn]:
        return lambda rng: bank.draw(rng, kind, "test")

    def of_scene(first: int, n: int) -> Callable[[random.Random], Drawn]:
        return lambda rng: (first + rng.randrange(n), None)

    gallery: dict[str, Callable[[random.Random], Drawn]] = {}
    first = len(bank.pixels)
    for name, kind in SHOWN.items():
        gallery[name] = of_scene(first, len(scenes[name])) if name in scenes else of_bank(kind)
        first += len(scenes.get(name, ()))
    return gallery


def picture_cases(maker: DialogueMaker, gallery: Gallery, n: int, seed: int) -> list[Case]:
    """Asks every question with each of `SHOWN`; every other one after a lesion was asked about.

    Args:
        maker: Of the held-back split; its own pictures are not used.
        gallery: Where the pictures come from.
        n: At least so many cases.
        seed: Names this row of questions.
    """
    maker, cases = copy.copy(maker), list[Case]()
    for number in range(math.ceil(n / len(SHOWN))):
        second = number % 2 == 1
        name = f"trigger/{seed}/{number}"
        before = [gallery["lesion"](random.Random(f"{name}/first"))] if second else []
        for shown, kind in SHOWN.items():
            maker.pictures = _Given([*before, gallery[shown](random.Random(f"{name}/{shown}"))])
            script = maker.make(random.Random(name), ["lesion", kind] if second else [kind])
            at = _last_question(script)
            given = [replace(message, target=False) for message in script[:at]]
            cases.append(Case(number, shown, second, given + script[at:]))
    return cases


def _last_question(script: Sequence[Message]) -> int:
    return max(at for at, message in enumerate(script) if message.role == "user")


def load_modality() -> dict[str, Sentences]:
    """`modality.toml`: true and wrong sentences by what is shown."""
    return tomllib.loads(Path(__file__).with_name("modality.toml").read_text(encoding="utf-8"))


def with_words(case: Case, sentences: Sentences, seed: int) -> Case:
    """The case with one of the sentences for what it shows, before the question or after it."""
    rng = random.Random(f"{seed}/{case.question}/{case.shown}")
    at, sentence = _last_question(case.script), rng.choice(sentences[case.shown])
    asked = case.script[at]
    text = f"{sentence} {asked.text}" if rng.random() < 0.5 else f"{asked.text} {sentence}"
    script = [*case.script[:at], replace(asked, text=text), *case.script[at + 1 :]]
    return replace(case, script=script)


def moved(script: Sequence[Message], order: Mapping[int, int]) -> list[Message]:
    """The dialogue with other pictures in the same places."""
    return [replace(m, images=[(name, order[index]) for name, index in m.images]) for m in script]


def text_ceiling(cases: Sequence[Case]) -> int:
    """In how many cases the first call can be right at most for who reads all of the text and no picture.

    Whoever sees the same text makes the same call: at best the one that is most often right after it.
    """
    by_text: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        at = _last_question(case.script)
        text = "".join(piece for piece, _ in segments(case.script[: at + 1], ""))
        by_text[text][str(own_steps(case.script, at)[:1])] += 1
    return sum(max(calls.values()) for calls in by_text.values())
