"""What age, sex and site say about a lesion before anybody looks at it, to refine the specialist.

Bayes' rule with the three taken as independent given the class: log p(known | class) / p(known), times a
strength below 1 because they are not quite independent, nor of the picture. What is unknown adds nothing.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

OLDEST = 120
DECADES = 9
Known = dict[str, float | str]


class PatientPrior(BaseModel):
    """Tables fitted on the training side, kept in ``calibration.json``; one number per class everywhere.

    Attributes:
        strength: What the log ratios are multiplied by.
        decade: Log ratios of ages below 10, below 20, and so on; the last row has all who are older.
        sex: Log ratios of ``female`` and ``male``.
        site: Log ratios of the sites of the training pictures.
    """

    model_config = ConfigDict(frozen=True)

    strength: float
    decade: list[list[float]]
    sex: dict[str, list[float]]
    site: dict[str, list[float]]

    def known(self, patient: Mapping[str, Any] | None) -> Known:
        """Picks what can be used of a patient's context: ``age`` in years, ``sex``, ``site`` as trained.

        Args:
            patient: As `agent.patient.patient_context` gives it; a site may be said in everyday words.
        """
        given, found = patient or {}, Known()
        age = given.get("age")
        if isinstance(age, int | float) and not isinstance(age, bool) and 0 < age <= OLDEST:
            found["age"] = float(age)
        if given.get("sex") in self.sex:
            found["sex"] = given["sex"]
        site = site_of(str(given.get("site") or ""))
        if site in self.site:
            found["site"] = site
        return found

    def shift(self, known: Known) -> NDArray[np.float64]:
        """What to add to the scaled logits, (classes,); zeros when nothing is known."""
        total = np.zeros(len(self.decade[0]))
        if "age" in known:
            total += self.decade[decade_of(float(known["age"]))]
        for name, table in (("sex", self.sex), ("site", self.site)):
            if name in known:
                total += table[str(known[name])]
        return self.strength * total

    def shifts(self, patients: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """`shift` of what is known of each patient, (n, classes)."""
        return np.stack([self.shift(self.known(patient)) for patient in patients])


def decade_of(age: float) -> int:
    """The row of `PatientPrior.decade` of an age in years."""
    return min(int(age // 10), DECADES - 1)


@cache
def _sites() -> dict[tuple[str, ...], str]:
    """The training site of each everyday word or pair of words."""
    table = tomllib.loads(Path(__file__).with_name("body_sites.toml").read_text(encoding="utf-8"))
    return {tuple(words.split()): site for site, said in table.items() for words in (site, *said)}


def site_of(said: str) -> str:
    """The training site of a place on the body as people say it: ``back of my hand`` is ``hand``.

    Returns:
        A site of `PatientPrior.site`, or an empty string where the words name none or leave it open.
    """
    words = said.lower().split()
    for end in range(len(words), 0, -1):
        for start in (end - 2, end - 1):
            if start >= 0 and tuple(words[start:end]) in _sites():
                return _sites()[tuple(words[start:end])]
    return ""


def log_ratios(counts: NDArray[np.float64], pseudo: float = 20.0) -> list[list[float]]:
    """Log p(value | class) / p(value) from counts, with `pseudo` patients a class spread like all.

    Args:
        counts: (values, classes).
        pseudo: Shrinks rare classes towards no evidence.

    Returns:
        (values, classes); zeros, which say nothing, for a value that nobody had.
    """
    share = counts.sum(1, keepdims=True) / counts.sum()
    likely = (counts + pseudo * share) / (counts.sum(0, keepdims=True) + pseudo)
    ratio = np.divide(likely, share, out=np.ones_like(likely), where=share > 0)
    return [[round(math.log(v), 4) for v in row] for row in ratio.tolist()]
