"""Pictures with what they show in a sentence: what a generalist is aligned with before it learns to talk."""

from __future__ import annotations

import random

from .dialogues import Kind, Message
from .phrasing import PHRASING
from .pictures import PictureBank
from .wording import Wording
from .world import Split

KINDS: dict[Kind, float] = {"lesion": 0.6, "skin_other": 0.15, "not_skin": 0.25}


class Captions:
    """Writes dialogues of one picture, a question what it shows, and its caption.

    Args:
        split: Whose wordings and pictures.
        bank: The pictures.
    """

    def __init__(self, split: Split, bank: PictureBank) -> None:
        self._split, self._bank, self._wording = split, bank, Wording(split)

    def make(self, rng: random.Random) -> list[Message]:
        """Makes one."""
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        index, _ = self._bank.draw(rng, kind, self._split)
        caption = PHRASING["caption"][kind].format(x=self._bank.what[index])
        asked = self._wording.pick(rng, "caption", "any")
        return [
            Message("user", asked, images=[("img1", index)], kind="caption"),
            Message("assistant", caption, target=True),
        ]
