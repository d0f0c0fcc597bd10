"""Patient context from a message: age, sex, site, how long, what it does. Plain values, nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from .scope import Word, read
from .words import rules

Plain = str | float | bool

_YEARS = {"d": 1 / 365.25, "w": 7 / 365.25, "m": 1 / 12, "y": 1.0, "h": 1 / 8766}


@cache
def _patterns(name: str) -> tuple[re.Pattern[str], ...]:
    """The regular expressions of one kind, with `NUMBER`, `UNIT` and `SITE` filled in."""
    table = rules("patient")
    sites = "|".join(sorted(table["sites"].split("|"), key=len, reverse=True))
    parts = {
        "NUMBER": f"({table['number']})",
        "UNIT": f"({table['unit']})",
        "SITE": f"({table['side']}(?:{sites}))",
    }
    out = []
    for pattern in table[name]:
        for key, value in parts.items():
            pattern = pattern.replace(key, value)
        out.append(re.compile(pattern))
    return tuple(out)


def patient_context(text: str, given: Mapping[str, Any] | None = None) -> dict[str, Plain]:
    """Reads what a message says about the patient.

    Args:
        text: The user's words.
        given: An input form or earlier turns; its `age` and `sex` win over the words, the rest is older.

    Returns:
        Any of `age` (years), `sex` ("female", "male"), `site` (as said), `duration` (as said), `changed`,
        `bleeds`, `itches`, `hurts` (bool; False only where the words deny it). What is not said is absent.
    """
    plain, words = read(text)
    found: dict[str, Plain] = {}
    age = _age(plain)
    if age is not None:
        found["age"] = age
    sex = _sex(plain)
    if sex:
        found["sex"] = sex
    site = _site(plain)
    if site:
        found["site"] = site
    duration = _duration(plain)
    if duration:
        found["duration"] = duration
    found |= _does(words)
    known = {k: v for k, v in (given or {}).items() if v is not None and v != ""}
    return {**known, **found, **{k: v for k, v in known.items() if k in ("age", "sex")}}


def _value(number: str) -> float:
    words = rules("patient")["number_words"]
    return float(words[number]) if number in words else float(number)


def _first(name: str, plain: str) -> re.Match[str] | None:
    return next((m for p in _patterns(name) if (m := p.search(plain))), None)


def _age(plain: str) -> float | None:
    match = _first("age", plain)
    if not match:
        return None
    unit = match.group(2)[0] if (match.lastindex or 1) > 1 else "y"
    years = round(_value(match.group(1)) * _YEARS[unit], 2)
    return float(years) if years <= 120 else None


def _sex(plain: str) -> str:
    short = _first("short_sex", plain)
    if short:
        return "female" if "f" in short.groups() else "male"
    hits = sorted((m.start(), sex) for sex in ("female", "male") if (m := _first(sex, plain)))
    return hits[0][1] if hits else ""


def _site(plain: str) -> str:
    match = _first("site", plain)
    return re.sub(r"\b(?:the|my|his|her)\s+", "", match.group(1)).strip() if match else ""


def _duration(plain: str) -> str:
    without_age = _patterns("age")[0].sub(" ", plain)
    match = _first("lasts", without_age)
    if match:
        return f"{match.group(1)} {match.group(2)}"
    vague = _first("vague", without_age)
    return vague.group(1) if vague else ""


def _does(words: list[Word]) -> dict[str, Plain]:
    out: dict[str, Plain] = {}
    for key, said in rules("patient")["does"].items():
        known = frozenset(said.split())
        hits = [w for w in words if w.text in known and not w.asked and not w.other == 1]
        if not hits:
            continue
        denied = [
            w.negator >= 0 or w.past and key != "changed" or w.text in rules("patient")["deny"].split()
            for w in hits
        ]
        out[key] = not all(denied)
    return out
