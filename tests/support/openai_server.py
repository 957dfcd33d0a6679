"""A chat-completions server on localhost whose replies and failures follow a script, and backends that ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mipo_bench.harness.backends.remote import RemoteBackend
from mipo_bench.harness.config.schema import RunConfig


@dataclass(frozen=True)
class Reply:
    """The status and body of a reply.

    With `hang` the server sends nothing until it is closed; with `cut` the connection ends within the body.
    """

    status: int = 200
    body: str | bytes = ""
    hang: bool = False
    cut: bool = False


ShortReply = str | int | bytes
"""The text of a response, an HTTP error status, or a raw body."""


def chat_reply(text: str | None, **more: Any) -> Reply:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply(body=json.dumps({"choices": [choice], **more}))


@dataclass
class Script:
    """The received requests, and the answers: a function of the body and of the number of earlier equal requests.

    `listing` gives the status of the model list (GET), which `check` of a client asks for; `models` are its models.
    Addresses without /v1 are not found.
    """

    answer: Callable[[dict[str, Any], int], Reply]
    listing: Callable[[], int] = lambda: 200
    url: str = ""
    models: tuple[str, ...] = ()
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    """The Authorization header of every request, including those for the model list."""
    busy: int = 0
    most: int = 0
    """The largest number of requests that were being answered at the same time."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def received(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Record a request and answer it."""
        with self.lock:
            before = sum(old == body for old in self.asked)
            self.asked.append(body)
            self.headers.append(headers)
            self.keys.append(headers.get("Authorization"))
            self.busy += 1
            self.most = max(self.most, self.busy)
        reply = self.answer(body, before)
        with self.lock:
            self.busy -= 1
        return reply


@contextmanager
def scripted(
    answer: Callable[[dict[str, Any], int], Reply], listing: Callable[[], int] = lambda: 200
) -> Iterator[Script]:
    """A running server; its `url` ends in /v1."""
    script = Script(answer, listing)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield script
    finally:
        script.closing.set()
        server.shutdown()
        server.server_close()


def serving(answer: Callable[[dict[str, Any]], ShortReply]) -> AbstractContextManager[Script]:
    """`scripted` with short replies. The model list (an empty body) fails if `answer` gives a status for it."""

    def listing() -> int:
        reply = answer({})
        return reply if isinstance(reply, int) else 200

    return scripted(lambda body, _: _full(answer(body)), listing)


def _full(reply: ShortReply) -> Reply:
    if isinstance(reply, str):
        return chat_reply(reply, usage={"completion_tokens": 3})
    return Reply(body=reply) if isinstance(reply, bytes) else Reply(reply, "no, {key}")


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.keys.append(self.headers.get("Authorization"))
            names = json.dumps({"data": [{"id": name} for name in script.models]})
            known = self.path.startswith("/v1/")
            self._send(Reply(script.listing(), names) if known else Reply(404, "404 page not found"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = script.received(dict(self.headers), body)
            if reply.hang:
                script.closing.wait(30)
                return
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            """Send a reply; `{key}` in its body becomes the Authorization header that came with the request."""
            content = reply.body if isinstance(reply.body, bytes) else reply.body.encode()
            content = content.replace(b"{key}", str(self.headers.get("Authorization")).encode())
            self.send_response(reply.status)
            if reply.status == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content) + 9 * reply.cut))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    return Handler


BACKENDS = ["openai", "local-chat-completions"]


def address(url: str, backend: str) -> str:
    return url if backend == "openai" else f"{url}/chat/completions"


def engine(url: str, backend: str = "openai", **arguments: Any) -> RemoteBackend:
    quick = {"timeout": 1, "max_retries": 2, "retry_pause": 0.01, "num_concurrent": 2}
    backend_args = {"base_url": address(url, backend), **quick, **arguments}
    return RemoteBackend(RunConfig(model="m", backend=backend, backend_args=backend_args, recipes=()))


def last(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])
