"""Does a sentence state the fact of a row? The frame it puts around the row's object, and what that says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..graph_schema.predicates import PREDICATES
from ..graph_schema.protocol import FactRow
from .findings import Verdict
from .lexicon import English, Item, Lexicon, english, matches, rewritten
from .words import stem, tokenise

COVERED = 0.75
"""Share of the object's content words that a statement must repeat (or a synonym of them)."""


def other_of(row: FactRow) -> str:
    """The second disease of a "differs from" row, else an empty string."""
    head = "differs from"
    return row.predicate[len(head) :].strip() if row.predicate.startswith(head) else ""


def check_rows(text: str, facts: Sequence[FactRow], lexicon: Lexicon, antecedent: frozenset[str]) -> Verdict:
    """Checks a sentence against one row, or several of one subject and relation ("... X and Y")."""
    row = facts[0]
    if any((f.subject, f.predicate) != (row.subject, row.predicate) for f in facts):
        return Verdict(False, "its rows have different relations")
    other = other_of(row)
    subject_key, other_key = row.subject_curie or f"name:{row.subject}", f"name:{other}"
    extra = [(subject_key, row.subject), (other_key, other)]
    said = lexicon.items(rewritten(text), extra)
    subject = frozenset([subject_key]) | meaning(row.subject, lexicon, extra)
    foil = (frozenset([other_key]) | meaning(other, lexicon, extra)) - subject if other else frozenset()
    objects = [lexicon.items(rewritten(f.object), extra) for f in facts]
    frame, reason = _frame(said, objects, subject, foil)
    if reason:
        return Verdict(False, reason)
    if "S" not in frame and antecedent and not antecedent & subject:
        return Verdict(False, f"'it' does not mean {row.subject} here")
    reason = _wrong_relation(frame, "differs from" if other else row.predicate)
    return Verdict(not reason, reason)


def meaning(name: str, lexicon: Lexicon, extra: Sequence[tuple[str, str]]) -> frozenset[str]:
    """The CURIEs a disease name can mean."""
    items = lexicon.items(tokenise(name), extra)
    return items[0].curies if len(items) == 1 else frozenset()


def _frame(
    said: list[Item], objects: list[list[Item]], subject: frozenset[str], foil: frozenset[str]
) -> tuple[list[str], str]:
    """Puts S, D and O for subject, other disease and object; returns the frame, or why there is none."""
    known = english()
    wanted = [i for o in objects for i in o if _counts(i, known)]
    span = _verbatim(said, objects) or _span(said, wanted, objects, known)
    if span is None:
        return [], "it does not say what the row says"
    start, end = span
    inside = said[start:end]
    reason = _object_differs(inside, objects, wanted, known)
    if reason:
        return [], reason
    frame: list[str] = []
    for at, item in enumerate(said):
        if start <= at < end:
            frame += ["O"] if at == start else []
        elif item.curies & subject:
            frame.append("S")
        elif item.curies & foil:
            frame.append("D")
        elif item.curies and item.stem not in known.generic:
            return [], f"'{item.text}' is not what the row is about"
        elif item.text[0].isdigit():
            return [], f"the number {item.text} is not in the row"
        else:
            frame.append(item.text)
    return frame, ""


def _counts(item: Item, known: English) -> bool:
    """Whether a word of the object has to be looked for: all but function words."""
    return bool(item.curies) or item.stem in known.critical or item.stem not in known.neutral


def _verbatim(said: list[Item], objects: list[list[Item]]) -> tuple[int, int] | None:
    """Where the only object stands word for word."""
    obj = [i.stem for i in objects[0]] if len(objects) == 1 else []
    stems = [i.stem for i in said]
    starts = (i for i in range(len(stems) - len(obj) + 1) if obj and stems[i : i + len(obj)] == obj)
    start = next(starts, None)
    return None if start is None else (start, start + len(obj))


def _span(
    said: list[Item], wanted: list[Item], objects: list[list[Item]], known: English
) -> tuple[int, int] | None:
    """The stretch of a statement that repeats most of the object with the fewest words of its own."""
    hits = [frozenset(n for n, w in enumerate(wanted) if matches(item, w)) for item in said]
    at = [i for i, hit in enumerate(hits) if hit]
    foreign = [0]
    for item, hit in zip(said, hits, strict=True):
        foreign.append(foreign[-1] + (not hit and _counts(item, known)))
    best: tuple[int, int] | None = None
    best_score = 0.0
    for i in at:
        seen: set[int] = set()
        for j in (k for k in at if k >= i):
            if hits[j] - seen:
                seen.add(min(hits[j] - seen))
            score = 3.0 * len(seen) - 2.0 * (foreign[j + 1] - foreign[i]) - 0.05 * (j - i)
            if score > best_score:
                best, best_score = (i, j + 1), score
    if best is None:
        return None
    start, end = best
    spare = [i.stem for o in objects for i in o if not _counts(i, known)]
    for item in said[start:end]:
        if item.stem in spare:
            spare.remove(item.stem)
    while start and said[start - 1].stem in spare:
        start -= 1
        spare.remove(said[start].stem)
    while end < len(said) and said[end].stem in spare:
        spare.remove(said[end].stem)
        end += 1
    return start, end


