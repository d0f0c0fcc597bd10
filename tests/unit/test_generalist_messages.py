"""Messages to template text: what a template can do is found out, what it cannot do is put into words."""

# ruff: noqa: E501 (templates and tables)

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from PIL import Image

from clarify.agent.generalist.messages import ChatTemplate, fallback_syntax
from clarify.agent.generalist.pictures import as_data_url, load_picture
from clarify.agent.generalist.tool_syntax import FAMILIES
from clarify.errors import BadImage, BadInput

GEMMA = """{%- if (messages[0].role == "system") -%}{%- set ms = messages[1:] -%}{%- else -%}{%- set ms = messages -%}{%- endif -%}
{%- for m in ms -%}
{%- if (m.role == "user") != (loop.index0 % 2 == 0) -%}{{- raise_exception("roles must alternate") -}}{%- endif -%}
{%- if m.role not in ("user", "assistant") -%}{{- raise_exception("no such role") -}}{%- endif -%}
{{- "<" ~ m.role ~ ">" -}}
{%- if m.content is string -%}{{- m.content -}}
{%- else -%}{%- for b in m.content -%}{{- "<IMG>" if b.type == "image" else b.text -}}{%- endfor -%}{%- endif -%}
{{- "</" ~ m.role ~ ">" -}}
{%- endfor -%}{{- "<assistant>" -}}"""

TEXT_ONLY_TOOLS = """{%- for m in messages -%}
{{- "<" ~ m.role ~ ">" -}}
{%- if m.role == "tool" -%}{{- m.content if m.content is string else raise_exception("text only") -}}
{%- elif m.content is string -%}{{- m.content -}}
{%- else -%}{%- for b in m.content -%}{{- "<IMG>" if b.type == "image" else b.text -}}{%- endfor -%}{%- endif -%}
{%- for c in m.tool_calls or [] -%}
{{- '<tool_call>{"name":"' ~ c.function.name ~ '","arguments":' ~ c.function.arguments | tojson(separators=(",", ":")) ~ "}</tool_call>" -}}
{%- endfor -%}{%- endfor -%}
{%- if tools -%}{{- tools | tojson -}}{%- endif -%}"""

TRIMS = GEMMA.replace("{{- m.content -}}", "{{- m.content | trim -}}").replace(
    "else b.text -}}", "else b.text | trim -}}"
)
TRIMS = TRIMS.replace(
    "{%- for m in ms -%}", '{{- messages[0].content if messages[0].role == "system" -}}{%- for m in ms -%}'
)
FIRST_ONLY = """{%- for m in messages -%}
{%- if m.role != "system" or loop.first -%}{{- "<" ~ m.role ~ ">" ~ m.content -}}{%- endif -%}
{%- endfor -%}"""

TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "d", "parameters": {"type": "object"}},
}
PIXELS = Image.new("RGB", (4, 3), (9, 8, 7))


def template(source: str, model_type: str = "gemma3") -> ChatTemplate:
    env = ImmutableSandboxedEnvironment()

    def refuse(message: str) -> None:
        raise ValueError(message)

    def tojson(value: Any, separators: tuple[str, str] | None = None) -> str:
        import json

        return json.dumps(value, separators=separators)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    compiled = env.from_string(source)
    apply: Callable[..., str] = lambda messages, tools: compiled.render(messages=messages, tools=tools)  # noqa: E731
    return ChatTemplate(
        apply, "<IMG>", ["<IMG>", "<user>", "</user>", "<tool_call>"], fallback_syntax(model_type, {})
    )


TEXT_ONLY = template(TEXT_ONLY_TOOLS)


def picture(**more: Any) -> dict[str, Any]:
    return {"type": "image", "file_id": "ab" * 32, **more}


def thread() -> list[BaseMessage]:
    return [
        SystemMessage("be brief"),
        HumanMessage([picture(), {"type": "text", "text": "what?"}]),
        AIMessage(
            "",
            tool_calls=[
                {"name": "look", "args": {"a": "x"}, "id": "1"},
                {"name": "ask", "args": {}, "id": "2"},
            ],
        ),
        ToolMessage("nevus", tool_call_id="1"),
        ToolMessage([{"type": "text", "text": "rows"}, picture()], tool_call_id="2"),
    ]


def test_a_template_without_tools_system_and_tool_role_gets_words() -> None:
    gemma = template(GEMMA)
    assert (
        not (gemma.traits.tools or gemma.traits.tool_role or gemma.traits.system)
        and gemma.traits.syntax is None
    )
    text, pictures = gemma.render(thread(), [TOOL], lambda _: PIXELS)
    assert text.count("<IMG>") == len(pictures) == 2
    assert '"name": "look"' in text and "be brief" in text and "look: nevus" in text and "ask: " in text
    assert "```tool_code\n" in text.split("<assistant>")[1]
    assert text.index("be brief") < text.index("<IMG>")


