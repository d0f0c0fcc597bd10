"""The tool-call parser: what is written is read back, and nothing makes it raise."""

# ruff: noqa: E501 (templates and tables)

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.agent.generalist.tool_syntax import (
    FAMILIES,
    parse,
    partial_suffix,
    prose_length,
    recognise,
    render_call,
    render_calls,
)

NAMES = st.from_regex(r"[a-z_]{1,20}", fullmatch=True)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(max_size=12).filter(lambda s: s[:1] != " "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ARGS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)
PROSE = st.text(st.characters(exclude_characters="`{<["), max_size=30)
FRAGMENTS = st.lists(
    st.sampled_from(
        ["<tool_call>", "</tool_call>", "```tool_code\n", "```json", "```", '{"name"', ':"a"', ',"arguments":', "{}", "}",
         "[", "]", "\n", " ", "print(", "f(x=1)", '"', "\\", "NaN", "9" * 5000]
    ) | st.text(max_size=6), max_size=12,
).map("".join)  # fmt: skip


@given(
    st.sampled_from(list(FAMILIES)), st.lists(st.tuples(NAMES, ARGS), min_size=1, max_size=3), PROSE, PROSE
)
def test_round_trip(family: str, calls: list[tuple[str, dict[str, Any]]], before: str, after: str) -> None:
    syntax = FAMILIES[family]
    parsed = parse(f"{before}{render_calls(calls, syntax)}{after}", syntax)
    assert [(c.name, c.args) for c in parsed.calls] == calls
    assert not parsed.broken
    assert parsed.content.split() == f"{before} {after}".split() or parsed.content == (before + after).strip()


@given(st.sampled_from(list(FAMILIES)), FRAGMENTS)
def test_never_raises_and_never_repeats_text(family: str, text: str) -> None:
    parsed = parse(text, FAMILIES[family])
    assert len(parsed.content) <= len(text)
    assert all(isinstance(c.args, dict) and c.name for c in parsed.calls)
    assert 0 <= prose_length(text, FAMILIES[family]) <= len(text)


@given(st.sampled_from(list(FAMILIES)), FRAGMENTS, st.integers(0, 80))
def test_prose_once_said_is_never_taken_back(family: str, text: str, cut: int) -> None:
    """What a stream has shown of a prefix is the start of the final content."""
    syntax = FAMILIES[family]
    shown = text[:cut][: prose_length(text[:cut], syntax)].strip()
    assert parse(text, syntax).content.startswith(shown)


def test_deep_nesting_is_broken_not_fatal() -> None:
    parsed = parse("<tool_call>" + "[" * 200_000, FAMILIES["hermes"])
    assert len(parsed.broken) == 1 and not parsed.calls


@pytest.mark.parametrize(
    ("family", "text", "name", "args"),
    [
        ("compact", '<tool_call>{"name":"q","arguments":{"d":[" bowen disease"]}}</tool_call>', "q", {"d": ["bowen disease"]}),
        ("hermes", 'Sure.\n<tool_call>\n{"name": "q", "arguments": {"a": "</tool_call>"}}\n</tool_call>', "q", {"a": "</tool_call>"}),
        ("hermes", '<tool_call>{"name": "q", "arguments": "{\\"a\\": 1}"}', "q", {"a": 1}),
        ("hermes", '<tool_call>{"type":"function","function":{"name":"q","parameters":{"a":1}}}</tool_call>', "q", {"a": 1}),
        ("gemma", '```tool_code\nq(a="x", b=[1, 2])\n```', "q", {"a": "x", "b": [1, 2]}),
        ("gemma", "```tool_code\nprint(q(a=1))\n```", "q", {"a": 1}),
        ("gemma", '```json\n[{"name": "q", "parameters": {"a": 1}}]\n```', "q", {"a": 1}),
        ("json", 'I look.\n{"name": "q", "arguments": {"a": 1}}', "q", {"a": 1}),
        ("json", '```json\n{"name": "q", "arguments": {"a": 1}}\n```', "q", {"a": 1}),
    ],
)  # fmt: skip
def test_spellings(family: str, text: str, name: str, args: dict[str, Any]) -> None:
    parsed = parse(text, FAMILIES[family])
    assert [(c.name, c.args) for c in parsed.calls] == [(name, args)] and not parsed.broken
    assert parsed.content == text[: text.index(next(m for m in ("<tool", "```", '{"') if m in text))].strip()


@pytest.mark.parametrize(
    "text",
    ['<tool_call>{"name": "q", "arg', "<tool_call>", '<tool_call>{"arguments": {}}</tool_call>',
     '<tool_call>{"name": "q", "arguments": [1]}</tool_call>', '<tool_call>{"name": "q", "arguments": {"a": NaN}}</tool_call>'],
)  # fmt: skip
def test_unreadable_calls_are_told_apart_from_prose(text: str) -> None:
    parsed = parse("before " + text + " after", FAMILIES["hermes"])
    assert len(parsed.broken) == 1 and parsed.broken[0].error and not parsed.calls
    assert parsed.content.startswith("before")


@pytest.mark.parametrize(
    "text", ['```json\n{"a": 1}\n```', "A brace { is not a call.", '{"names": []}', "```python\nf(x=1)\n```"]
)
def test_code_that_is_no_call_stays_prose(text: str) -> None:
    for family in ("gemma", "json"):
        parsed = parse(text, FAMILIES[family])
        assert parsed.content == text and not parsed.calls and not parsed.broken


@pytest.mark.parametrize(
    "text", ["f(x={1, 2})", "f(x=b'a')", "f(x=1e999)", "[]", "f(1)", "f(**{})(", "f(x=\\ud800)"]
)
def test_python_that_is_no_json_stays_prose(text: str) -> None:
    assert parse(f"```tool_code\n{text}\n```", FAMILIES["gemma"]).calls == []


def test_half_a_surrogate_pair_is_a_broken_call() -> None:
    parsed = parse('<tool_call>{"name":"q","arguments":{"a":"\\ud800"}}</tool_call>', FAMILIES["compact"])
    assert len(parsed.broken) == 1 and not parsed.calls


def test_python_calls_are_read_not_run() -> None:
    parsed = parse("```tool_code\n__import__('os').system('true')\n```", FAMILIES["gemma"])
    assert not parsed.calls


def test_a_template_is_recognised_by_its_own_rendering() -> None:
    calls = [("probe", {"alpha": "x", "beta": 1})]
    for name, syntax in FAMILIES.items():
        assert recognise(f"... {render_call(*calls[0], syntax)} ...", calls) is syntax, name  # type: ignore[arg-type]
    assert recognise(f"<call>{json.dumps({'n': 'probe'})}</call>", calls) is None  # type: ignore[arg-type]


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=8), max_size=3))
def test_partial_suffix_is_a_start_of_a_literal(text: str, literals: list[str]) -> None:
    n = partial_suffix(text, literals)
    assert n == 0 or any(literal.startswith(text[-n:]) and len(literal) > n for literal in literals)
