"""Who, when and whether: which words of a message are said of the patient, now, and as true.

`red_flags` and `patient` look for words; this module says which of them are negated ("no fever but my
throat ..." denies the fever alone), over ("last year ..."), about somebody else ("my neighbour had ..."),
or only asked or imagined ("what is anaphylaxis?", "if my lips swell ..."). Rules over clauses in the manner
of ConText (Harkema et al. 2009).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .words import normalise, rules

_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[,.;:!?()\n]")
_STOPS = frozenset(".;!?\n")
_CUTS = _STOPS | {":"}


@dataclass
class Word:
    """One word of a message and what is said of it.

    Attributes:
        text: Lower case, contractions opened.
        start: Offset of the word in the normalised text.
        end: Offset behind it.
        sentence: Number of its sentence.
        clause: Number of its clause in the whole text.
        negator: Position of the word that negates it, or -1.
        past: It is over.
        other: 0 the patient, 1 somebody else in the past, 2 somebody else now.
        asked: It is asked about, imagined or quoted.
        question: Its sentence is a question.
    """

    text: str
    start: int
    end: int
    sentence: int = 0
    clause: int = 0
    negator: int = -1
    past: bool = False
    other: int = 0
    asked: bool = False
    question: bool = False


@dataclass
class _Clause:
    words: list[int] = field(default_factory=list)
    text: str = ""


def read(text: str) -> tuple[str, list[Word]]:
    """Returns the normalised text and its words, each with its scope."""
    plain = normalise(text)
    words = [Word(m.group(), m.start(), m.end()) for m in _WORD.finditer(plain)]
    if not words:
        return plain, words
    clauses = _clauses(words)
    _negation(words)
    _clause_marks(words, clauses)
    return plain, words


def _set(name: str) -> frozenset[str]:
    return frozenset(str(rules("scope")[name]).split())


def _matcher(name: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in rules("scope")[name]))


def _clauses(words: list[Word]) -> list[_Clause]:
    """Cuts the text into sentences and clauses; punctuation stays with the clause before it."""
    breaks, starters = _set("breaks"), _set("starters")
    clauses = [_Clause()]
    sentence = 0
    for at, word in enumerate(words):
        after = words[at + 1].text if at + 1 < len(words) else ""
        behind = words[at - 1].text if at else ""
        cut = word.text in breaks or (word.text in ("and", "then", "so") and after in starters)
        cut = cut or (behind == "," and word.text in starters) or (at > 0 and behind in _CUTS)
        if cut and clauses[-1].words:
            clauses.append(_Clause())
        if at and behind in _STOPS and word.text not in _STOPS:
            sentence += 1
        word.sentence, word.clause = sentence, len(clauses) - 1
        clauses[-1].words.append(at)
    for clause in clauses:
        clause.text = " ".join(words[i].text for i in clause.words)
    asking = {w.sentence for w in words if w.text == "?"}
    for word in words:
        word.question = word.sentence in asking
    return clauses


def _negation(words: list[Word]) -> None:
    negators, idle, wide = _set("negators"), _set("idle_after_negator"), _set("wide_negators")
    stops, verbs = _set("negation_stops"), _set("fresh_start")
    for at, word in enumerate(words):
        if word.text not in negators:
            continue
        after = [
            w.text for w in words[at + 1 : at + 3] if w.text not in ("a", "the", "really", "very", "that")
        ]
        if after and after[0] in idle or word.text == "never" and _never_before(words, at):
            continue
        reach = 12 if word.text in wide else 7
        for j in range(at + 1, min(len(words), at + 1 + 3 * reach)):
            this = words[j]
            if this.clause != word.clause or this.text in stops or this.text in _STOPS:
                break
            if this.text in (",", "and") and not _list_goes_on(words, j, verbs, this.text):
                break
            if this.text in (",", "or", "nor"):
                reach = j - at + 6
            if j - at > reach:
                break
            this.negator = at


def _never_before(words: list[Word], at: int) -> bool:
    """The message "I never had such blisters before" does not deny them."""
    clause = [w.text for w in words[at:] if w.clause == words[at].clause]
    return "before" in clause or "such" in clause or "this" in clause


def _list_goes_on(words: list[Word], at: int, verbs: frozenset[str], by: str) -> bool:
    """Whether a negation reaches past an "and", or past a comma (in a list that "or" or "nor" closes)."""
    rest = [w.text for w in words[at + 1 : at + 12] if w.clause == words[at].clause and w.text not in _STOPS]
    if by == "and":
        return bool(rest) and len(rest) <= 3 and not any(t in verbs or t.endswith("ing") for t in rest)
    for n, text in enumerate(rest):
        if text in ("or", "nor"):
            return n <= 8
        if text in verbs or text == "and":
            return False
    return False


def _clause_marks(words: list[Word], clauses: list[_Clause]) -> None:
    """Marks past, other people and asked-about by clause; a mark is carried on until something ends it."""
    past_m, present_m, recent_m = _matcher("past"), _matcher("present"), _matcher("recent")
    far_m, near_m, did_m, self_m = (
        _matcher("far_people"),
        _matcher("near_people"),
        _matcher("did"),
        _matcher("self"),
    )
    they_m, asked_m, own_m, told_m = _matcher("they"), _matcher("asked"), _matcher("own"), _matcher("told")
    began_m, near_did_m = _matcher("began"), _matcher("near_did")
    past, other = False, 0
    for clause in clauses:
        text = clause.text
        present = bool(present_m.search(text))
        if past_m.search(text) and not began_m.search(text) and not recent_m.search(text):
            past = True
        elif present or recent_m.search(text) or began_m.search(text):
            past = False
        did = bool(did_m.search(text)) and not recent_m.search(text)
        if far_m.search(text) and not re.search(r"\b(?:i|me)\b", text):
            other = 1 if did or past or not present else 2
        elif (
            near_m.search(text)
            and near_did_m.search(text)
            and did
            and not present
            and not self_m.search(text)
        ):
            other = 1
        elif not (other and they_m.search(text)) or self_m.search(text) or near_m.search(text):
            other = 0
        elif present and other == 1 and near_m.search(text):
            other = 0
        sentence = words[clause.words[0]].sentence
        whole = " ".join(w.text for w in words if w.sentence == sentence)
        asked = bool(told_m.search(text)) or bool(asked_m.search(whole) and not own_m.search(whole))
        for i in clause.words:
            words[i].past, words[i].other, words[i].asked = past, other, asked or words[i].asked
        _conditional(words, clause)


def _conditional(words: list[Word], clause: _Clause) -> None:
    """A condition: "if my lips swell, ..." imagines; "if I press them" and "I do not know if" do not."""
    starts, exempt = _set("conditional"), _set("conditional_exempt")
    for n, i in enumerate(clause.words):
        if words[i].text not in starts:
            continue
        behind = [words[j].text for j in clause.words[n + 1 : n + 8]]
        before = words[i - 1].text if i else ""
        if before in _set("if_after") or any(b in exempt for b in behind):
            continue
        for j in clause.words[n:]:
            if words[j].text == ",":
                break
            words[j].asked = True
