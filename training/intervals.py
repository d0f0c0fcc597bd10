"""The intervals behind what is printed: of shares, and of any other figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


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


def resampled(
    figure: Callable[..., Any], *columns: Sequence[float], rounds: int = 2000
) -> tuple[float, float, float]:
    """A figure with its 95 % percentile bootstrap interval (Efron 1979).

    Args:
        figure: Makes a number of arrays (n,), one for each column.
        *columns: Values, n each; those of one row are drawn together, so that columns stay paired.
        rounds: How often n rows are drawn.

    Returns:
        The figure, and the ends of its interval.
    """
    table = [np.asarray(column, dtype=float) for column in columns]
    rows = np.random.default_rng(0).integers(0, len(table[0]), (rounds, len(table[0])))
    drawn = [float(figure(*(column[row] for column in table))) for row in rows]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(figure(*table)), float(low), float(high)


def ratio_of_medians(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """How many times greater the median of the first column is, with its interval; rows are pairs."""
    return resampled(lambda a, b: np.median(a) / np.median(b), over, under)
