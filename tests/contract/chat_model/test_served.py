"""A small local server that speaks OpenAI's protocol stands in for vLLM."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from PIL import Image

from clarify.agent.generalist import load_generalist
from clarify.errors import BadInput, Unavailable

pytest.importorskip("langchain_openai", reason="the extra `server` is not installed")


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            call = {"name": "look", "arguments": '{"image": "img1"}'}
            message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": call}]}  # fmt: skip  # noqa: E501
            choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
            body = json.dumps(
                {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: Any) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1", seen
    httpd.shutdown()
    httpd.server_close()


def look(image: str) -> str:
    """Look at a picture."""
    return image


def test_references_travel_as_data_urls(server: tuple[str, list[dict[str, Any]]]) -> None:
    url, seen = server
    loader = lambda _: Image.new("RGB", (4, 4), (200, 10, 10))  # noqa: E731
    vlm = load_generalist(f"server:{url}#m", image_loader=loader, max_new_tokens=7)
    question = HumanMessage(
        [{"type": "text", "text": "img1:"}, {"type": "image", "file_id": "ab" * 32, "id": "img1"}]
    )
    answer = vlm.bind_tools([look], tool_choice="look").invoke([question])
    assert isinstance(answer, AIMessage) and answer.tool_calls[0]["args"] == {"image": "img1"}
    sent = seen[0]["messages"][0]["content"]
    assert sent[0] == {"type": "text", "text": "img1:"}
    assert sent[1]["type"] == "image_url" and sent[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert seen[0]["tool_choice"]["function"]["name"] == "look"
    assert 7 in (seen[0].get("max_tokens"), seen[0].get("max_completion_tokens"))
    vlm.invoke([question, answer, ToolMessage("nevus", tool_call_id="1")])
    assert [m["role"] for m in seen[1]["messages"]] == ["user", "assistant", "tool"]


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    monkeypatch.delitem(sys.modules, "clarify.agent.generalist.served", raising=False)
    with pytest.raises(Unavailable) as caught:
        load_generalist("server:http://127.0.0.1:1/v1#m")
    assert "clarify-derm[server]" in caught.value.hint
    with pytest.raises(BadInput, match="names no model"):
        load_generalist("server:http://127.0.0.1:1/v1")
