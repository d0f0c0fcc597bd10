"""`verify`: does each statement say what the row it cites says?

By rule, without a model. A statement about a fact is read as a frame around the row's object: the subject becomes S, the
other disease of a differential D, the stretch that repeats the object O, and what is left ("S is first treated with O")
has to fit the row's relation and to hold no word that nothing explains. So a changed number, unit, drug, disease or
qualifier is caught because it is foreign, a dropped one because the object is not covered, a turned relation because its
cue does not fit, and a negation because no frame of a positive fact has room for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph_schema.protocol import FactRow
from .answer import Finding, Kind, Statement
from .findings import Verdict, check_finding
from .lexicon import English, Item, Lexicon, english, matches, rewritten
from .words import stem, tokenise

COVERED = 0.75
"""Share of the object's content words that a statement must repeat (or a synonym of them)."""
SPECIALIST = "specialist:"
_CITES = re.compile(r"\[([^\[\]]*)\]")
_ID = re.compile(r"^[\w:.\-/]+$")
_SENTENCE_END = re.compile(r"(?<=[a-z)%\]\d][.!?])((?:\s*\[[^\[\]]*\])*)\s+(?=[^\s\[\]a-z])|\n+")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|approx|etc|dr|vs|no|fig)\.$", re.IGNORECASE)


@dataclass(frozen=True)
class Review:
    """What is left of a draft.

    Attributes:
        kept: Supported statements, in order, repetitions left out.
        removed: The others, each with the reason.
        coverage: Share of the retrieved aspects (subject and relation; picture) that a kept statement cites; 1.0 when
            nothing was retrieved. Precision alone would reward silence (arXiv 2606.09376).
    """

    kept: list[Statement]
    removed: list[tuple[Statement, str]]
    coverage: float


def parse_statements(text: str, lexicon: Lexicon | None = None) -> list[Statement]:
    """Splits a draft into sentences with their citations. Never raises, whatever the text.

    A citation belongs to the sentence it stands in or right behind. Brackets that hold no ids stay in the text.
    """
    out: list[Statement] = []
    for sentence in _sentences(text):
        cited: list[str] = []

        def take(match: re.Match[str], cited: list[str] = cited) -> str:
            ids = [part for part in re.split(r"[,;\s]+", match.group(1).strip()) if part]
            if not ids or not all(_ID.match(i) for i in ids) or not any(c in i for i in ids for c in "-:0123456789"):
                return match.group()
            cited.extend(i for i in ids if i not in cited)
            return ""

        body = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s{2,}", " ", _CITES.sub(take, sentence))).strip()
        body = re.sub(r"^(?:[-*•#>]+|\d+[.)])\s+", "", body).replace("**", "").strip()
        if not re.search(r"\w", body):
            if cited and out:  # a citation on a line of its own belongs to what stands before it
                merged = [*out[-1].citations, *(c for c in cited if c not in out[-1].citations)]
                out[-1] = Statement(text=out[-1].text, citations=merged, kind=_kind(out[-1].text, merged, lexicon))
            continue
        out.append(Statement(text=body, citations=cited, kind=_kind(body, cited, lexicon)))
    return out


def _sentences(text: str) -> list[str]:
    out, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        cites = match.group(1) or ""
        head = text[start : match.start()]
        if _ABBREVIATION.search(head):
            continue
        out.append(head + cites)
        start = match.end()
    return [*out, text[start:]]


def _kind(text: str, citations: Sequence[str], lexicon: Lexicon | None) -> Kind:
    if any(c.startswith(SPECIALIST) for c in citations):
        return "finding"
    if citations or claims(text, lexicon or Lexicon()):
        return "fact"
    plain = " ".join(t.text for t in tokenise(text))
    return "advice" if any(p.search(plain) for p in english().advice) else "other"


