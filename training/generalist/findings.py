"""What the specialist says of a picture in a made-up dialogue, and how an answer says it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ...tools.render import OUT_OF_SCOPE
from .phrasing import PHRASING


@dataclass
class Finding:
    """What the specialist says of a picture, as the generalist reads it.

    Attributes:
        image: The picture's id in the dialogue.
        shares: The first labels by name with their probabilities in per cent, likeliest first.
        sure: Whether the first one counts as confident.
        shortlist: Labels that are left open, likeliest first.
        in_scope: Whether the picture is of the kind that the specialist knows; nothing else is said if not.
    """

    image: str
    shares: list[tuple[str, int]]
    sure: bool
    shortlist: list[str]
    in_scope: bool = True

    def render(self, second: bool = False) -> str:
        """The tool's result; `second` for that of a second look."""
        head = f"{self.image} second look" if second else self.image
        if not self.in_scope:
            return f"{head}: {OUT_OF_SCOPE}"
        shares = ", ".join(f"{name} {p} %" for name, p in self.shares)
        return f"{head}: {shares}; {'sure' if self.sure else 'unsure'}; shortlist {', '.join(self.shortlist)}"


def finding_of(rng: random.Random, image: str, items: Sequence[tuple[str, float]]) -> Finding:
    """A finding with these probabilities, best first; how long its shortlist is and what is sure varies."""
    shares = [(name, round(100 * p)) for name, p in items[:3]]
    size = 1
    while size < min(3, len(items)) and sum(p for _, p in items[:size]) < 0.9 and rng.random() < 0.9:
        size += 1
    if rng.random() < 0.05:
        size = rng.randint(1, 3)
    sure = items[0][1] >= rng.choice((0.6, 0.7, 0.8))
    return Finding(image, shares, sure, [name for name, _ in items[:size]])


def say_finding(finding: Finding, cite: str) -> list[str]:
    """Says a finding in scope, each sentence with its citation."""
    (top, share), *_ = finding.shares
    said = PHRASING["finding"]["sure" if finding.sure else "unsure"].format(s=top, p=share)
    lines = [said + cite]
    if not finding.sure:
        others = [name for name in finding.shortlist if name != top]
        lines += [PHRASING["finding"]["not_excluded"].format(x=name) + cite for name in others]
    return lines
