"""`langgraph dev` serves both graphs: SDK, schemas, a picture, MCP and A2A.

The generalist is the shipped one, or, where its weights are absent, a small one with random weights: what
the state machine guarantees (the forced look at the picture, nothing unsupported) holds for any model.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

import clarify
from clarify.agent.answer import ClarifyAnswer
from clarify.agent.generalist.profiles import nano_folder

sdk = pytest.importorskip("langgraph_sdk")
httpx = pytest.importorskip("httpx")
pytestmark = [pytest.mark.server, pytest.mark.slow]
ROOT = Path(clarify.__file__).parent
WAIT = 240


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    if (nano_folder() / "model.safetensors").is_file():
        return "nano"
    from clarify.tests.contract.chat_model.families import build_nano

    folder = tmp_path_factory.mktemp("small")
    build_nano(folder)
    return f"path:{folder}"


@pytest.fixture(scope="module")
def server(profile: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LANGSMITH", "LANGCHAIN"))} | {
        "CLARIFY_HOME": str(home),
        "CLARIFY_PROFILE": profile,
        "LANGSMITH_TRACING": "false",
    }
    command = [
        str(Path(sys.executable).with_name("langgraph")), "dev", "--config", str(ROOT / "langgraph.json"),
        "--host", "127.0.0.1", "--port", str(port), "--no-browser", "--no-reload",
    ]  # fmt: skip
    log = (home / "server.log").open("w+")
    process = subprocess.Popen(
        command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + WAIT
        while True:
            log.seek(0)
            assert process.poll() is None and time.monotonic() < end, log.read()[-6000:]
            try:
                if httpx.get(f"{address}/ok", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(1)
        yield address
        log.seek(0)
        text = log.read()
        assert "BlockingError" not in text and "Blocking call" not in text
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


@pytest.fixture(scope="module")
def client(server: str) -> Any:
    return sdk.get_sync_client(url=server, timeout=WAIT)


@pytest.fixture(scope="module")
def png() -> str:
    buffer = io.BytesIO()
    image = Image.new("RGB", (320, 240), (222, 178, 156))
    ImageDraw.Draw(image).ellipse((110, 70, 210, 170), fill=(94, 58, 44))
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def ids(client: Any) -> dict[str, str]:
    return {a["graph_id"]: a["assistant_id"] for a in client.assistants.search()}


def test_schemas_show_the_bounds_of_the_context(client: Any) -> None:
    schemas = client.assistants.get_schemas(ids(client)["clarify"])
    fields = schemas["context_schema"]["properties"]
    threshold = fields["confidence_threshold"]
    assert (threshold["minimum"], threshold["maximum"], threshold["default"]) == (0, 1, 0.8)
    assert all(field["description"] for field in fields.values())
    for name in ("max_tool_rounds", "max_reclassify", "max_widen", "max_revisions", "max_rows"):
        assert "minimum" in fields[name] and "maximum" in fields[name]
    assert {"messages", "images", "patient"} <= set(schemas["input_schema"]["properties"])
    assert set(schemas["output_schema"]["properties"]) == {"messages", "answer"}
    asked = client.assistants.get_schemas(ids(client)["clarify_answer"])
    assert set(asked["input_schema"]["properties"]) == {"question", "image", "patient"}


def test_a_picture_in_a_thread(client: Any, png: str) -> None:
    thread = client.threads.create()["thread_id"]
    content = [
        {"type": "image", "mimeType": "image/png", "data": png, "metadata": {"name": "jane-doe.png"}},
        {"type": "text", "text": "What is this, and how is melanoma treated?"},
    ]
    result = client.runs.wait(
        thread, "clarify", input={"messages": [{"role": "user", "content": content}]}, context={"max_rows": 3}
    )
    answer = ClarifyAnswer.model_validate(result["answer"])
    assert answer.answer and answer.thread == thread
    looks = [c for c in answer.tool_calls if c.name == "classify_lesion"]
    assert looks, [d.model_dump() for d in answer.decisions]
    state = json.dumps(client.threads.get_state(thread))
    history = json.dumps(client.threads.get_history(thread))
    for kept in (state, history):
        assert png[60:160] not in kept and "jane-doe" not in kept
    again = client.runs.wait(
        thread, "clarify", input={"messages": [{"role": "user", "content": "Thank you"}]}
    )
    assert ClarifyAnswer.model_validate(again["answer"]).tool_calls == []


def test_a_bad_picture_is_refused_and_the_thread_goes_on(client: Any) -> None:
    thread = client.threads.create()["thread_id"]
    bad = base64.b64encode(b"no picture at all" * 20).decode()
    content = [
        {"type": "image", "base64": bad, "mime_type": "image/png"},
        {"type": "text", "text": "What is this?"},
    ]
    result = client.runs.wait(thread, "clarify", input={"messages": [{"role": "user", "content": content}]})
    assert result["answer"]["abstained"] and "not a picture" in result["answer"]["answer"]
    assert bad[:60] not in json.dumps(client.threads.get_history(thread))
    again = client.runs.wait(thread, "clarify", input={"messages": [{"role": "user", "content": "Hello"}]})
    assert again["answer"]["answer"]


def test_a_client_cannot_choose_what_is_loaded(client: Any) -> None:
    asked = {"messages": [{"role": "user", "content": "How is melanoma treated?"}]}
    result = client.runs.wait(
        None, "clarify", input=asked, context={"profile": "server:http://example.org#x"}
    )
    assert result["answer"]["abstained"] and "profile" in result["answer"]["answer"]


def rpc(url: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
    headers = {"Accept": "application/json, text/event-stream"}
    response = httpx.post(url, json=body, headers=headers, timeout=WAIT)
    assert response.status_code == 200, response.text
    text = response.text
    if text.startswith(("event:", "data:")):
        text = next(line for line in text.splitlines() if line.startswith("data:")).removeprefix("data:")
    result: dict[str, Any] = json.loads(text)
    assert "error" not in result, result
    return result["result"]  # type: ignore[no-any-return]


def test_mcp(server: str, png: str) -> None:
    tools = {tool["name"]: tool for tool in rpc(f"{server}/mcp", "tools/list", {})["tools"]}
    assert "question" in tools["clarify_answer"]["inputSchema"]["properties"]
    assert "Research software" in tools["clarify_answer"]["description"]
    arguments = {"question": "What is this?", "image": f"data:image/png;base64,{png}", "patient": {"age": 40}}
    result = rpc(f"{server}/mcp", "tools/call", {"name": "clarify_answer", "arguments": arguments})
    import ast

    said = ast.literal_eval(result["content"][0]["text"])
    answer = ClarifyAnswer.model_validate_json(said["answer"])
    assert [c.name for c in answer.tool_calls][0] == "classify_lesion" and png[60:160] not in str(said)


def test_a2a(server: str, client: Any, png: str) -> None:
    assistant = ids(client)["clarify"]
    card = httpx.get(
        f"{server}/.well-known/agent-card.json", params={"assistant_id": assistant}, timeout=30
    ).json()
    assert "clarify" in card["name"].lower() and "Research software" in card["description"]
    message = {
        "role": "user",
        "messageId": "m1",
        "parts": [
            {"kind": "text", "text": "What is this?"},
            {"kind": "file", "file": {"bytes": png, "mimeType": "image/png", "name": "a.png"}},
        ],
    }
    result = rpc(f"{server}/a2a/{assistant}", "message/send", {"message": message})
    said = json.dumps(result)
    assert "Research software" in said
