"""The gate: pictures leave a run's input before LangGraph checkpoints it.

LangGraph keeps the raw input of a run in the channel `__start__` and checkpoints it before any node has run.
`Gate` takes the place of that channel: it moves the bytes of attachments to the store's `pending` memory and
lets references through. It opens no file and decodes no picture, since it runs in the event loop of an async
server; `intake` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from langchain_core.messages import BaseMessage, convert_to_messages
from langgraph.channels import EphemeralValue
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from .context import Context
from .images import Pending, is_attachment, lift
from .state import InputState, OutputState, State


class Gate(EphemeralValue[Any]):
    """An ephemeral channel whose values hold no picture bytes."""

    __slots__ = ("pending",)

    def __init__(self, typ: Any, guard: bool = True, pending: Pending | None = None) -> None:
        """Moves bytes to `pending`."""
        super().__init__(typ, guard)
        self.pending = pending or Pending()

    def copy(self) -> Self:
        """Returns a copy with the same memory."""
        return self._with(super().copy())

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """Returns a channel with a checkpointed value."""
        return self._with(super().from_checkpoint(checkpoint))

    def update(self, values: Sequence[Any]) -> bool:
        """Takes values in, without their bytes."""
        return super().update([clean(value, self.pending) for value in values])

    def _with(self, other: Self) -> Self:
        other.pending = self.pending
        return other


def clean(value: Any, pending: Pending) -> Any:
    """Takes the bytes out of an input: of `messages`, `images` and `image`, and of nothing else."""
    if not isinstance(value, Mapping):
        return value
    out = dict(value)
    if "messages" in out:
        messages = out["messages"] if isinstance(out["messages"], list) else [out["messages"]]
        out["messages"] = [_clean_message(m, pending) for m in convert_to_messages(messages)]
    for key in ("images", "image"):
        if out.get(key):
            many = out[key] if isinstance(out[key], list) else [out[key]]
            lifted = [lift(as_block(item), pending) for item in many]
            out[key] = lifted if isinstance(out[key], list) else lifted[0]
    return out


def as_block(item: Any) -> Mapping[str, Any]:
    """An image block of an input item: a block already, or base64 text, or a data URL."""
    return (
        item
        if isinstance(item, Mapping)
        else {"type": "image", "base64": str(item).partition(",")[2] or str(item)}
    )


def _clean_message(message: BaseMessage, pending: Pending) -> BaseMessage:
    if not isinstance(message.content, list):
        return message
    blocks: list[str | dict[str, Any]] = [
        lift(block, pending) if isinstance(block, dict) and is_attachment(block) else block
        for block in message.content
    ]
    return message.model_copy(update={"content": blocks})


class GatedGraph(StateGraph[Any, Context, Any, Any]):
    """A `StateGraph` whose input passes the `Gate`, however it is compiled."""

    pending: Pending

    def compile(self, *args: Any, **kwargs: Any) -> CompiledStateGraph[Any, Context, Any, Any]:
        """Compiles as usual, then puts the gate in the place of the input channel."""
        graph = super().compile(*args, **kwargs)
        old = graph.channels[START]
        assert isinstance(old, EphemeralValue)
        gate = Gate(old.typ, old.guard, self.pending)
        gate.key = START
        graph.channels[START] = gate
        return graph


def gated(
    pending: Pending, state: Any = State, input_schema: Any = InputState, output: Any = OutputState
) -> GatedGraph:
    """Starts a graph builder behind a gate."""
    builder = GatedGraph(state, input_schema=input_schema, output_schema=output, context_schema=Context)
    builder.pending = pending
    return builder
