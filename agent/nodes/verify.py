"""`verify`: holds every statement of the draft against the row it cites, then closes the turn."""

from __future__ import annotations

import logging
from typing import Any

from langchain_core.messages import AIMessage

from ...errors import ClarifyError
from ...graph_schema.protocol import FactRow
from ...tools.classify import is_sure
from ...tools.concepts.tools import OPINIONS
from ..answer import Finding, Statement
from ..compose import assemble, citation
from ..deps import Env
from ..grounding import Review, review
from ..lexicon import Lexicon
from ..must_calls import MEDICAL
from ..state import State, Work, decision, latest_findings, spent

_log = logging.getLogger(__name__)


def verify(state: State, env: Env) -> dict[str, Any]:
    """Sends refused statements back while the budget lasts; then removes them and writes the answer."""
    env.emit("verifying")
    work: Work = {**state["work"]}
    notes: list[dict[str, Any]] = []
    if not work.get("stop"):
        seen = judge(state, env)
        best = _better(work.get("best"), seen)
        work["best"] = best
        if seen["removed"] and work.get("counts", {}).get("revisions", 0) < env.context.max_revisions:
            reasons = [f"- {text} ({reason})" for text, reason in seen["removed"]]
            note = decision(work, "verify", "revise", value=float(len(reasons)), reason=seen["removed"][0][1])
            return {
                "work": {**work, "counts": spent(work, "revisions"), "feedback": reasons},
                "decisions": [note],
            }
        taken = "remove" if best["removed"] else "supported"
        reason = "; ".join(why for _, why in best["removed"])
        notes.append(decision(work, "verify", taken, value=best["coverage"], reason=reason))
    answer = assemble({**state, "work": work, "decisions": [*state.get("decisions", []), *notes]}, env)
    own = [s for s in answer.statements if not any(c.startswith(tuple(OPINIONS)) for c in s.citations)]
    draft = "\n".join(" ".join([s.text, *(f"[{c}]" for c in s.citations)]) for s in own)
    message = AIMessage(
        content=answer.answer,
        additional_kwargs={"draft": draft or answer.abstention_reason, "turn": work["turn"]},
    )
    for scratch in ("best", "feedback", "draft", "force"):
        work.pop(scratch, None)  # type: ignore[misc]
    return {"work": work, "messages": [message], "answer": answer.model_dump(mode="json"), "decisions": notes}


def judge(state: State, env: Env) -> dict[str, Any]:
    """Reviews the draft against all facts and findings of the thread.

    Returns:
        `{"kept": [Statement], "removed": [[text, reason]], "coverage": float}` as plain values.
    """
    rows = {row["fact_id"]: FactRow.model_validate(row) for row in state.get("evidence", [])}
    found = latest_findings(state)
    findings = {citation(image): Finding.model_validate(entry) for image, entry in found.items()}
    threshold = env.context.confidence_threshold
    sure = {citation(image): is_sure(f, threshold) for image, f in found.items()}
    lexicon, whole = _lexicon(env)
    result = review(state["work"].get("draft", ""), rows, findings, lexicon, sure=sure)
    if not whole and state["work"]["kind"] == MEDICAL:
        result = _cited_only(result)
    return {
        "kept": [statement.model_dump(mode="json") for statement in result.kept],
        "removed": [[statement.text, reason] for statement, reason in result.removed],
        "coverage": result.coverage,
    }


def _lexicon(env: Env) -> tuple[Lexicon, bool]:
    """The names, and whether they are all there: without them nobody can tell what a sentence claims."""
    try:
        return env.deps.lexicon(), True
    except ClarifyError:
        _log.warning("no lexicon: only cited statements are kept", exc_info=True)
        return Lexicon(), False


def _cited_only(result: Review) -> Review:
    bare: list[tuple[Statement, str]] = [
        (s, "a sentence without a citation") for s in result.kept if not s.citations
    ]
    return Review([s for s in result.kept if s.citations], [*result.removed, *bare], result.coverage)


def _better(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """The draft with more cited statements left; the later of two equals only if it lost less."""

    def worth(seen: dict[str, Any]) -> tuple[int, int]:
        return sum(bool(s["citations"]) for s in seen["kept"]), -len(seen["removed"])

    return before if before is not None and worth(before) >= worth(now) else now
