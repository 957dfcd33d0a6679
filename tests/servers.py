"""A scripted server on localhost that speaks (or fails to speak) the OpenAI protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server sends: a status and a body; with `hang` nothing at all until the server is closed."""

    status: int = 200
    body: str = ""
    hang: bool = False


def chat_reply(text: str | None, **more: Any) -> Reply:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply(body=json.dumps({"choices": [choice], **more}))


@dataclass
class Scripted:
    """The requests that a server got, and how it answers: a function of the body and of how often it came before."""

    answer: Callable[[dict[str, Any], int], Reply]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def asked(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        before = sum(old == body for old in self.bodies)
        self.bodies.append(body)
        self.headers.append(headers)
        return self.answer(body, before)


@contextmanager
def scripted(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[Scripted]:
    """A running server; its `url` ends in /v1."""
    script = Scripted(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(Reply(body='{"data": []}'))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = script.asked(body, dict(self.headers))
            if reply.hang:
                script.closing.wait(30)
                return
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            content = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        script.closing.set()
        server.shutdown()
        server.server_close()
