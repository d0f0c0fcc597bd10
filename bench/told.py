"""Measures what the agent makes of a question that only tells signs: which conditions it finds.

Usage: `python -m clarify.bench.told [--seen] [--show]`. The cases (`told.toml`) are descriptions in lay
words, each with the conditions that a dermatologist would name first, and questions that tell too little.
Those held out were not looked at while the rules of reading and ranking were written (only once for the
rule when a search is asked for, which is not measured here), those `--seen` were. Beside ours stands the
plain rule: the conditions with most of the told signs, however common these are, and never silence.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..graph_schema.multihop import conditions_with
from ..graph_schema.protocol import ConditionRow, KnowledgeGraph
from ..graph_schema.stores import open_graph
from ..graph_schema.told import find_told
from ..tools.conditions import MOST, fitting
from ..training.intervals import share

CASES = Path(__file__).with_name("told.toml")


def ranked(kg: KnowledgeGraph, question: str) -> list[ConditionRow]:
    """Every condition that fits some of what a question tells, best first."""
    told = find_told(kg, question)
    return conditions_with(kg, told.signs, told.sites, 100) if told.signs else []


def verdict(shown: Sequence[str], right: Sequence[str]) -> str:
    """`first`, `among`, `wrong`, or `silent` when nothing is shown."""
    if not shown:
        return "silent"
    return "first" if shown[0] in right else "among" if set(shown) & set(right) else "wrong"


def plain(rows: Sequence[ConditionRow]) -> list[str]:
    """The baseline: the conditions that have most of the told signs."""
    most = max((len(row.matched) for row in rows), default=0)
    return [row.subject for row in rows if len(row.matched) == most][:MOST]


def measure(kg: KnowledgeGraph, cases: dict[str, Any], *, show: bool = False) -> dict[str, Counter[str]]:
    """Counts verdicts of both rules; of questions that tell too little, whether anything was shown."""
    counts: dict[str, Counter[str]] = {"ours": Counter(), "plain": Counter(), "nothing": Counter()}
    for case in cases["told"]:
        rows = ranked(kg, case["question"])
        shown = [row.subject for row in fitting(rows)[1]]
        counts["ours"][verdict(shown, case["conditions"])] += 1
        counts["plain"][verdict(plain(rows), case["conditions"])] += 1
        if show and verdict(shown, case["conditions"]) != "first":
            print(f"  {case['conditions'][0]}: {case['question'][:80]} -> {shown}")
    for case in cases["nothing"]:
        counts["nothing"]["shown" if fitting(ranked(kg, case["question"]))[1] else "silent"] += 1
    return counts


def main() -> None:
    """Prints the shares with their 95 % Wilson intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seen", action="store_true", help="the cases that the rules were written with")
    parser.add_argument("--show", action="store_true", help="list what was not found first")
    args = parser.parse_args()
    cases = tomllib.loads(CASES.read_text(encoding="utf-8"))["seen" if args.seen else "held_out"]
    kg = open_graph(None)
    try:
        counts = measure(kg, cases, show=args.show)
    finally:
        kg.close()
    for name in ("ours", "plain"):
        seen = counts[name]
        n, answered = seen.total(), seen.total() - seen["silent"]
        print(f"{name}: answered {share(answered, n)}, n = {n}")
        print(f"  of these, n = {answered}, the right condition first {share(seen['first'], answered)}")
        print(f"  of these the right condition among them {share(seen['first'] + seen['among'], answered)}")
    print(f"told too little and yet answered: {share(counts['nothing']['shown'], counts['nothing'].total())}")


if __name__ == "__main__":
    main()
