"""Measures `agent.grounding`: corrupted statements caught, faithful paraphrases passed.

Usage: `python -m clarify.bench.verify [--seed N] [--show N]`. Both kinds are made from the shipped facts and
the wordings of `bench/wordings.toml`; a relation is only swapped for one that the same words do not state.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..agent.answer import Statement
from ..agent.frames import other_of
from ..agent.grounding import check
from ..agent.lexicon import Lexicon
from ..graph_schema.predicates import PREDICATES, state
from ..graph_schema.protocol import FactRow, SourceRef
from ..training.intervals import wilson

ROOT = Path(__file__).resolve().parent.parent
PER_TYPE = 250


@dataclass(frozen=True)
class Case:
    """One statement, its row, and where it came from."""

    kind: str
    text: str
    row: FactRow


@dataclass(frozen=True)
class World:
    """The shipped facts as rows, and the names in them."""

    rows: list[FactRow]
    diseases: list[tuple[str, str]]
    lexicon: Lexicon


def load_world(folder: Path = ROOT / "graph_schema" / "facts") -> World:
    """Reads the fact files (no graph needed)."""
    paths = [p for p in sorted(folder.glob("*.toml")) if p.stem != "sources"]
    files = [tomllib.loads(p.read_text(encoding="utf-8")) for p in paths]
    named = {d["disease"]["curie"]: d["disease"]["name"] for d in files if "disease" in d}
    names = [
        (d["disease"]["curie"], n)
        for d in files
        if "disease" in d
        for key in ("name", "synonyms", "lay", "abbreviations")
        for n in ([d["disease"][key]] if key == "name" else d["disease"].get(key, []))
    ]
    rows = []
    for d in files:
        subject = d.get("disease", {})
        for f in d.get("fact", []):
            other = named.get(f.get("other", ""), "")
            if f["predicate"] == "differs from" and not other:
                continue
            rows.append(
                FactRow(
                    fact_id=f["id"],
                    statement=state(f["predicate"], subject["name"], f["object"], other),
                    source=SourceRef(id=f["source"], title=""),
                    subject=subject["name"],
                    predicate=f"{f['predicate']} {other}".strip(),
                    object=f["object"],
                    subject_curie=subject["curie"],
                )
            )
    terms = [r.object for r in rows if r.predicate in ("first-line treatment", "further treatment")]
    return World(rows, sorted(named.items()), Lexicon.build(names, terms))


def say(template: str, row: FactRow, **changed: str) -> str:
    """Fills a wording with a row, some of it changed."""
    parts = {"S": row.subject, "O": row.object, "D": other_of(row)} | changed
    text = template
    for key, value in parts.items():
        text = text.replace(f"{{{key}}}", value)
    return text[0].upper() + text[1:]


def relation(row: FactRow) -> str:
    """The row's predicate without the other disease's name."""
    return "differs from" if other_of(row) else row.predicate


# --- faithful


def _turned(obj: str) -> str:
    """Says "A and B" as "B and A", where nothing else hangs on the order."""
    if re.search(r"\b(?:than|with|of|in|to|from|on|by|for|at|or|between|\d+)\b", obj):
        return obj
    return re.sub(r"^([\w\- ]+) and ([\w\- ]+)$", r"\2 and \1", obj)


def _object_forms(obj: str, rng: random.Random) -> str:
    """The object as somebody else would write it, the meaning kept."""
    words = {"2": "two", "3": "three", "4": "four", "5": "five", "6": "six"}
    forms: list[Callable[[str], str]] = [
        lambda o: o,
        lambda o: o,
        lambda o: re.sub(r"^(?:a|an|the) ", "", o),
        lambda o: re.sub(r"(?<![\d.])([2-6])(?![\d.])", lambda m: words[m.group()], o),
        lambda o: o.replace("colour", "color").replace("tumour", "tumor").replace("grey", "gray"),
        lambda o: re.sub(r"\bperson\b", "patient", o.replace("excision", "removal")),
        _turned,
        lambda o: o.replace("may ", "can ").replace(" %", " percent"),
    ]
    return rng.choice(forms)(obj)


def faithful(world: World, wordings: dict[str, list[str]], rng: random.Random) -> Iterator[Case]:
    """Every row in one wording, by turns."""
    for n, row in enumerate(world.rows):
        options = wordings[relation(row)]
        yield Case(relation(row), say(options[n % len(options)], row, O=_object_forms(row.object, rng)), row)


# --- corrupted

_DRUG_ENDINGS = (
    "mab|azole|icin|olone|ine|inib|oids?|roids?|retin|acil|ycline|ate|ol|one|ide|mod|gel|tacrolimus"
)
_TREATMENTS = (
    "cryotherapy|excision|curettage|emollients?|radiotherapy|laser|surgery|phototherapy|immunotherapy"
)
_DRUG = re.compile(rf"\b(?:\w+(?:{_DRUG_ENDINGS})|{_TREATMENTS})\b")


@cache
def _wordings() -> dict[str, Any]:
    path = Path(__file__).parent / "wordings.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _pairs(name: str) -> dict[str, str]:
    said = (pair.replace("_", " ").split(">") for pair in _wordings()["corrupt"][name].split())
    return {old: new for old, new in said}


def _negate(text: str, row: FactRow) -> str:
    """The statement denied; a warning permitted."""
    table = _wordings()["corrupt"]
    hidden = text.replace(row.object, "#" * len(row.object))
    for old, new in table["permit" if relation(row) == "avoid" else "deny"]:
        at = hidden.find(old)
        if at >= 0:
            return f"{text[:at]}{new}{text[at + len(old) :]}"
    return "" if relation(row) == "avoid" else f"It is not true that {text}"


def _swap_words(table: dict[str, str], rng: random.Random) -> Callable[[str], str]:
    def swap(obj: str) -> str:
        found = [m for m in re.finditer(r"[A-Za-z]+|%", obj) if m.group() in table]
        if not found:
            return obj
        m = rng.choice(found)
        return obj[: m.start()] + table[m.group()] + obj[m.end() :]

    return swap


def corrupted(
    world: World, wordings: dict[str, list[str]], rng: random.Random, per_type: int = PER_TYPE
) -> list[Case]:
    """At most `per_type` statements of every kind of corruption, each under a citation that exists."""
    drugs = _wordings()["corrupt"]["drugs"].split()

    def wording(row: FactRow, of: str = "") -> str:
        return str(rng.choice(wordings[of or relation(row)]))

    def number(obj: str) -> str:
        found = list(re.finditer(r"\d+(?:\.\d+)?", obj))
        if not found:
            return obj
        m = rng.choice(found)
        value = float(m.group())
        changed = (value + 1, value * 2, value * 10, max(value - 1, 0.5), value + 5)
        other = rng.choice([v for v in changed if v != value])
        return f"{obj[: m.start()]}{other:g}{obj[m.end() :]}"

    def drug(obj: str) -> str:
        found = [m for m in _DRUG.finditer(obj)]
        new = rng.choice(drugs)
        return (
            f"{obj[: found[0].start()]}{new}{obj[found[0].end() :]}"
            if found and found[0].group() != new
            else obj
        )

    def named(row: FactRow) -> str:
        near = {row.subject, other_of(row)}
        names = [n for _, n in world.diseases if n not in near]
        return rng.choice([n for n in names if n not in row.object and row.subject not in n])

    def in_object(change: Callable[[str], str]) -> Callable[[FactRow], str]:
        def make(row: FactRow) -> str:
            changed = change(row.object)
            return "" if changed == row.object else say(wording(row), row, O=changed)

        return make

    def disease(row: FactRow) -> str:
        template = wording(row)
        slots = [s for s in ("S", "D") if f"{{{s}}}" in template]
        return say(template, row, **{rng.choice(slots): named(row)}) if slots else ""

    def wrong_relation(row: FactRow) -> str:
        wrong = _wordings()["corrupt"]["relations"][relation(row)]
        if not wrong:  # a differential said the wrong way round, where the wording has a direction
            directed = [w for w in wordings["differs from"] if "{D}" in w and "{S}" in w]
            template = rng.choice([w for w in directed if "{S} and {D}" not in w])
            return say(template, row, S=other_of(row), D=row.subject)
        return say(wording(row, rng.choice(wrong)), row)

    def object_of_another(row: FactRow) -> str:
        alike = [r for r in world.rows if r.predicate == row.predicate and r.subject != row.subject]
        alike = [r for r in alike if r.object != row.object]
        return say(wording(row), row, O=rng.choice(alike).object) if alike else ""

    def added(row: FactRow) -> str:
        return say(wording(row), row, O=f"{row.object} and {rng.choice(drugs)}")

    def other_drug(row: FactRow) -> str:
        treating = "treatment" in row.predicate or row.predicate == "avoid"
        return in_object(drug)(row) if treating else ""

    makers: dict[str, Callable[[FactRow], str]] = {
        "negation": lambda row: _negate(say(wording(row), row), row),
        "number": in_object(number),
        "unit": in_object(_swap_words(_pairs("units"), rng)),
        "drug": other_drug,
        "disease": disease,
        "relation": wrong_relation,
        "qualifier": in_object(_swap_words(_pairs("antonyms"), rng)),
        "another row": object_of_another,
        "added claim": added,
    }
    out: list[Case] = []
    for kind, make in makers.items():
        made: dict[str, Case] = {}
        for row in (r for _ in range(12) for r in rng.sample(world.rows, len(world.rows))):
            if len(made) >= per_type:
                break
            text = make(row)
            if text:
                made.setdefault(text, Case(kind, text, row))
        out += made.values()
    return out


# --- counting


def passes(case: Case, world: World) -> str:
    """The reason a case is refused; an empty string when it is supported."""
    row = case.row
    statement = Statement(text=case.text, citations=[row.fact_id], kind="fact")
    verdict = check(statement, {row.fact_id: row}, {}, world.lexicon)
    return "" if verdict.supported else verdict.reason


def measure(seed: int = 0, per_type: int = PER_TYPE) -> dict[str, list[tuple[Case, str]]]:
    """Runs all: cases with the reason each was refused ("" = passed), by tuned, held_out and corrupted."""
    world = load_world()
    wordings = _wordings()
    both = {p: wordings["tuned"][p] + wordings["held_out"][p] for p in PREDICATES}
    sets: dict[str, Sequence[Case]] = {
        "tuned": list(faithful(world, wordings["tuned"], random.Random(seed))),
        "held_out": list(faithful(world, wordings["held_out"], random.Random(seed + 1))),
        "corrupted": corrupted(world, both, random.Random(seed + 2), per_type),
    }
    return {name: [(c, passes(c, world)) for c in cases] for name, cases in sets.items()}


def _table(title: str, results: Sequence[tuple[Case, str]], caught: bool) -> None:
    print(f"\n{title}")
    kinds = sorted({c.kind for c, _ in results})
    for kind in [*kinds, "all"]:
        mine = [bool(reason) == caught for c, reason in results if kind in (c.kind, "all")]
        low, high = wilson(sum(mine), len(mine))
        share = f"{100 * sum(mine) / len(mine):6.2f} %   [{100 * low:.2f}, {100 * high:.2f}]"
        print(f"  {kind:22} {sum(mine):5}/{len(mine):<5} {share}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both rates; exit code 1 when either misses its target (99 % caught, 95 % passed)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many mistakes of each kind")
    parser.add_argument("--show-set", default="tuned,corrupted")
    args = parser.parse_args(argv)
    results = measure(args.seed)
    _table("Faithful paraphrases passed (wordings the rules were tuned on)", results["tuned"], caught=False)
    _table("Faithful paraphrases passed (held-out wordings)", results["held_out"], caught=False)
    _table("Corrupted statements caught (valid citation)", results["corrupted"], caught=True)
    for name in args.show_set.split(",") if args.show else ():
        wrong = [(c, r) for c, r in results[name] if bool(r) != (name == "corrupted")]
        for c, reason in wrong[: args.show]:
            print(f"{name} {c.kind}: {c.text}\n    row: {c.row.statement}  {reason}", file=sys.stderr)
    passed = sum(not r for _, r in results["held_out"]) / len(results["held_out"])
    caught = sum(bool(r) for _, r in results["corrupted"]) / len(results["corrupted"])
    return int(passed < 0.95 or caught < 0.99)


if __name__ == "__main__":
    sys.exit(main())