def claims(text: str, lexicon: Lexicon) -> bool:
    """Whether a sentence makes a medical statement (which then needs a citation)."""
    known = english()
    for clause in re.split(r"[;:]|,? (?:but|however|although|because)\b", text):
        plain = " ".join(t.text for t in tokenise(clause)) + ("?" if text.rstrip().endswith("?") else "")
        words = [i for i in lexicon.items(tokenise(clause)) if lexicon.medical_word(i)]
        if not words or any(p.search(plain) for p in known.modest):
            continue
        advising = any(p.search(plain) for p in known.advice)
        if not (advising and all(i.stem in known.advice_words for i in words)):
            return True
    return False


def check(
    statement: Statement,
    rows: Mapping[str, FactRow],
    findings: Mapping[str, Finding],
    lexicon: Lexicon,
    *,
    sure: Mapping[str, bool] | None = None,
    antecedent: frozenset[str] = frozenset(),
) -> Verdict:
    """Checks one statement against what it cites.

    Args:
        statement: From `parse_statements`.
        rows: Retrieved facts by id.
        findings: The specialist's findings by citation (`specialist:img1`).
        lexicon: Names.
        sure: Whether the gate counted a finding as confident, by citation; absent: not checked.
        antecedent: What "it" would mean here (CURIEs); empty: not known.
    """
    cited = statement.citations
    unknown = [c for c in cited if c not in rows and c not in findings]
    if unknown:
        return Verdict(False, f"{unknown[0]} was not retrieved")
    if not cited:
        bad = claims(statement.text, lexicon)
        return Verdict(not bad, "a medical statement without a citation" if bad else "")
    looked = [c for c in cited if c in findings]
    facts = [rows[c] for c in cited if c in rows]
    if looked and not facts:
        verdicts = [check_finding(statement.text, findings[c], lexicon, (sure or {}).get(c)) for c in looked]
        return next((v for v in verdicts if v.supported), verdicts[0])
    if not looked:
        verdict = _check_rows(statement.text, facts, lexicon, antecedent)
        if verdict.supported or len(facts) == 1:
            return verdict
    return _check_clauses(statement, rows, findings, lexicon, sure, antecedent)


def _check_clauses(
    statement: Statement,
    rows: Mapping[str, FactRow],
    findings: Mapping[str, Finding],
    lexicon: Lexicon,
    sure: Mapping[str, bool] | None,
    antecedent: frozenset[str],
) -> Verdict:
    """A sentence over several rows of different relations: each clause must hold by one, and each row be used."""
    cuts = [m.span() for m in re.finditer(r"[;,]\s*(?:and|but|while|whereas)?\s+|\s(?:and|but|while|whereas)\s", statement.text)]
    reason = "it does not say what its rows say"
    for start, end in cuts:
        halves = statement.text[:start], statement.text[end:]
        for ids in (statement.citations, statement.citations[::-1]):
            parts = zip(halves, (ids[:1], ids[1:]), strict=True)
            verdicts = [
                check(Statement(text=t, citations=c), rows, findings, lexicon, sure=sure, antecedent=antecedent)
                for t, c in parts
            ]
            if all(v.supported for v in verdicts):
                return Verdict(True)
            reason = next(v.reason for v in verdicts if not v.supported)
    return Verdict(False, reason)


def other_of(row: FactRow) -> str:
    """The second disease of a "differs from" row, else an empty string."""
    head = "differs from"
    return row.predicate[len(head) :].strip() if row.predicate.startswith(head) else ""


