"""`Context`: what a caller may set for one run; Studio shows it as a form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from langgraph.runtime import Runtime
from pydantic import Field


@dataclass(frozen=True)
class Context:
    """Thresholds, budgets and switches of a run. Budgets count within one turn and bound every loop."""

    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Calibrated confidence from which a finding counts as sure.")
    ] = 0.8
    scope_threshold: Annotated[
        float | None,
        Field(
            ge=0, le=1, description="Least scope score of a picture; empty: the one stored with the weights."
        ),
    ] = None
    max_tool_rounds: Annotated[
        int, Field(ge=1, le=8, description="How often the generalist may call tools in a turn.")
    ] = 4
    max_reclassify: Annotated[
        int, Field(ge=0, le=3, description="Second looks at one picture in a turn.")
    ] = 1
    max_widen: Annotated[
        int, Field(ge=0, le=3, description="Fetches of what tells candidates apart, in a turn.")
    ] = 1
    max_revisions: Annotated[
        int, Field(ge=0, le=3, description="Rewrites of unsupported statements in a turn.")
    ] = 1
    max_rows: Annotated[int, Field(ge=1, le=50, description="Most facts that one query gives.")] = 6
    must_call: Annotated[
        bool, Field(description="Force the calls a turn needs; off only to measure the generalist alone.")
    ] = True
    free_cypher: Annotated[
        bool, Field(description="Offer the generalist guarded, read-only Cypher beside the named queries.")
    ] = False
    profile: Annotated[
        str, Field(max_length=200, description="Generalist profile; empty: the one in the settings.")
    ] = field(default="", metadata={"__template_metadata__": {"kind": "llm"}})


DEFAULT = Context()


def context_of(runtime: Runtime[Context]) -> Context:
    """The run's context, or the defaults when the caller sent none."""
    return runtime.context if runtime.context is not None else DEFAULT
