"""`verify`: does each statement say what the row it cites says?

By rule, without a model. A statement about a fact is read as a frame around the row's object: the subject
becomes S, the other disease of a differential D, the stretch that repeats the object O, and what is left
("S is first treated with O") has to fit the row's relation and to hold no word that nothing explains. So a
changed number, unit, drug, disease or qualifier is caught because it is foreign, a dropped one because the
object is not covered, a turned relation because its cue does not fit, and a negation because no frame of a
positive fact has room for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph_schema.protocol import FactRow
from ..tools.experts import MEASURED
from .answer import Finding, Kind, Statement
from .findings import Verdict, check_finding
from .frames import check_rows, meaning
from .lexicon import Lexicon, english
from .words import tokenise

SPECIALIST = "specialist:"
_CITES = re.compile(r"\[([^\[\]]*)\]")
_ID = re.compile(r"^[\w:.\-/]+$")
_SENTENCE_END = re.compile(r"(?<=[a-z)%\]\d][.!?])((?:\s*\[[^\[\]]*\])*)\s+(?=[^\s\[\]a-z])|\n+")
_NUMBER = re.compile(r"\d\s*(?:%|per ?cent)")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|approx|etc|dr|vs|no|fig)\.$", re.IGNORECASE)


@dataclass(frozen=True)
class Review:
    """What is left of a draft.

    Attributes:
        kept: Supported statements, in order, repetitions left out.
        removed: The others, each with the reason.
        coverage: Share of the retrieved aspects (subject and relation; picture) that a kept statement
            cites; 1.0 when nothing was retrieved. Precision alone would reward silence (arXiv 2606.09376).
    """

    kept: list[Statement]
    removed: list[tuple[Statement, str]]
    coverage: float


def parse_statements(text: str, lexicon: Lexicon | None = None) -> list[Statement]:
    """Splits a draft into sentences with their citations. Never raises, whatever the text.

    A citation belongs to the sentence it stands in or right behind. Brackets without ids stay in the text.
    """
    out: list[Statement] = []
    for sentence in _sentences(text):
        cited: list[str] = []

        def take(match: re.Match[str], cited: list[str] = cited) -> str:
            ids = [part for part in re.split(r"[,;\s]+", match.group(1).strip()) if part]
            if (
                not ids
                or not all(_ID.match(i) for i in ids)
                or not any(c in i for i in ids for c in "-:0123456789")
            ):
                return match.group()
            cited.extend(i for i in ids if i not in cited)
            return ""

        body = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s{2,}", " ", _CITES.sub(take, sentence))).strip()
        body = re.sub(r"^(?:[-*•#>]+|\d+[.)])\s+", "", body).replace("**", "").strip()
        if not re.search(r"\w", body):
            if cited and out:  # a citation on a line of its own belongs to what stands before it
                merged = [*out[-1].citations, *(c for c in cited if c not in out[-1].citations)]
                out[-1] = Statement(
                    text=out[-1].text, citations=merged, kind=_kind(out[-1].text, merged, lexicon)
                )
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
        bad = bool(_NUMBER.search(statement.text)) or claims(statement.text, lexicon)
        return Verdict(not bad, "a medical statement without a citation" if bad else "")
    looked = [c for c in cited if c in findings]
    facts = [rows[c] for c in cited if c in rows]
    if looked and not facts:
        verdicts = [check_finding(statement.text, findings[c], lexicon, (sure or {}).get(c)) for c in looked]
        return next((v for v in verdicts if v.supported), verdicts[0])
    if facts and all(fact.support == MEASURED for fact in facts):
        said = [t.text for t in tokenise(statement.text)]
        right = any(said == [t.text for t in tokenise(fact.statement)] for fact in facts)
        return Verdict(right, "" if right else "it is not what was measured, word for word")
    if not looked:
        verdict = check_rows(statement.text, facts, lexicon, antecedent)
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
    """A sentence over rows of different relations: each clause must hold by one, and each row be used."""
    cuts = [
        m.span()
        for m in re.finditer(
            r"[;,]\s*(?:and|but|while|whereas)?\s+|\s(?:and|but|while|whereas)\s", statement.text
        )
    ]
    reason = "it does not say what its rows say"
    for start, end in cuts:
        halves = statement.text[:start], statement.text[end:]
        for ids in (statement.citations, statement.citations[::-1]):
            parts = zip(halves, (ids[:1], ids[1:]), strict=True)
            verdicts = [
                check(
                    Statement(text=t, citations=c), rows, findings, lexicon, sure=sure, antecedent=antecedent
                )
                for t, c in parts
            ]
            if all(v.supported for v in verdicts):
                return Verdict(True)
            reason = next(v.reason for v in verdicts if not v.supported)
    return Verdict(False, reason)


def review(
    draft: str | Sequence[Statement],
    rows: Mapping[str, FactRow],
    findings: Mapping[str, Finding],
    lexicon: Lexicon,
    *,
    sure: Mapping[str, bool] | None = None,
) -> Review:
    """Checks a whole draft; "it" is followed from statement to statement.

    An uncited per cent is held against the picture last spoken of.
    """
    statements = parse_statements(draft, lexicon) if isinstance(draft, str) else list(draft)
    kept: list[Statement] = []
    removed: list[tuple[Statement, str]] = []
    topic: frozenset[str] = frozenset()
    looked = ""
    for statement in statements:
        if not statement.citations and _NUMBER.search(statement.text) and (looked or findings):
            cite = looked or list(findings)[-1]
            statement = Statement(text=statement.text, citations=[cite], kind="finding")
        verdict = check(statement, rows, findings, lexicon, sure=sure, antecedent=topic)
        if not verdict.supported and (right := _recited(statement, rows, findings, lexicon, topic)):
            statement, verdict = right, Verdict(True)
        if not verdict.supported:
            removed.append((statement, verdict.reason))
            continue
        if statement.citations and all(
            c in rows and rows[c].support == MEASURED for c in statement.citations
        ):
            statement = statement.model_copy(update={"kind": "finding"})
        if not any(statement.text == k.text for k in kept):
            kept.append(statement)
        looked = next((c for c in statement.citations if c in findings), looked)
        topic = _topic(statement, rows, findings, lexicon) or topic
    return Review(kept, removed, _coverage(kept, rows, findings))


def _recited(
    statement: Statement,
    rows: Mapping[str, FactRow],
    findings: Mapping[str, Finding],
    lexicon: Lexicon,
    topic: frozenset[str],
) -> Statement | None:
    """The statement with the right citation, when it cites nothing that exists and says what one row says.

    A small model may spell an id as it was taught and not as it was told; which row a sentence says is found
    by the same check. A wrong citation that exists is never replaced: it may be the claim that is wrong.
    """
    if not statement.citations or any(c in rows or c in findings for c in statement.citations):
        return None
    cited = [statement.model_copy(update={"citations": [fact_id]}) for fact_id in rows]
    found = [s for s in cited if check(s, rows, findings, lexicon, antecedent=topic).supported]
    return found[0] if len(found) == 1 else None


def _topic(
    statement: Statement, rows: Mapping[str, FactRow], findings: Mapping[str, Finding], lexicon: Lexicon
) -> frozenset[str]:
    for cite in statement.citations:
        if cite in rows:
            row = rows[cite]
            return frozenset([row.subject_curie or f"name:{row.subject}"]) | meaning(row.subject, lexicon, ())
        label = findings[cite].label
        if label:
            return lexicon.label_curies.get(label, frozenset())
    return frozenset()


def _coverage(
    kept: Sequence[Statement], rows: Mapping[str, FactRow], findings: Mapping[str, Finding]
) -> float:
    told = {i: r for i, r in rows.items() if r.support != MEASURED}  # the rest is said by rule
    aspect = {i: f"{r.subject}|{r.predicate}" for i, r in told.items()} | {i: i for i in findings}
    used = {aspect[c] for s in kept for c in s.citations if c in aspect}
    return len(used) / len(set(aspect.values())) if aspect else 1.0