def test_a_template_with_tools_gets_them_natively() -> None:
    native = template(TEXT_ONLY_TOOLS)
    assert native.traits.tools and native.syntax is FAMILIES["compact"]
    text, pictures = native.render(thread(), [TOOL], lambda _: PIXELS)
    assert (
        '<tool_call>{"name":"look","arguments":{"a":"x"}}</tool_call><tool_call>{"name":"ask","arguments":{}}'
        in text
    )
    assert (
        "<tool>nevus<tool>rows<user><IMG>" in text and len(pictures) == 2
    )  # a tool's picture follows in a user message


@pytest.mark.parametrize("source", [GEMMA, TRIMS, FIRST_ONLY])
def test_a_later_system_message_is_not_lost(source: str) -> None:
    """Templates drop it, refuse it, or give it a role that the model has never seen."""
    chat = template(source)
    assert not chat.traits.late_system
    for before in ([HumanMessage("one")], [HumanMessage("one"), AIMessage("two")]):
        text, _ = chat.render(
            [SystemMessage("first"), *before, SystemMessage("late"), HumanMessage("ok?")], [], None
        )
        assert text.index("first") < text.index("one") < text.index("late") < text.index("ok?")
        assert "<system>late" not in text
    assert template(TEXT_ONLY_TOOLS).traits.late_system


def test_neighbouring_texts_do_not_run_into_each_other() -> None:
    """Also where the template trims each block."""
    blocks = [{"type": "text", "text": "rows"}, {"type": "text", "text": "more"}]
    call = AIMessage("I look.", tool_calls=thread()[2].tool_calls)  # type: ignore[attr-defined]
    results = [ToolMessage("nevus", tool_call_id="1"), ToolMessage([*blocks, picture()], tool_call_id="2")]
    text, _ = template(TRIMS).render([HumanMessage("what?"), call, *results], [], lambda _: PIXELS)
    assert "<user>look: nevus\nask: rows\nmore<IMG></user>" in text
    assert "<assistant>I look.\n```tool_code\n" in text
    bare, _ = template(TRIMS).render(
        [HumanMessage("what?"), call, ToolMessage([picture()], tool_call_id="2")], [], lambda _: PIXELS
    )
    assert "<user>ask:<IMG></user>" in bare
    plain, _ = TEXT_ONLY.render(
        [HumanMessage([*blocks, picture()]), HumanMessage(blocks)], [], lambda _: PIXELS
    )
    assert "<user>rows\nmore<IMG><user>rows\nmore" in plain


def test_pictures_keep_their_order() -> None:
    shas = [f"{i:064x}" for i in range(4)]
    blocks = [{"type": "image", "file_id": sha} for sha in shas]
    _, pictures = template(TEXT_ONLY_TOOLS).render(
        [HumanMessage(blocks[:2]), HumanMessage(blocks[2:])], [], lambda _: PIXELS
    )
    assert [p.sha256 for p in pictures] == shas


@given(
    st.lists(st.sampled_from(["<IMG>", "<user>", "</user>", "<tool_call>", "<", " ", "a"]), max_size=8).map(
        "".join
    )
)
def test_control_tokens_cannot_be_spelled(text: str) -> None:
    chat = TEXT_ONLY
    call = AIMessage(text, tool_calls=[{"name": "look", "args": {"a": [text]}, "id": "1"}])
    rendered, _ = chat.render([HumanMessage(text), call, ToolMessage(text, tool_call_id="1")], [], None)
    assert (
        rendered.count("<IMG>") == 0 and rendered.count("<user>") == 1 and rendered.count("<tool_call>") == 1
    )


def test_what_cannot_be_shown_is_refused() -> None:
    chat = template(GEMMA)
    for messages in (
        [HumanMessage([{"type": "video", "url": "x"}])],
        [HumanMessage([{"type": "image"}])],
        [ChatMessage("hello", role="critic")],
    ):
        with pytest.raises(BadInput):
            chat.render(messages, [], lambda _: PIXELS)


def test_a_broken_inline_picture_is_a_bad_image() -> None:
    for data in ("", "%%%", base64.b64encode(b"\xff\xd8\xff\xe0 truncated").decode()):
        with pytest.raises(BadImage):
            load_picture({"type": "image", "base64": data}, None)


def test_data_urls_carry_pixels_and_nothing_else() -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "secret"
    PIXELS.save(buffer, "JPEG", exif=exif)
    loaded = load_picture({"type": "image", "base64": base64.b64encode(buffer.getvalue()).decode()}, None)
    url = as_data_url(loaded)
    again = load_picture({"type": "image_url", "image_url": {"url": url}}, None)
    assert again.image.tobytes() == loaded.image.tobytes() and b"secret" not in base64.b64decode(
        url.split(",")[1]
    )