def _object_differs(inside: list[Item], objects: list[list[Item]], wanted: list[Item], known: English) -> str:
    """Why the stretch is not the object (of every row): a word added, dropped, moved or negated; else ""."""
    for item in inside:
        if _counts(item, known) or item.stem in known.guarded:
            if not any(matches(item, w) for w in [*wanted, *(i for o in objects for i in o)]):
                return f"'{item.text}' is not in the row"
    missed, spare = [], list(inside)
    for w in sorted(wanted, key=lambda w: not any(w.stem == i.stem for i in inside)):  # the exact ones first
        same = next((i for i in spare if i.stem == w.stem), None) or next(
            (i for i in spare if matches(w, i)), None
        )
        if same is None:
            missed.append(w)
        else:
            spare.remove(same)
    for w in missed:
        if w.stem in known.critical or w.text[0].isdigit() or w.curies:
            return f"'{w.text}' is missing"
    for obj in objects:
        mine = [w for w in obj if _counts(w, known)]
        if mine and sum(w in missed for w in mine) / len(mine) > 1 - COVERED:
            return "it says too little of the row"
    joined = [i for o in objects for i in o]
    for picked in (_numbers, lambda items: _negated(items, known)):
        if sorted(picked(inside)) != sorted(picked(joined)):
            return "a number or a negation stands elsewhere"
    if len(objects) == 1:
        return _moved(inside, objects[0], known)
    return ""


def _numbers(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Numbers, each with the word behind it (its unit) and its rank, so that two cannot change places."""
    rest = [*items[1:], Item("", "")]
    found = [(i.text, n.stem) for i, n in zip(items, rest, strict=True) if i.text[0].isdigit()]
    return [(f"{rank} {value}", unit) for rank, (value, unit) in enumerate(found)]


def _negated(items: Sequence[Item], known: English) -> list[tuple[str, str]]:
    """The content word behind each negator."""
    out = []
    for at, item in enumerate(items):
        if item.stem in known.negators:
            behind = (i for i in items[at + 1 :] if _counts(i, known) and i.stem not in known.negators)
            word = next(behind, Item("", ""))
            out.append(("not", word.stem[:5]))
    return out


def _moved(inside: list[Item], obj: list[Item], known: English) -> str:
    """Catches "A before B" said as "B before A", and "or" said as "and"."""
    words = [{i.text for i in items} for items in (inside, obj)]
    if ("or" in words[0]) != ("or" in words[1]) and ("or" in words[0] or "and" in words[0]):
        return "'and' and 'or' are not the same"
    if any(i.stem in known.order for i in obj):
        mine = [w for w in obj if _counts(w, known)]
        order: list[int] = []
        for item in inside:
            free = [n for n, w in enumerate(mine) if n not in order and matches(item, w)]
            order += free[:1]
        if order != sorted(order):
            return "the order of the words turns the meaning round"
    return ""


def _wrong_relation(frame: list[str], predicate: str) -> str:
    """Why the frame does not state this relation; "" when it does."""
    known = english()
    line = " ".join(frame)
    if "S" not in frame:  # "it", "this condition" or nothing at all stands for the subject
        line, n = known.anaphora.subn("S", line, count=1)
        if not n and not re.match(r"(?:what|which) ", line):
            line = re.sub(r"^(?:this|that) (?=\w)", "S ", line)
    if predicate == "differs from":
        reason = _wrong_direction(line)
        if reason:
            return reason
    left = line
    strong: list[frozenset[str]] = []
    weak: list[frozenset[str]] = []
    for pattern, fits, is_weak in known.cues:
        left, n = pattern.subn(_without_words, left)
        if len(fits) < len(PREDICATES):  # a cue that fits every relation only explains its words
            (weak if is_weak else strong).extend([fits] * n)
    if not all(predicate in fits for fits in strong):
        return f"it states another relation than '{predicate}'"
    if predicate == "avoid":
        strong, weak = [f for f in strong if f == {"avoid"}], []
    if not any(predicate in fits for fits in [*strong, *weak]):
        return f"it does not say '{predicate}'"
    if not strong and not all(predicate in fits for fits in weak):
        return f"it states another relation than '{predicate}'"
    for word in left.split():
        if word not in ("S", "D", "O", ".") and stem(word) not in known.neutral:
            return f"'{word}' is not in the row"
    return ""


def _without_words(match: re.Match[str]) -> str:
    """Takes the words of a cue (its first group where it has one) and leaves S, D and O where they stand."""
    group = 1 if match.re.groups else 0
    start, end = (p - match.start() for p in match.span(group))
    whole = match.group()
    kept = " ".join(w for w in whole[start:end].split() if w in ("S", "D", "O"))
    return f"{whole[:start]} {kept or '.'} {whole[end:]}"


_AFTER = r"(?: of| to| for| towards?| with| in| a| an| the| it being)*"
_BEFORE_FOIL = (
    "unlike|rather than"
    "|instead of|in contrast(?: to| with)?|(?:compared|in comparison)(?: to| with)?|from|against"
    "|not|over|than|as opposed to|versus|vs|and not"
)
_FOIL = re.compile(rf"\b(?:{_BEFORE_FOIL}){_AFTER} (?=[SD]\b)")


def _wrong_direction(line: str) -> str:
    """For a differential: the object must speak for S; D may only stand where what is told apart stands."""
    foils = {line[m.end()] for m in _FOIL.finditer(line)}
    named = {w for w in line.split() if w in ("S", "D")}
    if "S" in foils:
        return "it speaks for the wrong one of the two"
    if (
        "D" in named
        and "D" not in foils
        and not re.search(r"\b(?:S (?:and|or) D|D (?:and|or) S|between)\b", line)
    ):
        return "it does not say which of the two it speaks for"
    return ""
