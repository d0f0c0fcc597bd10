"""How questions are worded: the tables of `wordings/`, and how training varies that."""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter
from pathlib import Path

from .world import WORDS, Split

Wordings = dict[str, dict[str, list[str]]]
_HERE = Path(__file__).parent
_FEW, _SHARE = 20, 0.35
"""A common word is in so many questions, and no intent has more than this share of them."""
_SLOT = re.compile(r"\{d\d?\}")


def load_wordings(split: Split) -> Wordings:
    """Reads every `wordings/<split>*.toml`: `{group: {intent: [wording]}}`."""
    merged: Wordings = {}
    for file in sorted((_HERE / "wordings").glob(f"{split}*.toml")):
        for group, intents in tomllib.loads(file.read_text(encoding="utf-8")).items():
            for intent, table in intents.items():
                merged.setdefault(group, {}).setdefault(intent, []).extend(table["w"])
    return merged


def misspelt(rng: random.Random, word: str) -> str:
    """The word with one letter left out, doubled, or swapped with the next."""
    at = rng.randrange(max(1, len(word) - 1))
    kept = rng.choice((word[at + 1 : at + 2], word[at] * 2 + word[at + 1 : at + 2], word[at : at + 2][::-1]))
    return word[:at] + kept + word[at + 2 :] if len(word) > 3 else word


def _common(intents: dict[str, list[str]]) -> frozenset[str]:
    """Words that no intent has for itself, so that what is asked for does not hang on them."""
    seen = {
        intent: Counter(word for text in wordings for word in set(map(_bare, text.split())))
        for intent, wordings in intents.items()
    }
    total = sum(seen.values(), Counter[str]())
    most = {word: max(counts[word] for counts in seen.values()) for word in total}
    return frozenset(w for w, n in total.items() if len(seen) == 1 or (n >= _FEW and most[w] <= n * _SHARE))


def _bare(word: str) -> str:
    return word.lower().strip(",.?!")


def joined(text: str, clause: str) -> str:
    """A question with a further clause behind it."""
    end = "?" if text.endswith("?") else ""
    return f"{text.rstrip('?.! ')}, and {clause}{end}"


class Wording:
    """Draws wordings of one split; on the training side it also varies them.

    Args:
        split: Whose tables are used.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.words = load_wordings(split)
        self._common = {group: _common(intents) for group, intents in self.words.items()}

    def pick(self, rng: random.Random, group: str, intent: str, **slots: str) -> str:
        """Draws a wording and fills its slots.

        In training some words are lost, swapped or misspelt, a name gets a neighbour it did not have (so that
        a name ends where it ends, not where a template does), and a named question may be a sentence that
        names the disease and a question that does not.
        """
        if self.split == "train" and group == "named" and rng.random() < 0.25:
            text = f"{rng.choice(self.words['context']['any'])} {rng.choice(self.words['follow'][intent])}"
        else:
            text = self._disturb(rng, rng.choice(self.words[group][intent]), self._common[group])
        text = self._neighbour(rng, text)
        for key, value in slots.items():
            text = text.replace("{" + key + "}", value)
        return text

    def _disturb(self, rng: random.Random, text: str, common: frozenset[str]) -> str:
        """Loses, swaps or misspells words, as people in a hurry do; what is lost is common to questions."""
        words = text.split(" ")
        if self.split == "test" or len(words) < 5 or (chance := rng.random()) > 0.42:
            return text
        plain = [i for i, word in enumerate(words) if "{" not in word]
        if chance < 0.28:
            little = [i for i in plain if _bare(words[i]) in common]
            lost = set(rng.sample(little, min(len(little), 1 if chance < 0.16 else 3)))
            words = [word for i, word in enumerate(words) if i not in lost]
        elif chance < 0.34 and (pairs := [i for i in plain if i + 1 in plain]):
            at = rng.choice(pairs)
            words[at : at + 2] = words[at + 1], words[at]
        elif plain:
            at = rng.choice(plain)
            words[at] = misspelt(rng, words[at])
        return " ".join(words)

    def _neighbour(self, rng: random.Random, text: str) -> str:
        slots = list(_SLOT.finditer(text))
        if self.split == "test" or not slots or rng.random() > 0.25:
            return text
        slot = rng.choice(slots)
        if rng.random() < 0.5:
            return f"{text[: slot.start()]}{rng.choice(WORDS['before'])} {text[slot.start() :]}"
        return f"{text[: slot.end()]} {rng.choice(WORDS['after'])}{text[slot.end() :]}"