def _check_rows(text: str, facts: Sequence[FactRow], lexicon: Lexicon, antecedent: frozenset[str]) -> Verdict:
    """Checks a sentence against one row, or several of one subject and relation ("... X and Y")."""
    row = facts[0]
    if any((f.subject, f.predicate) != (row.subject, row.predicate) for f in facts):
        return Verdict(False, "its rows have different relations")
    other = other_of(row)
    subject_key, other_key = row.subject_curie or f"name:{row.subject}", f"name:{other}"
    extra = [(subject_key, row.subject), (other_key, other)]
    said = lexicon.items(rewritten(text), extra)
    subject = frozenset([subject_key]) | _meaning(row.subject, lexicon, extra)
    foil = (frozenset([other_key]) | _meaning(other, lexicon, extra)) - subject if other else frozenset()
    objects = [lexicon.items(rewritten(f.object), extra) for f in facts]
    frame, reason = _frame(said, objects, subject, foil)
    if reason:
        return Verdict(False, reason)
    if "S" not in frame and antecedent and not antecedent & subject:
        return Verdict(False, f"'it' does not mean {row.subject} here")
    reason = _wrong_relation(frame, "differs from" if other else row.predicate)
    return Verdict(not reason, reason)


def _meaning(name: str, lexicon: Lexicon, extra: Sequence[tuple[str, str]]) -> frozenset[str]:
    items = lexicon.items(tokenise(name), extra)
    return items[0].curies if len(items) == 1 else frozenset()


def _frame(
    said: list[Item], objects: list[list[Item]], subject: frozenset[str], foil: frozenset[str]
) -> tuple[list[str], str]:
    """Replaces subject, other disease and object by S, D and O; returns the frame, or the reason it cannot be."""
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
        same = next((i for i in spare if i.stem == w.stem), None) or next((i for i in spare if matches(w, i)), None)
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
_FOIL = re.compile(rf"\b(?:unlike|rather than|instead of|in contrast(?: to| with)?|compared(?: to| with)?|from|against|not|over|than|as opposed to|versus|vs|and not){_AFTER} (?=[SD]\b)")


def _wrong_direction(line: str) -> str:
    """For a differential: the object must speak for S; D may only stand where what is told apart stands."""
    foils = {line[m.end()] for m in _FOIL.finditer(line)}
    named = {w for w in line.split() if w in ("S", "D")}
    if "S" in foils:
        return "it speaks for the wrong one of the two"
    if "D" in named and "D" not in foils and not re.search(r"\b(?:S (?:and|or) D|D (?:and|or) S|between)\b", line):
        return "it does not say which of the two it speaks for"
    return ""


def review(
    draft: str | Sequence[Statement],
    rows: Mapping[str, FactRow],
    findings: Mapping[str, Finding],
    lexicon: Lexicon,
    *,
    sure: Mapping[str, bool] | None = None,
) -> Review:
    """Checks a whole draft; "it" is followed from statement to statement."""
    statements = parse_statements(draft, lexicon) if isinstance(draft, str) else list(draft)
    kept: list[Statement] = []
    removed: list[tuple[Statement, str]] = []
    topic: frozenset[str] = frozenset()
    for statement in statements:
        verdict = check(statement, rows, findings, lexicon, sure=sure, antecedent=topic)
        if not verdict.supported:
            removed.append((statement, verdict.reason))
            continue
        if not any(statement.text == k.text for k in kept):
            kept.append(statement)
        topic = _topic(statement, rows, findings, lexicon) or topic
    return Review(kept, removed, _coverage(kept, rows, findings))


def _topic(
    statement: Statement, rows: Mapping[str, FactRow], findings: Mapping[str, Finding], lexicon: Lexicon
) -> frozenset[str]:
    for cite in statement.citations:
        if cite in rows:
            row = rows[cite]
            return frozenset([row.subject_curie or f"name:{row.subject}"]) | _meaning(row.subject, lexicon, ())
        label = findings[cite].label
        if label:
            return lexicon.label_curies.get(label, frozenset())
    return frozenset()


def _coverage(kept: Sequence[Statement], rows: Mapping[str, FactRow], findings: Mapping[str, Finding]) -> float:
    aspect = {i: f"{r.subject}|{r.predicate}" for i, r in rows.items()} | {i: i for i in findings}
    used = {aspect[c] for s in kept for c in s.citations if c in aspect}
    return len(used) / len(set(aspect.values())) if aspect else 1.0
