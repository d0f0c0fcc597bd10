"""`ClarifyAnswer`: the one typed result every face of CLARIFY shows (design sections 5 and 8)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from ..graph_schema.protocol import SourceRef

Kind = Literal["finding", "fact", "advice", "other"]
Level = Literal["emergency", "urgent", "soon", "routine"]


class Statement(BaseModel):
    """One sentence of the answer and the rows it leans on."""

    text: str
    citations: list[str] = []
    kind: Kind = "other"


class Evidence(BaseModel):
    """A retrieved fact and how it was found."""

    fact_id: str
    statement: str
    source: SourceRef
    query: str = ""
    cypher: str = ""
    parameters: dict[str, Any] = {}
    subject: str = ""
    predicate: str = ""
    object: str = ""


class Finding(BaseModel):
    """What the specialist said about one picture."""

    tool: str
    image: str
    label: str | None = None
    curie: str | None = None
    confidence: float = 0.0
    prediction_set: list[str] = []
    in_scope: bool = True
    scope_score: float = 0.0
    probabilities: dict[str, float] = {}
    quality: list[str] = []
    skin_tone: float | None = Field(None, description="individual typology angle beside the lesion, degrees")
    second_look: bool = False
    refined_by: dict[str, float | str] = Field({}, description="age, sex, site that were used")


class Overlay(BaseModel):
    """A picture that an expert drew over one of the conversation's; its bytes are in the image store."""

    tool: str
    image: str
    sha256: str


class Candidate(BaseModel):
    """One row of the differential."""

    curie: str
    name: str
    probability: float


class Decision(BaseModel):
    """Why the state machine took an edge."""

    rule: str
    value: float | str | None = None
    threshold: float | None = None
    taken: str
    reason: str = ""


class Urgency(BaseModel):
    """The outcome of the red-flag rules."""

    level: Level = "routine"
    rules: list[str] = []


class ToolCallRecord(BaseModel):
    """One executed tool call."""

    name: str
    args: dict[str, Any] = {}
    status: Literal["ok", "error"] = "ok"
    ms: float = 0.0


class Audit(BaseModel):
    """What went in and what ran: hashes, thresholds, timings."""

    images: dict[str, str] = Field(default_factory=dict, description="picture id -> SHA-256")
    weights: dict[str, str] = Field(default_factory=dict, description="part -> SHA-256")
    graph_version: str = ""
    thresholds: dict[str, float] = {}
    limits: dict[str, str] = Field(default_factory=dict, description="part -> what it cannot do")
    generalist: str = ""
    prompt_version: str = ""
    ms: dict[str, float] = {}


class ClarifyAnswer(BaseModel):
    """The answer to one turn."""

    answer: str
    statements: list[Statement] = []
    evidence: list[Evidence] = []
    findings: list[Finding] = []
    overlays: list[Overlay] = []
    differential: list[Candidate] = []
    decisions: list[Decision] = []
    urgency: Urgency = Urgency()
    abstained: bool = False
    abstention_reason: str = ""
    removed_statements: list[str] = []
    tool_calls: list[ToolCallRecord] = []
    audit: Audit = Audit()
    thread: str = ""
