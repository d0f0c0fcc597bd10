"""`intake`: takes in the turn's words and pictures; nothing after it meets a client's data as it was sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.messages import HumanMessage

from ...errors import BadImage, ClarifyError
from ...graph_schema.protocol import Link
from ...graph_schema.told import Told
from ...tools.knowledge import Knowledge
from ..deps import Env
from ..gate import as_block
from ..images import Stored, is_attachment, keep, lift
from ..must_calls import MEDICAL
from ..patient import patient_context
from ..prompts import phrase
from ..red_flags import triage
from ..state import ImageRef, State, Work, decision
from ..turn_kind import asks_which_condition, intents, turn_kind

T = TypeVar("T")
MAX_WORDS = 4000
"""Longest question, in characters."""
_log = logging.getLogger(__name__)


def intake(state: State, env: Env) -> dict[str, Any]:
    """Starts a turn: rewrites the user's message to references, and reads what its words say."""
    before = state.get("work", {})
    work: Work = {"turn": before.get("turn", 0) + 1, "counts": {}, "ms": {}, "verdicts": {}}
    new = [m for m in state["messages"] if isinstance(m, HumanMessage) and "turn" not in m.additional_kwargs]
    attachments = [
        [b for b in m.content if is_attachment(b)] if isinstance(m.content, list) else [] for m in new
    ]
    if new:
        attachments[-1] += state.get("images") or []
    words = [_words(m.content) for m in new]
    work["text"] = "\n".join(filter(None, words))[:MAX_WORDS]
    pictures = list(state.get("pictures", []))
    refused: list[str] = []
    kept = [_keep(blocks, pictures, refused, work["turn"], env) for blocks in attachments]
    work["attached"] = list(dict.fromkeys(ref["id"] for refs in kept for ref in refs))
    if work["attached"] and not work["text"]:
        words[-1] = work["text"] = phrase("default_question")
    if stop := _stop(refused, work["text"], sum(map(len, words))):
        work["stop"] = stop
    messages = [
        _rewritten(m, w[:MAX_WORDS], refs, work["turn"]) for m, w, refs in zip(new, words, kept, strict=True)
    ]
    decisions = _read(work, before, state, env)
    return {
        "messages": messages, "images": [], "work": work, "decisions": decisions, "answer": {},
        "pictures": pictures[len(state.get("pictures", [])) :],
        "patient": patient_context(work["text"], state.get("patient")),
    }  # fmt: skip


def _words(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content.strip()
    texts = (b if isinstance(b, str) else b.get("text", "") for b in content if not is_attachment(b))
    return "\n".join(str(text) for text in texts).strip()


def _stop(refused: Sequence[str], text: str, length: int) -> dict[str, str]:
    if refused:
        return {"key": "bad_image", "detail": " ".join(dict.fromkeys(refused))}
    if not text:
        return {"key": "bad_question", "detail": "There is no question."}
    if length > MAX_WORDS:
        return {"key": "bad_question", "detail": f"The question is longer than {MAX_WORDS} characters."}
    return {}


def _keep(
    blocks: Sequence[Any], pictures: list[ImageRef], refused: list[str], turn: int, env: Env
) -> list[ImageRef]:
    """Stores the pictures of one message and numbers the new ones; one that the thread has keeps its id."""
    refs = []
    for block in blocks:
        try:
            stored = keep(lift(as_block(block), env.deps.images.pending), env.deps.images)
        except BadImage as error:
            refused.append(error.line())
            continue
        ref = next((p for p in pictures if p["sha256"] == stored.sha256), None)
        if ref is None:
            ref = _ref(f"img{len(pictures) + 1}", stored, turn)
            pictures.append(ref)
        refs.append(ref)
    return refs


def _ref(name: str, stored: Stored, turn: int) -> ImageRef:
    return {
        "id": name, "sha256": stored.sha256, "source_sha256": stored.source_sha256,
        "width": stored.width, "height": stored.height, "turn": turn,
    }  # fmt: skip


def _rewritten(message: HumanMessage, text: str, refs: Sequence[ImageRef], turn: int) -> HumanMessage:
    """The message as the generalist is trained to read it; its id makes it replace the one that came in."""
    content: str | list[str | dict[str, Any]] = text
    if refs:
        content = []
        for ref in refs:
            content.append({"type": "text", "text": f"{ref['id']}:"})
            # Nothing fetches the url; the server's A2A endpoint refuses to send a block without one.
            url = f"urn:sha256:{ref['sha256']}"
            content.append({"type": "image", "file_id": ref["sha256"], "id": ref["id"], "url": url})
        content.append({"type": "text", "text": text})
    return HumanMessage(content=content, id=message.id, additional_kwargs={"turn": turn})


def _read(work: Work, before: Work, state: State, env: Env) -> list[dict[str, Any]]:
    """Fills kind, intents, subjects and urgency from the words; returns what went wrong on the way."""
    text = work["text"]
    decisions: list[dict[str, Any]] = []
    links: list[Link] = []
    if text:
        links = _of_graph(lambda graph: graph.mentions(text), links, work, decisions, env)
    earlier = before.get("subjects", [])
    mentioned = list(dict.fromkeys(link.curie for link in links))
    work["mentions"] = list(dict.fromkeys(link.name for link in links))
    work["subjects"] = mentioned or ([] if work["attached"] else list(earlier))
    work["topics"] = work["mentions"] or ([] if work["attached"] else list(before.get("topics", [])))
    asked = intents(text, len(work["mentions"]))
    work["intents"] = list(dict.fromkeys("describe" if name == "identify" else name for name in asked))
    work["kind"] = turn_kind(
        text, has_image=bool(work["attached"]), thread_has_subject=bool(earlier), mentions=work["mentions"]
    )
    if decisions and asked and work["kind"] in ("unclear", "out_of_field"):
        work["kind"] = MEDICAL  # without the graph nobody knows which words name a disease
    medical = work["kind"] == MEDICAL
    if (medical or work["kind"] == "unclear") and not (mentioned or work["attached"] or decisions):
        if asks_which_condition(text, thread_has_subject=bool(earlier)):
            told = _of_graph(lambda graph: graph.told(text), Told(), work, decisions, env)
            if told.signs and (medical or told.sites):  # a sign at a site of the body is about skin
                work["told"] = {"signs": list(told.signs), "sites": list(told.sites)}
                work["kind"] = MEDICAL
    work["urgency"] = triage(text, patient=state.get("patient")).urgency().model_dump(mode="json")
    return decisions


def _of_graph(
    ask: Callable[[Knowledge], T], empty: T, work: Work, decisions: list[dict[str, Any]], env: Env
) -> T:
    """What the graph reads in the words; without a graph, nothing and a decision that says so."""
    try:
        return ask(env.deps.knowledge())
    except ClarifyError as error:
        _log.warning("the knowledge graph is not available", exc_info=True)
        decisions.append(decision(work, "graph_unavailable", "go on without", reason=error.line()))
        return empty
