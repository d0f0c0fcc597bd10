"""How questions are worded: the tables of `wordings/`, and how training varies that."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path

from .world import WORDS, Split

Wordings = dict[str, dict[str, list[str]]]
_HERE = Path(__file__).parent
_SLOT = re.compile(r"\{d\d?\}")


def load_wordings(split: Split) -> Wordings:
    """Reads every `wordings/<split>*.toml`: `{group: {intent: [wording]}}`."""
    merged: Wordings = {}
    for file in sorted((_HERE / "wordings").glob(f"{split}*.toml")):
        for group, intents in tomllib.loads(file.read_text(encoding="utf-8")).items():
            for intent, table in intents.items():
                merged.setdefault(group, {}).setdefault(intent, []).extend(table["w"])
    return merged


class Wording:
    """Draws wordings of one split; on the training side it also varies them.

    Args:
        split: Whose tables are used.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.words = load_wordings(split)

    def pick(self, rng: random.Random, group: str, intent: str, **slots: str) -> str:
        """Draws a wording and fills its slots.

        In training one word in some sentences is lost, a name gets a neighbour it did not have (so that a
        name ends where it ends, not where a template does), and a named question may be a sentence that
        names the disease and a question that does not.
        """
        if self.split == "train" and group == "named" and rng.random() < 0.25:
            text = f"{rng.choice(self.words['context']['any'])} {rng.choice(self.words['follow'][intent])}"
        else:
            text = self._lose(rng, rng.choice(self.words[group][intent]))
        text = self._neighbour(rng, text)
        for key, value in slots.items():
            text = text.replace("{" + key + "}", value)
        return text

    def _lose(self, rng: random.Random, text: str) -> str:
        words = text.split(" ")
        if self.split == "train" and len(words) > 4 and rng.random() < 0.2:
            lost = rng.randrange(len(words))
            if "{" not in words[lost]:
                return " ".join(words[:lost] + words[lost + 1 :])
        return text

    def _neighbour(self, rng: random.Random, text: str) -> str:
        slots = list(_SLOT.finditer(text))
        if self.split == "test" or not slots or rng.random() > 0.25:
            return text
        slot = rng.choice(slots)
        if rng.random() < 0.5:
            return f"{text[: slot.start()]}{rng.choice(WORDS['before'])} {text[slot.start() :]}"
        return f"{text[: slot.end()]} {rng.choice(WORDS['after'])}{text[slot.end() :]}"
