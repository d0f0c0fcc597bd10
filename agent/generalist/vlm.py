"""`LocalVLM`: a LangChain chat model over a transformers vision-language model in this process."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from ...errors import BadInput
from .decoding import Generation, Sampling
from .pictures import Picture
from .tool_syntax import Parsed, parse, partial_suffix, prose_length

if TYPE_CHECKING:
    from .loaded import LoadedModel
    from .loading import ModelStore

_OPTIONS = {
    "tools",
    "tool_choice",
    "max_calls",
    "max_new_tokens",
    "temperature",
    "seed",
    "parallel_tool_calls",
}


class LocalVLM(BaseChatModel):
    """Chat, pictures and tool calls on a local vision-language model.

    Tool calls are decoded under a grammar, so a call that was begun is always well-formed: with `tool_choice`
    `required` or a tool's name the whole answer is calls, with `auto` only what follows the call marker is
    constrained. Prose is free, but for a model that `copies`. Generation is serialised per loaded
    model; what `bind_tools` returns shares the model and its prefix cache.

    Example:
        >>> from clarify.agent.generalist import LocalVLM  # doctest: +SKIP
        >>> LocalVLM.from_folder("weights/nano").invoke("hello").content  # doctest: +SKIP
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    loaded: Any = Field(exclude=True, repr=False)
    """The `LoadedModel` that answers."""
    image_loader: Callable[[str], Any] | None = Field(default=None, exclude=True, repr=False)
    """Resolves the `file_id` of image blocks to a PIL image."""
    max_new_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the most likely token."""
    seed: int | None = None
    max_calls: int = Field(default=4, ge=1)
    """The most tool calls in one turn."""
    draft_tokens: int = Field(default=8, ge=0)
    """Tokens that are guessed ahead at most: fewer passes of the model, the same answer; 0 turns it off."""
    constrain_auto: bool = True
    """Whether calls that the model begins by itself are decoded under the grammar."""
    copies: bool = False
    """Whether it cites only what was retrieved, and copies what it begins to copy: for models taught so."""

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        store: ModelStore | None = None,
        quantize: bool = True,
        device: str | None = None,
        **fields: Any,
    ) -> LocalVLM:
        """Loads a model folder made by `save_pretrained`.

        Args:
            folder: Folder with model, processor and chat template.
            store: Holder that shares loaded models; without one this model is loaded for this object alone.
            quantize: NF4; a folder already saved in 4 bits loads as it is.
            device: For example `cpu`; the GPU when there is one.
            **fields: Fields of this class, for example `image_loader`.

        Raises:
            WeightsMissing: No such model, or it does not have its recorded hashes.
        """
        from .loading import ModelStore

        loaded = (store or ModelStore()).get(folder, quantize=quantize, device=device)
        return cls(loaded=loaded, **fields)

    @property
    def _llm_type(self) -> str:
        return "clarify-local-vlm"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        model: LoadedModel = self.loaded
        return {"model_name": model.name, "sha256": model.sha256, "quantized": model.quantized}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return super()._get_ls_params(stop=stop, **kwargs) | {
            "ls_provider": "clarify",
            "ls_model_name": kwargs.get("model", self.loaded.name),
        }

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offers tools to the model.

        Args:
            tools: Anything that `convert_to_openai_tool` takes.
            tool_choice: `auto` (default), `none`, `required` or `any`, True (`required`), a tool's name, or
                OpenAI's dict.
            **kwargs: Further call options: max_calls, max_new_tokens, temperature, seed, stop,
                parallel_tool_calls.

        Raises:
            BadInput: `tool_choice` names a tool that is not offered.
        """
        offered = [convert_to_openai_tool(tool) for tool in tools]
        choice = _choice(tool_choice, offered)
        return self.bind(tools=offered, tool_choice=choice, **kwargs)

    def _start(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        cancel: threading.Event | None,
        options: dict[str, Any],
    ) -> _Run:
        """Renders the prompt and prepares a generation."""
        if unknown := options.keys() - _OPTIONS:
            raise BadInput(
                f"Unknown option {', '.join(sorted(unknown))}.",
                hint=f"There are {', '.join(sorted(_OPTIONS))}.",
            )
        tools = [convert_to_openai_tool(t) for t in options.get("tools") or []]
        sampling = Sampling(
            max_new_tokens=int(options.get("max_new_tokens", self.max_new_tokens)),
            temperature=float(options.get("temperature", self.temperature)),
            seed=options.get("seed", self.seed),
            stop=tuple(s for s in stop or () if s),
            draft=self.draft_tokens,
        )
        calls = (
            1
            if options.get("parallel_tool_calls") is False
            else int(options.get("max_calls", self.max_calls))
        )
        if not messages or sampling.max_new_tokens < 1 or sampling.temperature < 0 or calls < 1:
            raise BadInput("A generation needs a message, a token, a call and a temperature of at least 0.")
        choice = _choice(options.get("tool_choice"), tools)
        prompt, pictures = self.loaded.template.render(messages, tools, self.image_loader)
        kinds = ("tool", "human") if self.copies else ()
        read = tuple([str(m.text) for m in messages if m.type == kind] for kind in kinds)
        guide = {
            "tools": tools, "choice": choice, "max_calls": calls, "constrain": self.constrain_auto,
            "read": read or None,
        }  # fmt: skip
        return _Run(self.loaded, prompt, pictures, guide, sampling, cancel)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._finish(self._start(messages, stop, None, kwargs))

    def _finish(self, run: _Run) -> ChatResult:
        for _ in run:
            pass
        return ChatResult(generations=[ChatGeneration(message=run.message())])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cancel = threading.Event()
        try:
            return await asyncio.to_thread(lambda: self._finish(self._start(messages, stop, cancel, kwargs)))
        except asyncio.CancelledError:
            cancel.set()
            raise

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        cancel = self._work(messages, stop, kwargs, inbox.put)
        try:
            while (item := inbox.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                if run_manager and item.text:
                    run_manager.on_llm_new_token(item.text, chunk=item)
                yield item
        finally:
            cancel.set()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop, inbox = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def put(item: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, item)

        cancel = self._work(messages, stop, kwargs, put)
        try:
            while (item := await inbox.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                if run_manager and item.text:
                    await run_manager.on_llm_new_token(item.text, chunk=item)
                yield item
        finally:
            cancel.set()

    def _work(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        options: dict[str, Any],
        put: Callable[[Any], None],
    ) -> threading.Event:
        """Generates in a thread of its own, so that a slow reader never holds the model's lock.

        Returns:
            The event that ends the generation between two tokens.
        """
        cancel = threading.Event()

        def work() -> None:
            try:
                run = self._start(messages, stop, cancel, options)
                for delta in run:
                    if delta:
                        put(ChatGenerationChunk(message=AIMessageChunk(content=delta, id=run.id)))
                put(ChatGenerationChunk(message=run.last_chunk()))
                put(None)
            except BaseException as error:  # handed over to the reader, who raises it
                put(error)

        threading.Thread(target=work, name="clarify-generation", daemon=True).start()
        return cancel


class _Run:
    """One generation seen from LangChain: text deltas while it runs, the message when it is done."""

    def __init__(
        self,
        lm: LoadedModel,
        prompt: str,
        pictures: list[Picture],
        guide: dict[str, Any],
        sampling: Sampling,
        cancel: threading.Event | None,
    ) -> None:
        self.id = f"run-{uuid.uuid4()}"
        self._lm, self._guide, self._stop = lm, guide, sampling.stop
        self._inputs = prompt, pictures, sampling, cancel
        self._calls = bool(guide["tools"]) and guide["choice"] != "none"
        self._said = ""

    def __iter__(self) -> Iterator[str]:
        """Yields what is certainly prose and was not yielded before."""
        prompt, pictures, sampling, cancel = self._inputs
        with self._lm.lock:
            guide = self._lm.guides.guide(**self._guide)
            self._generation = Generation(self._lm, prompt, pictures, sampling, guide, cancel)
            for text in self._generation:
                yield self._delta(self._prose(text))

    def _prose(self, text: str) -> str:
        known = prose_length(text, self._lm.guides.syntax) if self._calls else len(text)
        known = min(known, len(text) - partial_suffix(text, self._stop)) if self._stop else known
        return text[:known].strip()

    def _delta(self, prose: str) -> str:
        delta = prose[len(self._said) :]
        self._said += delta
        return delta

    def _parsed(self) -> Parsed:
        text = self._generation.text
        return parse(text, self._lm.guides.syntax) if self._calls else Parsed(text.strip())

    def _facts(self, parsed: Parsed) -> tuple[UsageMetadata, dict[str, Any]]:
        run = self._generation
        usage = UsageMetadata(
            input_tokens=run.prompt_tokens,
            output_tokens=run.new_tokens,
            total_tokens=run.prompt_tokens + run.new_tokens,
            input_token_details=InputTokenDetails(cache_read=run.cached_tokens),
        )
        reason = "tool_calls" if parsed.calls and run.finish_reason == "stop" else run.finish_reason
        facts = {"model_name": self._lm.name, "finish_reason": reason}
        return usage, facts | {"ms": dict(run.ms), "passes": run.passes}

    def message(self) -> AIMessage:
        """The whole answer."""
        parsed = self._parsed()
        usage, facts = self._facts(parsed)
        return AIMessage(
            content=parsed.content,
            tool_calls=[tool_call(name=c.name, args=c.args, id=_call_id()) for c in parsed.calls],
            invalid_tool_calls=[
                invalid_tool_call(name=b.name, args=b.raw, id=_call_id(), error=b.error)
                for b in parsed.broken
            ],
            usage_metadata=usage,
            response_metadata=facts,
        )

    def last_chunk(self) -> AIMessageChunk:
        """What remains to be said after the deltas: the rest of the text, the calls, usage and timings."""
        parsed = self._parsed()
        usage, facts = self._facts(parsed)
        chunks = [
            tool_call_chunk(name=c.name, args=json.dumps(c.args, ensure_ascii=False), id=_call_id(), index=i)
            for i, c in enumerate(parsed.calls)
        ]
        chunks += [
            tool_call_chunk(name=b.name, args=b.raw, id=_call_id(), index=len(parsed.calls) + i)
            for i, b in enumerate(parsed.broken)
        ]
        return AIMessageChunk(
            content=self._delta(parsed.content),
            tool_call_chunks=chunks,
            usage_metadata=usage,
            response_metadata=facts,
            chunk_position="last",
            id=self.id,
        )


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:16]}"


def _choice(choice: str | bool | dict[str, Any] | None, tools: Sequence[dict[str, Any]]) -> str:
    """Reduces every spelling of `tool_choice` to `auto`, `none`, `required` or a tool's name.

    Raises:
        BadInput: A tool that is not offered, or a call required without tools.
    """
    if isinstance(choice, dict):
        choice = str(choice.get("function", choice).get("name", choice.get("type", "auto")))
    word = {None: "auto", False: "auto", True: "required", "any": "required"}.get(choice, choice)
    names = [tool["function"]["name"] for tool in tools]
    if word in names or word in ("auto", "none") or (word == "required" and names):
        return str(word)
    raise BadInput(f"tool_choice {word!r} is not among the offered tools: {', '.join(names) or 'none'}.")
