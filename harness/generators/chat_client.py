"""A client for the chat completions of an OpenAI-compatible server (vLLM, llama.cpp, TGI, OpenAI itself ...).

The client uses urllib. It retries transient failures (no connection, time-out, 429, 5xx) with exponential backoff.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Literal
from urllib.parse import urlsplit

from mipo_bench.harness.errors import ConfigError, ModelError, ServerError
from mipo_bench.harness.generators.retry import REFUSED_STATUSES, RetryPolicy
from mipo_bench.harness.inference.tokens import finished_text
from mipo_bench.harness.types import Decoding, Message, Response

KEYS = ("MIPO_BENCH_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the API key. The key is sent to the server and written nowhere."""
_PROBE_SECONDS = 10
_MAX_STOPS = 4
"""OpenAI's servers accept at most this many stop strings."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat to complete, and the sampling seed."""

    messages: tuple[Message, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The server rejected one request. It may still answer others."""

    reason: str


@dataclass(frozen=True)
class ChatServer:
    """A model on a chat server.

    `url` ends before `/chat/completions`, usually in `/v1`. `timeout` is in seconds, for one attempt.
    """

    model: str
    url: str
    timeout: float = 300.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=6))

    def __post_init__(self) -> None:
        """Raise ConfigError for an address that is not a plain http(s) URL."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ConfigError(
                f"the server address {parts._replace(netloc=parts.hostname or '', query='').geturl()!r} is not usable:"
                " write it as http://HOST:PORT/v1, without user, password or query. A key goes into the environment"
                f" variable {KEYS[0]}."
            )

    def check(self) -> None:
        """Raise ModelError if the server cannot be reached or refuses the key. Requests no completion."""
        try:
            with self._open("models", None, _PROBE_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                reason = f"it refuses the key ({error.code}); set {' or '.join(KEYS)}"
                raise ModelError(f"the server {self.url} cannot be used: {reason}.") from error
        except (OSError, HTTPException) as error:
            raise ModelError(
                f"the server {self.url} cannot be reached: {error}. Start it, or correct the URL."
            ) from error

    def complete(self, chat: Chat, decoding: Decoding) -> Response | Refused:
        """Complete one chat. Raises ServerError if the server has not answered after the last attempt."""
        body = self._body(chat, decoding)

        def attempt() -> Response:
            with self._open("chat/completions", body, self.timeout) as reply:
                return _response(json.load(reply), decoding)

        try:
            return self.retry.call(attempt)
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.reason}: {_quote(error)}"
            if error.code in REFUSED_STATUSES:
                return Refused(problem)
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"
        raise ServerError(f"the server {self.url} did not answer for model {self.model!r}: {problem}")

    def _body(self, chat: Chat, decoding: Decoding) -> dict[str, Any]:
        """The JSON body of the request."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in chat.messages],
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_new_tokens,
            "seed": chat.seed % (1 << 31),
        }
        if decoding.stop:
            body["stop"] = list(decoding.stop[:_MAX_STOPS])  # `finished_text` cuts at all of them
        return body

    def _open(self, path: str, body: dict[str, Any] | None, timeout: float) -> Any:
        """Send one request: POST with a body, GET without. `timeout` is in seconds. Raises the errors of urllib."""
        headers = {"Content-Type": "application/json"}
        key = _key()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url.rstrip('/')}/{path}", data, headers)  # noqa: S310 - checked above
        return urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because a redirect would carry the API key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _quote(error: urllib.error.HTTPError) -> str:
    """The beginning of the server's message, without the API key that some servers repeat."""
    try:
        text = error.read(2000).decode(errors="replace")
    except (OSError, HTTPException) as broken:
        return f"the message could not be read: {broken}"
    key = _key()
    return " ".join((text.replace(key, "[key]") if key else text).split())[:200]


def _key() -> str:
    """The API key from the environment, without white space around it such as a line end from the shell.

    Raises ModelError for a key that no header can carry. The message does not show the key.
    """
    name = next((name for name in KEYS if os.environ.get(name)), None)
    key = os.environ[name].strip() if name else ""
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"the environment variable {name} holds no key: it has characters that cannot be sent.")
    return key


def _response(reply: Any, decoding: Decoding) -> Response:
    """The response in a reply. Raises ValueError for a reply without one."""
    try:
        choice = reply["choices"][0]
        text = choice["message"]["content"] or ""
        usage = reply.get("usage") or {}
        finish: Literal["stop", "length"] = "length" if choice.get("finish_reason") == "length" else "stop"
        return Response(
            finished_text(str(text), decoding),
            usage.get("prompt_tokens") or 0,
            usage.get("completion_tokens") or 0,
            finish,
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the reply is no chat completion: {str(reply)[:200]}") from error
