"""A small server that speaks the chat-completions protocol: streaming, tool calls, 429, silence, garbage.

Its model obeys every directive `<<tool name=value>>` and `<<say words>>` that it finds in any text it is
sent, wherever that text came from: what it then achieves is what an injected instruction can achieve.
Avoid assertions here.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_DIRECTIVE = re.compile(r"<<(\w+)((?: \w+=[\w.-]+)*)>>|<<say ([^>]*)>>")


@dataclass
class ScriptedModel:
    """What the server does next, and what it was sent.

    Attributes:
        tools_to_ask: Tool calls that it makes of its own accord while planning, one per turn.
        answer: What it says while wording, beside what it is told to say.
        fail: `429`, `garbage`, `silence` or `` for each of the next requests; then it works.
        bodies: Every request as received.
        obeyed: Directives that it followed: (directive, whether tools were offered).
    """

    tools_to_ask: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: str = ""
    fail: list[str] = field(default_factory=list)
    always_fail: str = ""
    bodies: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    obeyed: list[tuple[str, bool]] = field(default_factory=list)
    silence_s: float = 5.0


@contextmanager
def serving(model: ScriptedModel) -> Iterator[str]:
    """The base URL of a running server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            model.bodies.append(body)
            model.headers.append(dict(self.headers))
            failure = model.fail.pop(0) if model.fail else model.always_fail
            with suppress(BrokenPipeError, ConnectionResetError):  # the client's time was up
                _respond(self, model, json.loads(body), failure)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _respond(
    handler: BaseHTTPRequestHandler, model: ScriptedModel, request: dict[str, Any], failure: str
) -> None:
    if failure == "429":
        _send(
            handler,
            429,
            b'{"error": {"message": "slow down", "type": "rate_limit"}}',
            {"retry-after-ms": "5"},
        )
    elif failure == "garbage":
        _send(handler, 200, b"<html>upstream connect error</html>", {"Content-Type": "text/html"})
    elif failure == "silence":
        time.sleep(model.silence_s)
        _send(handler, 504, b"{}", {})
    elif request.get("stream"):
        _stream(handler, model, request)
    else:
        text, calls = _reply(model, request)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        payload = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
            "choices": [choice],
            "usage": {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60},
        }
        _send(handler, 200, json.dumps(payload).encode(), {"Content-Type": "application/json"})


def _reply(model: ScriptedModel, request: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """What the model says and calls: first what it is told by any text, then its own script."""
    offered = bool(request.get("tools"))
    contents = [str(message.get("content") or "") for message in request["messages"]]
    said: list[str] = []
    calls: list[dict[str, Any]] = []
    for match in _DIRECTIVE.finditer("\n".join(contents)):
        model.obeyed.append((match.group(), offered))
        if match.group(3):
            said.append(match.group(3))
        else:
            arguments = dict(pair.split("=") for pair in match.group(2).split())
            calls.append(_call(match.group(1), arguments, len(calls)))
    if not calls and offered and model.tools_to_ask:
        calls.append(_call(*model.tools_to_ask.pop(0), 0))
    text = " ".join([*([model.answer] if not offered else ["DONE"]), *said])
    return text, calls


def _call(name: str, arguments: dict[str, Any], index: int) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "id": f"call-{index}-{time.monotonic_ns()}",
        "type": "function",
        "index": index,
        "function": function,
    }


def _stream(handler: BaseHTTPRequestHandler, model: ScriptedModel, request: dict[str, Any]) -> None:
    """The reply in pieces of seven characters, so that names are cut anywhere."""
    text, calls = _reply(model, request)
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()
    deltas: list[dict[str, Any]] = [{"content": text[i : i + 7]} for i in range(0, len(text), 7)]
    if calls:
        deltas.append({"tool_calls": calls})
    for delta in deltas:
        _chunk(
            handler,
            {"choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}]},
        )
    _chunk(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    _chunk(
        handler, {"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120}}
    )
    handler.wfile.write(b"data: [DONE]\n\n")
    handler.close_connection = True


def _chunk(handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
    whole = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "scripted", **payload}
    handler.wfile.write(f"data: {json.dumps(whole)}\n\n".encode())
    handler.wfile.flush()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
