"""The chat models of Anthropic and Google, over HTTP, against servers that speak their protocols."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.tools import tool
from pydantic import SecretStr

from rag_assets.copilot.agent.models import ModelSettings, chat_model

KEY = "key-of-this-test"

ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "scripted",
    "content": [
        {"type": "text", "text": "Ask the shelf."},
        {"type": "tool_use", "id": "call_1", "name": "shelf", "input": {"number": 3}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 50, "output_tokens": 10},
}
GOOGLE = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Ask the shelf."},
                    {"functionCall": {"name": "shelf", "args": {"number": 3}}},
                ],
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 10, "totalTokenCount": 60},
    "modelVersion": "scripted",
}
REPLIES = {"anthropic": ("/v1/messages", ANTHROPIC), "google": (":generateContent", GOOGLE)}


Request = tuple[str, dict[str, str], str]
"""Path, headers in lower case, body."""


@contextmanager
def serving(reply: dict[str, Any], failures: int) -> Iterator[tuple[str, list[Request]]]:
    """Base URL of a server that fails with 429 at first, and the requests that it got."""
    received: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            refused = len(received) <= failures
            content = json.dumps({"error": {"message": "slow down"}} if refused else reply).encode()
            self.send_response(429 if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("retry-after-ms", "5")
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@tool
def shelf(number: int) -> str:
    """What stands on a shelf."""
    return str(number)


@pytest.mark.parametrize("provider", ["anthropic", "google"])
def test_a_provider_is_asked_in_its_own_protocol(provider: str) -> None:
    """Forbids a provider that can be named in the settings and fails when it is asked.

    The server refuses once: the client has to try again by itself.
    """
    path, reply = REPLIES[provider]
    with serving(reply, failures=1) as (url, received):
        settings = ModelSettings(provider, "scripted", url, SecretStr(KEY), timeout_s=20)  # type: ignore[arg-type]
        found = chat_model(settings, answer_tokens=300).bind_tools([shelf]).invoke("What is on shelf 3?")

    assert [call["args"] for call in found.tool_calls] == [{"number": 3}]  # type: ignore[attr-defined]
    assert "Ask the shelf." in str(found.content)
    assert found.usage_metadata == {"input_tokens": 50, "output_tokens": 10, "total_tokens": 60} | {  # type: ignore[attr-defined]
        name: value
        for name, value in found.usage_metadata.items()
        if name.endswith("details")  # type: ignore[attr-defined]
    }
    assert len(received) == 2
    asked_path, headers, body = received[-1]
    assert path in asked_path
    assert any(KEY in value for value in headers.values()), headers
    assert "What is on shelf 3?" in body
    assert "300" in body
