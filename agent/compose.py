"""Makes the one `ClarifyAnswer` of a turn, and its text: tables, urgency, sources, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Unavailable
from ..tools.classify import CLASSIFY as CARD
from ..tools.classify import NAME as CLASSIFY
from ..tools.conditions import NAME as CONDITIONS
from ..tools.knowledge import NAME as QUERY
from .answer import (
    Audit,
    Candidate,
    ClarifyAnswer,
    Decision,
    Evidence,
    Finding,
    Level,
    Statement,
    ToolCallRecord,
    Urgency,
)
from .deps import Env
from .measures import measured, overlays
from .must_calls import MEDICAL
from .prompts import phrase, version
from .red_flags import triage
from .state import State, latest_findings, of_turn

LEVELS: tuple[Level, ...] = ("emergency", "urgent", "soon", "routine")
_SHOWN = (
    "signs",
    "confidence",
    "second_look",
    "zero_shot",
    "concepts",
    "widen",
    "scope",
    "tool_failed",
    "graph_unavailable",
    "model_failed",
    "quality",
)


def citation(image: str) -> str:
    """How a statement cites the finding on a picture."""
    return f"specialist:{image}"


def assemble(state: State, env: Env) -> ClarifyAnswer:
    """Makes the answer of the turn in progress from what the state holds."""
    work, turn = state["work"], state["work"]["turn"]
    best = work.get("best") or {"kept": [], "removed": []}
    statements = [Statement.model_validate(s) for s in best["kept"]]
    cited = {c for s in statements for c in s.citations}
    shown = [
        f
        for image, f in latest_findings(state).items()
        if image in work.get("attached", []) or citation(image) in cited
    ]
    names, curies = _labels(shown, env)
    told = [] if state["work"].get("stop") else measured(state, cited, asked=True)
    abstained, reason = _abstention(state, [*statements, *told])
    if abstained:  # the refusal is rendered; what the model says around it says nothing
        statements = [s for s in [*statements, *told] if s.citations]
    else:
        statements += measured(state, cited)
    answer = ClarifyAnswer(
        answer="",
        statements=statements,
        evidence=_evidence(state, cited),
        findings=[Finding.model_validate(f) for f in shown],
        overlays=overlays(state),
        differential=_differential(shown, names, curies),
        decisions=[Decision.model_validate(d) for d in of_turn(state.get("decisions", []), turn)],
        urgency=_urgency(state, shown),
        abstained=abstained,
        abstention_reason=reason,
        removed_statements=[text for text, _ in best["removed"]],
        tool_calls=[ToolCallRecord.model_validate(c) for c in of_turn(state.get("tool_calls", []), turn)],
        audit=_audit(state, env, shown),
        thread=str(((env.config or {}).get("configurable") or {}).get("thread_id", "")),
    )
    medical = work.get("kind") == MEDICAL or bool(work.get("stop"))
    silent = [f["image"] for f in shown if not f["in_scope"] and citation(f["image"]) not in cited]
    not_judged = "" if abstained else ", ".join(silent)
    answer.answer = render(answer, names, medical=medical, not_judged=not_judged)
    return answer


def _labels(
    shown: Sequence[Mapping[str, Any]], env: Env
) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    if not any(f["in_scope"] for f in shown):
        return {}, {}
    try:
        expert = env.deps.specialist()
    except Unavailable:  # the finding was made in an earlier run; labels then stand for themselves
        return {}, {}
    return expert.names, expert.curies


def _differential(
    shown: Sequence[Mapping[str, Any]], names: Mapping[str, str], curies: Mapping[str, Sequence[str]]
) -> list[Candidate]:
    """Every label of the latest picture that can be judged, likeliest first."""
    inside = [f for f in shown if f["in_scope"]]
    if not inside:
        return []
    ranked = sorted(inside[-1]["probabilities"].items(), key=lambda item: -item[1])
    return [
        Candidate(curie=next(iter(curies.get(label, [])), ""), name=names.get(label, label), probability=p)
        for label, p in ranked
    ]


def _evidence(state: State, cited: set[str]) -> list[Evidence]:
    """Facts of this turn and facts cited from earlier ones, each with the query that found it."""
    found: dict[str, Mapping[str, Any]] = {}
    for fetch in state.get("retrievals", []):
        for fact_id in fetch["fact_ids"]:
            if fact_id not in found or fetch["turn"] == state["work"]["turn"]:
                found[fact_id] = fetch
    how = ("query", "cypher", "parameters")
    return [
        Evidence.model_validate({**row, **{k: v for k, v in found[row["fact_id"]].items() if k in how}})
        for row in state.get("evidence", [])
        if row["fact_id"] in cited or found[row["fact_id"]]["turn"] == state["work"]["turn"]
    ]


def _urgency(state: State, shown: Sequence[Mapping[str, Any]]) -> Urgency:
    """The rules over words and findings; what the words alone said is never lowered."""
    first = Urgency.model_validate(state["work"]["urgency"])
    findings = [Finding.model_validate(f) for f in shown]
    now = triage(state["work"].get("text", ""), findings=findings, patient=state.get("patient", {})).urgency()
    level = min(first.level, now.level, key=LEVELS.index)
    return Urgency(level=level, rules=list(dict.fromkeys([*now.rules, *first.rules])))


def _abstention(state: State, statements: Sequence[Statement]) -> tuple[bool, str]:
    """Whether nothing medical could be said, and why, with what would help."""
    work = state["work"]
    key, detail = work.get("stop", {}).get("key", ""), work.get("stop", {}).get("detail", "")
    if not key and work["kind"] == MEDICAL:
        key, detail = _lack(state, statements)
    return bool(key), f"{phrase(key, detail)} {phrase(key + '_help')}".strip() if key else ""


def _lack(state: State, statements: Sequence[Statement]) -> tuple[str, str]:
    work = state["work"]
    facts = any(s.kind == "fact" and s.citations for s in statements)
    verdicts = work.get("verdicts", {})
    judged = any(v != "out_of_scope" for v in verdicts.values()) or any(
        s.kind == "finding" for s in statements
    )
    failed = {c["name"] for c in of_turn(state.get("tool_calls", []), work["turn"]) if c["status"] == "error"}
    why = {d["rule"]: d.get("reason", "") for d in of_turn(state.get("decisions", []), work["turn"])}
    detail = why.get("tool_failed", why.get("graph_unavailable", "")).removeprefix("error: ")
    if facts:
        return "", ""
    if verdicts and set(verdicts.values()) == {"out_of_scope"}:
        return "out_of_scope", ""
    if CLASSIFY in failed and not verdicts:
        return "no_specialist", detail
    if failed & ({QUERY, CONDITIONS} if work.get("told") else {QUERY}) or "graph_unavailable" in why:
        return "no_graph", detail
    return ("", "") if judged and statements else ("no_facts", "")


def _audit(state: State, env: Env, shown: Sequence[Mapping[str, Any]]) -> Audit:
    work, context = state["work"], env.context
    weights, graph_version = {}, ""
    try:
        if shown:
            weights["specialist"] = env.deps.specialist().sha256
        if of_turn(state.get("retrievals", []), work["turn"]) or work.get("mentions"):
            graph_version = env.deps.knowledge().version
        if work.get("stop", {}).get("key") in (None, "out_of_scope"):
            model = env.deps.generalist(context.profile)
            weights["generalist"] = str(getattr(getattr(model, "loaded", None), "sha256", ""))
    except Unavailable:  # a part went away during the run: the record says nothing about it
        pass
    thresholds = {"confidence": context.confidence_threshold}
    if context.scope_threshold is not None:
        thresholds["scope"] = context.scope_threshold
    wanted = {f["image"] for f in shown} | set(work.get("attached", []))
    return Audit(
        images={p["id"]: p["source_sha256"] for p in state.get("pictures", []) if p["id"] in wanted},
        weights={name: sha for name, sha in weights.items() if sha},
        graph_version=graph_version,
        thresholds=thresholds,
        limits={CLASSIFY: CARD.limits} if shown else {},
        generalist=context.profile or env.deps.profile,
        prompt_version=version(),
        ms=work.get("ms", {}),
    )


# -- text ---------------------------------------------------------------------------------------


def render(
    answer: ClarifyAnswer, names: Mapping[str, str], *, medical: bool = True, not_judged: str = ""
) -> str:
    """Renders an answer for people, as plain text: design section 9.

    Args:
        answer: With everything but `answer.answer`.
        names: Display names of the specialist's labels.
        medical: Whether the urgency line and the disclaimer belong under it.
        not_judged: Pictures out of scope, when the answer is about something else.
    """
    urgent = answer.urgency.level != "routine"
    head = [_likely(f, names, alone=len(answer.findings) == 1) for f in answer.findings if f.in_scope]
    head += [f"Picture       {f.image}: {', '.join(f.quality)}" for f in answer.findings if f.quality]
    if urgent or (medical and head):
        rules = f"   (rule {', '.join(answer.urgency.rules)})" if answer.urgency.rules else ""
        head.append(f"Urgency       {phrase(answer.urgency.level)}{rules}")
    if answer.urgency.level in LEVELS[:2]:
        head.insert(0, head.pop())
    body = [phrase("not_judged", not_judged)] if not_judged else []
    body += [_line(s, alone=len(answer.findings) == 1) for s in answer.statements]
    if answer.abstained:
        body.append(answer.abstention_reason)
    elif not body:
        body.append(phrase("chat"))
    if count := len(answer.removed_statements):
        body.append(phrase("removed", "1 statement" if count == 1 else f"{count} statements"))
    tail = [f"How it got here   {how}"] if (how := _how(answer.decisions)) else []
    tail += [phrase("disclaimer")] if medical or urgent else []
    blocks = [head, body, _sources(answer), tail]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _likely(finding: Finding, names: Mapping[str, str], *, alone: bool) -> str:
    ranked = sorted(finding.probabilities.items(), key=lambda item: -item[1])[:3]
    shares = " · ".join(f"{names.get(label, label)} {100 * p:.0f} %" for label, p in ranked)
    count = len(finding.prediction_set)
    listed = "shortlist: the first alone" if count == 1 else f"shortlist: the first {count}"
    listed += f"; with {' and '.join(finding.refined_by)}" if finding.refined_by else ""
    return f"Most likely   {'' if alone else finding.image + ': '}{shares}   ({listed})"


def _line(statement: Statement, *, alone: bool) -> str:
    cites = ["specialist" if alone and c.startswith("specialist:") else c for c in statement.citations]
    return statement.text + (f" [{', '.join(cites)}]" if cites else "")


def _sources(answer: ClarifyAnswer) -> list[str]:
    cited = {c for s in answer.statements for c in s.citations}
    by_source: dict[str, list[str]] = {}
    for row in answer.evidence:
        if row.fact_id in cited:
            parts = (
                row.source.organisation,
                row.source.title,
                str(row.source.year or ""),
                row.source.section,
            )
            by_source.setdefault(", ".join(filter(None, parts)), []).append(row.fact_id)
    return (
        ["Sources", *(f"  {', '.join(ids)}   {source}" for source, ids in by_source.items())]
        if by_source
        else []
    )


def _how(decisions: Sequence[Decision]) -> str:
    shown = [d for d in decisions if d.rule in _SHOWN]
    said = (f"{d.value} failed" if d.rule == "tool_failed" else d.reason for d in shown)
    return " → ".join(dict.fromkeys(filter(None, said)))
