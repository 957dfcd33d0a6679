"""A chat-completions server that follows a script, on a free port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = str | int | bytes
"""An answer, an HTTP status to fail with, or raw bytes in place of a reply."""


@dataclass
class Scripted:
    """What the server answers, and what it was asked."""

    answer: Callable[[dict[str, Any]], Reply]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    busy: int = 0
    most: int = 0
    """The most requests that were being answered at the same time."""
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[Scripted]:
    """Serve until the block ends."""
    script = Scripted(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.keys.append(self.headers.get("Authorization"))
            reply = script.answer({})
            self._send(reply if isinstance(reply, int) else 200, b'{"data": []}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with script.lock:
                script.asked.append(body)
                script.keys.append(self.headers.get("Authorization"))
                script.busy += 1
                script.most = max(script.most, script.busy)
            reply = script.answer(body)
            with script.lock:
                script.busy -= 1
            if isinstance(reply, str):
                choice = {"message": {"content": reply}, "finish_reason": "stop"}
                self._send(200, json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}).encode())
            elif isinstance(reply, bytes):
                self._send(200, reply)
            else:
                self._send(reply, f"no, {self.headers.get('Authorization')}".encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
