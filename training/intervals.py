"""The interval behind every share that is printed."""

from __future__ import annotations

import math


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, within 0..1 (Wilson 1927); 0 to 1 for n = 0."""
    if n == 0:
        return 0.0, 1.0
    p, square = hits / n, z * z
    middle = (p + square / (2 * n)) / (1 + square / n)
    half = z * math.sqrt(p * (1 - p) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(hits: int, n: int) -> str:
    """A share with its 95 % Wilson interval, for print."""
    low, high = wilson(hits, n)
    return f"{100 * hits / n:5.1f} % [{100 * low:4.1f}, {100 * high:5.1f}]" if n else "-"
