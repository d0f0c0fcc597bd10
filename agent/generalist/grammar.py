"""Tool calls decoded under a grammar (xgrammar): the call is always well-formed, prose is not constrained.

"Always" needs bounded strings, lists and numbers and no free whitespace; see `bounded`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .citing import only
from .copying import Copying
from .tool_syntax import ToolSyntax

if TYPE_CHECKING:
    import torch
    import xgrammar
    from transformers import PreTrainedTokenizerBase

MAX_STRING = 200
MAX_ITEMS = 8
MAX_NUMBER = 10**12
_SAFE = r"[ !#-\[\]-~\u00a0-\ud7ff\ue000-\uffff]"  # no control characters, quotes, backslashes, surrogates
_SCALARS: list[dict[str, Any]] = [{"type": t} for t in ("string", "number", "boolean", "null")]


def bounded(schema: Any) -> Any:
    """Returns a JSON schema whose every instance is short.

    Free strings get a length (200 characters unless the schema says less) and lose control characters,
    quotes and backslashes; lists get at most 8 items, numbers at most 12 digits; a value of any type
    becomes a scalar. Strings with `pattern`, `format`, `enum` or `const` are left as they are.
    """
    if not isinstance(schema, Mapping) or not schema:
        return {"anyOf": [bounded(s) for s in _SCALARS]}
    out = {k: v for k, v in schema.items() if k not in ("title", "description", "default", "examples")}
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in out:
            out[key] = [bounded(s) for s in out[key]]
    if any(key in out for key in ("anyOf", "oneOf", "allOf", "$ref", "enum", "const")):
        return out
    kinds = out.get("type")
    if isinstance(kinds, list):
        return {"anyOf": [bounded({**out, "type": kind}) for kind in kinds]}
    if kinds == "string" and not out.keys() & {"pattern", "format"}:
        low, high = out.pop("minLength", 0), out.pop("maxLength", MAX_STRING)
        out["pattern"] = f"^{_SAFE}{{{low},{high}}}$"
    elif kinds in ("integer", "number"):
        if not out.keys() & {"minimum", "exclusiveMinimum"}:
            out["minimum"] = -MAX_NUMBER
        if not out.keys() & {"maximum", "exclusiveMaximum"}:
            out["maximum"] = MAX_NUMBER
    elif kinds == "array":
        out["items"] = bounded(out.get("items"))
        out.setdefault("maxItems", max(MAX_ITEMS, out.get("minItems", 0)))
    elif kinds == "object":
        out["properties"] = {name: bounded(s) for name, s in out.get("properties", {}).items()}
        out["additionalProperties"] = False
    elif kinds is None:
        return (
            bounded({**out, "type": "object"})
            if "properties" in out
            else {"anyOf": [bounded(s) for s in _SCALARS]}
        )
    return out


def call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of one call of one of the tools: name first, then arguments in schema order."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool["function"]["name"]},
                    "arguments": bounded(
                        {"type": "object", "properties": {}, **tool["function"].get("parameters", {})}
                    ),
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in tools
        ]
    }


class GuideFactory:
    """Compiles grammars for one tokenizer and hands out guides.

    Special tokens are hidden from the grammar, so none can turn up inside a string; the family's markers,
    where they are single tokens, are reachable only as tokens.

    Args:
        tokenizer: The model's own tokenizer.
        vocab_size: Rows of the output layer; may exceed the tokenizer's size.
        stop_ids: Token ids that end a turn.
        syntax: How the family writes calls.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, stop_ids: Sequence[int], syntax: ToolSyntax
    ) -> None:
        import xgrammar

        self.syntax, self.stop_ids, self.tokenizer = syntax, list(stop_ids), tokenizer
        vocabulary = tokenizer.get_vocab()
        self.markers = {m: vocabulary[m] for m in (syntax.begin, syntax.end) if m in vocabulary}
        read = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size)
        texts = list(read.decoded_vocab)
        for token_id, token in tokenizer.added_tokens_decoder.items():
            if token.special and token_id < vocab_size:
                texts[token_id] = b""
        for marker, token_id in self.markers.items():
            texts[token_id] = (
                b"\x00" + marker.encode()
            )  # unreachable by text: strings hold no control characters
        info = xgrammar.TokenizerInfo(
            texts, xgrammar.VocabType.RAW, vocab_size=vocab_size, stop_token_ids=self.stop_ids
        )
        self.vocab_size, self._texts = vocab_size, texts
        # xgrammar 0.2.8's own cache fails on strings longer than about 100 characters; `_compiled` takes
        # its place.
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._compiled: dict[str, xgrammar.CompiledGrammar] = {}

    def guide(
        self,
        tools: Sequence[Mapping[str, Any]],
        choice: str,
        max_calls: int = 4,
        constrain: bool = True,
        read: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> Guide:
        """Makes the guide of one generation.

        Args:
            tools: Tools in OpenAI format; may be empty.
            choice: `auto`, `none`, `required`, or the name of a tool.
            max_calls: The most calls in one turn, at least 1.
            constrain: Whether a call that the model opens by itself is constrained (`auto` only).
            read: For a model that was taught to copy, texts of the tool results and of what the user wrote.
        """
        copying = Copying(self.tokenizer, *read) if read else None
        if not tools or choice == "none":
            banned = [i for m, i in self.markers.items() if m == self.syntax.begin]
            return Guide(self, None, must=False, max_calls=0, banned=banned, copying=copying)
        if choice not in ("auto", "required"):
            tools = [tool for tool in tools if tool["function"]["name"] == choice]
        must = choice != "auto"
        if not must and not constrain:
            return Guide(self, None, must=False, max_calls=max_calls, copying=copying)
        compiled = self._compile(tools, max_calls if must else 1)
        return Guide(self, compiled, must=must, max_calls=max_calls, copying=copying)

    def spelled(self, ids: Sequence[int]) -> bytes:
        """The bytes that tokens stand for inside a call."""
        return b"".join(self._texts[i] for i in ids)

    def _compile(self, tools: Sequence[Mapping[str, Any]], count: int) -> xgrammar.CompiledGrammar:
        import xgrammar

        key = json.dumps([count, tools], sort_keys=False)
        if key not in self._compiled:
            if len(self._compiled) >= 64:
                self._compiled.clear()
            body = xgrammar.Grammar.from_json_schema(
                json.dumps(call_schema(tools)), any_whitespace=False, separators=self.syntax.separators
            )
            call = self._call_format(str(body))
            more = [*self._literal(self.syntax.join), call]
            parts = [call]
            if count > 1:
                parts.append({"type": "repeat", "min": 0, "max": count - 1, "content": _sequence(more)})
            tag = {"type": "structural_tag", "format": _sequence(parts)}
            self._compiled[key] = self._compiler.compile_structural_tag(json.dumps(tag))
        return self._compiled[key]

    def _call_format(self, body: str) -> dict[str, Any]:
        syntax = self.syntax
        begin = [] if syntax.bare else self._literal(syntax.begin)
        json_part = {"type": "grammar", "grammar": body}
        return _sequence(
            [
                *begin,
                *self._literal(syntax.lead),
                json_part,
                *self._literal(syntax.tail),
                *self._literal(syntax.end),
            ]
        )

    def _literal(self, text: str) -> list[dict[str, Any]]:
        if text in self.markers:
            return [{"type": "token", "token": self.markers[text]}]
        return [{"type": "const_string", "value": text}] if text else []


def _sequence(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"type": "sequence", "elements": parts}


class Guide:
    """Says which token may come next; one per generation.

    Two states: prose (no mask but that of a copy) and inside a call (mask of the grammar, and of a copy where
    the grammar lets it go on). With `must` the first token is already inside.
    """

    def __init__(
        self,
        factory: GuideFactory,
        compiled: xgrammar.CompiledGrammar | None,
        *,
        must: bool,
        max_calls: int,
        banned: Sequence[int] = (),
        copying: Copying | None = None,
    ) -> None:
        self._copying = copying
        self._factory, self._compiled, self._must, self._banned = factory, compiled, must, list(banned)
        self._calls_left = max_calls
        self._matcher: xgrammar.GrammarMatcher | None = None
        self._bitmask: torch.Tensor | None = None
        self._seen = 0
        self._ids: list[int] = []
        if must:
            self._open()

    @property
    def constrained(self) -> bool:
        """Whether the next token is under the grammar."""
        return self._matcher is not None

    def mask(self, logits: torch.Tensor) -> None:
        """Sets the logits (vocabulary,) of forbidden tokens to minus infinity, in place."""
        if self._matcher is not None and self._bitmask is not None:
            import xgrammar

            self._matcher.fill_next_token_bitmask(self._bitmask)
            xgrammar.apply_token_bitmask_inplace(logits, self._bitmask[0].to(logits.device))
            if (allowed := self._allowed()) and bool(logits[allowed].isfinite().any()):
                only(logits, allowed)
        elif self._compiled is not None and self._calls_left < 1:
            only(logits, self._factory.stop_ids)
        else:
            if allowed := self._allowed():
                only(logits, allowed)
            if self._banned:
                logits[self._banned] = float("-inf")

    def _allowed(self) -> list[int]:
        return self._copying.allowed() if self._copying else []

    def accept(self, token: int, text: str) -> None:
        """Takes the chosen token and the text generated so far, which includes it."""
        if self._copying:
            self._copying.accept(token, lambda: text)
        if self._matcher is not None:
            self._matcher.accept_token(token)
            self._ids = [] if token in self._factory.markers.values() else [*self._ids, token]
            if not self._must and self._matcher.is_completed():
                self._matcher, self._seen = None, len(text)
                self._calls_left -= 1
            return
        if self._compiled is not None and self._calls_left > 0:
            self._watch(text)

    def forced(self) -> list[int]:
        """Tokens that must come next, as the tokenizer spells them; they need not be chosen one by one.

        The last one is left to the model: what follows it may belong to the same token.
        """
        if self._matcher is None:
            return self._copying.forced() if self._copying else []
        if not (text := self._matcher.find_jump_forward_string()):
            return []
        tokenizer, count = self._factory.tokenizer, len(self._ids)
        said = tokenizer.decode(self._ids, clean_up_tokenization_spaces=False)
        ids = tokenizer(f"{said}{text}", add_special_tokens=False).input_ids
        if ids[:count] == self._ids:
            return list(ids[count:-1])
        # The model has spelled the call in its own way so far: what must follow is spelled for itself, if the
        # tokenizer can do that without adding anything, such as a space in front.
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return list(ids[:-1]) if self._factory.spelled(ids) == text.encode() else []

    def _watch(self, text: str) -> None:
        """Starts the grammar once the model has opened a call by itself."""
        syntax = self._factory.syntax
        at = text.find(syntax.begin, self._seen)
        if at < 0:
            return
        self._seen = at + len(syntax.begin)
        matcher = self._open()
        if syntax.begin in self._factory.markers:
            begun, rest = matcher.accept_token(self._factory.markers[syntax.begin]), text[self._seen :]
        else:
            begun, rest = True, text[at:]
        if not (begun and (not rest or matcher.accept_string(rest))):
            self._matcher = None  # the opening token ran on into something that is no call: it stays prose

    def _open(self) -> xgrammar.GrammarMatcher:
        import xgrammar

        assert self._compiled is not None
        self._matcher = xgrammar.GrammarMatcher(self._compiled)
        self._ids = []
        self._bitmask = xgrammar.allocate_token_bitmask(1, self._factory.vocab_size)
        return self._matcher
