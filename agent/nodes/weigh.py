"""`weigh`: reads a new finding against the thresholds and writes down what follows. A rule, no model."""

from __future__ import annotations

from typing import Any

from ...tools.classify import is_sure
from ...tools.skin_tone import OUTSIDE
from ..deps import Env
from ..routing import next_after_weigh
from ..state import State, Work, decision, latest_findings


def weigh(state: State, env: Env) -> dict[str, Any]:
    """Gives each new finding its verdict; the conformal shortlist is what is left open, not the gate."""
    work: Work = {**state["work"], "pending": []}
    findings, threshold = latest_findings(state), env.context.confidence_threshold
    verdicts = dict(work.get("verdicts", {}))
    subjects, topics = list(work.get("subjects", [])), list(work.get("topics", []))
    notes = []
    for image in state["work"].get("pending", []):
        finding = findings[image]
        verdicts[image] = verdict(finding, threshold)
        if finding["in_scope"]:
            expert = env.deps.specialist()
            for label in _open_labels(finding, verdicts[image]):
                subjects += expert.curies.get(label, [])
                topics.append(expert.names.get(label, label))
        if known := finding["refined_by"]:
            said = (
                f"{name} {value:g}" if name == "age" else f"{name} {value}" for name, value in known.items()
            )
            reason = f"{image}: with {', '.join(said)}"
            notes.append(decision(work, "patient", "refined", value=image, reason=reason))
        if finding["quality"]:
            reason = f"{image}: {', '.join(finding['quality'])}"
            notes.append(decision(work, "quality", "say so", value=image, reason=reason))
    work["verdicts"], work["subjects"] = verdicts, list(dict.fromkeys(subjects))
    work["topics"] = list(dict.fromkeys(topics))
    taken = next_after_weigh({**state, "work": work}, env.context)
    if taken == "compose":
        work["stop"] = {"key": "out_of_scope", "detail": ""}  # rendered, not worded by the model
    return {
        "work": work,
        "decisions": notes + [_decide(work, findings[i], threshold, taken) for i in state["work"]["pending"]],
    }


def verdict(finding: dict[str, Any], threshold: float) -> str:
    """`sure`, `unsure` or `out_of_scope`."""
    if not finding["in_scope"]:
        return "out_of_scope"
    return "sure" if is_sure(finding, threshold) else "unsure"


def _open_labels(finding: dict[str, Any], said: str) -> list[str]:
    return [finding["label"]] if said == "sure" else list(finding["prediction_set"]) or [finding["label"]]


def _decide(work: Work, finding: dict[str, Any], threshold: float, taken: str) -> dict[str, Any]:
    if not finding["in_scope"]:
        return decision(
            work, "scope", taken, value=finding["scope_score"], reason=f"{finding['image']} is out of scope"
        )
    under, unlearnt = finding["confidence"] < threshold, OUTSIDE in finding["quality"]
    share, limit = f"{100 * finding['confidence']:.0f} %", f"{100 * threshold:.0f} %"
    head = "after a second look " if finding["second_look"] else "confidence "
    reason = f"{head}{share}" + (f", under {limit}" if under else f", but {OUTSIDE}" if unlearnt else "")
    return decision(
        work, "confidence", taken, value=finding["confidence"], threshold=threshold, reason=reason
    )
