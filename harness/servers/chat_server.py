"""A client for the chat completions of an OpenAI-compatible server (vLLM, llama.cpp, TGI, OpenAI itself ...).

The client uses urllib. It retries transient failures (no connection, time-out, 429, 5xx) with exponential backoff, and
sends a request without a parameter that the server refuses (see `parameters`).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from mipo_bench.harness.errors import ConfigError, ModelError, ServerError
from mipo_bench.harness.servers.parameters import TakenParameters
from mipo_bench.harness.servers.replies import (
    ErrorMessage,
    NoCompletionError,
    Refused,
    decoded,
    error_message,
    read_reply,
)
from mipo_bench.harness.servers.retry import RetryPolicy, is_refusal
from mipo_bench.harness.types import Decoding, Message, Response

KEYS = ("MIPO_BENCH_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the API key. The key is sent to the server and written nowhere."""
_PROBE_SECONDS = 10
_MAX_STOPS = 4
"""OpenAI's servers accept at most this many stop strings."""
_ENDPOINTS = ("/chat/completions", "/completions", "/models", "/responses")
_MESSAGE_BYTES = 10_000
"""Bytes of an error reply that are read."""
_LISTED = 10
"""Models of a server that a message lists."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat to complete, and the sampling seed."""

    messages: tuple[Message, ...]
    seed: int


@dataclass(frozen=True)
class ChatServer:
    """A model on a chat server.

    `url` ends before `/chat/completions`, usually in `/v1`. `timeout` is in seconds, for one attempt. `taken` learns
    which parameters the server refuses.
    """

    model: str
    url: str
    timeout: float = 300.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=6))
    taken: TakenParameters = field(default_factory=TakenParameters)

    def __post_init__(self) -> None:
        """Raise ConfigError for an address that is not a plain http(s) URL."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ConfigError(
                f"the server address {parts._replace(netloc=parts.hostname or '', query='').geturl()!r} is not usable:"
                " write it as http://HOST:PORT/v1, without user, password or query. A key goes into the environment"
                f" variable {KEYS[0]}."
            )
        for ending in _ENDPOINTS:
            if self._address.endswith(ending):
                base = self._address.removesuffix(ending)
                raise ConfigError(f"the server address {self.url!r} is an endpoint: write {base}")

    def check(self) -> None:
        """Raise ModelError for a server that cannot be reached, refuses the key, redirects, or has another address.

        Requests no completion. A server without a list of models passes.
        """
        try:
            self._models()
        except urllib.error.HTTPError as error:
            if error.code in (401, 403) or error.code // 100 == 3:
                raise ModelError(
                    f"the server {self.url} cannot be used: {_problem(error, _message_of(error))}."
                ) from error
            self._check_version()
        except ValueError:  # some servers answer 200 to a wrong address, or have no list
            self._check_version()
        except (OSError, HTTPException) as error:
            raise ModelError(
                f"the server {self.url} cannot be reached: {error}. Start it, or correct the URL."
            ) from error

    def complete(self, chat: Chat, decoding: Decoding) -> Response | Refused:
        """Complete one chat. Raises ServerError if the server has not answered after the last attempt."""
        try:
            return self.retry.call(partial(self._attempt, self._body(chat, decoding), decoding))
        except urllib.error.HTTPError as error:
            problem = _problem(error, _message_of(error))
        except NoCompletionError as error:
            problem = str(error)
        except (OSError, HTTPException, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        raise ServerError(f"the server {self.url} did not answer for model {self.model!r}: {problem}")

    def advice(self) -> str:
        """A sentence on the address and the model that were tried, and on the models that the server lists."""
        tried = f"Tried POST {self._address}/chat/completions for the model {self.model!r}"
        try:
            models = self._models()
        except (OSError, HTTPException, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            return f"{tried}; its list of models ({self._address}/models) cannot be read: {reason}."
        more = f" and {len(models) - _LISTED} more" if len(models) > _LISTED else ""
        return f"{tried}; the server lists the models {', '.join(models[:_LISTED]) or '(none)'}{more}."

    @property
    def _address(self) -> str:
        return self.url.rstrip("/")

    def _check_version(self) -> None:
        """Raise ModelError if the address lacks the `/v1` under which the server lists its models."""
        versioned = f"{self._address}/v1"
        if self._address.endswith("/v1"):
            return
        try:
            self._models("v1/models")
        except (OSError, HTTPException, ValueError):
            return  # the first request will tell
        raise ModelError(f"the server {self.url} has no list of models, but {versioned} has one: give that address.")

    def _models(self, path: str = "models") -> list[str]:
        """The models that the server lists. Raises the errors of urllib, and ValueError for another reply."""
        with self._open(path, None, _PROBE_SECONDS) as reply:
            listed = decoded(reply.read())
        try:
            return [str(model["id"]) for model in listed["data"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"the reply of {self._address}/{path} is no list of models") from error

    def _attempt(self, body: dict[str, Any], decoding: Decoding) -> Response | Refused:
        """Send one request, and send it again without a parameter that the server refuses.

        Raises the errors of urllib for transient failures, and NoCompletionError.
        """
        sent = self.taken.body(body)
        try:
            with self._open("chat/completions", sent, self.timeout) as reply:
                return read_reply(reply.read(), decoding)
        except urllib.error.HTTPError as error:
            if not is_refusal(error):
                raise
            message = _message_of(error)
            if self.taken.learn(sent, message):
                return self._attempt(body, decoding)
            return Refused(_problem(error, message))

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
        request = urllib.request.Request(f"{self._address}/{path}", data, headers)  # noqa: S310 - checked above
        return urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because a redirect would carry the API key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _problem(error: urllib.error.HTTPError, message: ErrorMessage) -> str:
    """The status of an error reply, its message, and what to do about it."""
    found = f"{error.code} {error.reason}: {message.quoted}"
    if error.code in (401, 403):
        return f"{found} (it refuses the key: set {' or '.join(KEYS)})"
    if error.code // 100 == 3:
        place = str(error.headers.get("Location")).split("?")[0]
        return f"{error.code} {error.reason}: it redirects to {place}; no redirect is followed, to keep the key here"
    return found


def _message_of(error: urllib.error.HTTPError) -> ErrorMessage:
    """The server's message, without the API key that some servers repeat."""
    try:
        body = error.read(_MESSAGE_BYTES)
    except (OSError, HTTPException) as broken:
        return ErrorMessage(f"the message could not be read: {broken}")
    key = _key().encode()
    return error_message(body.replace(key, b"[key]") if key else body)


def _key() -> str:
    """The API key from the environment, without white space around it such as a line end from the shell.

    Raises ModelError for a key that no header can carry. The message does not show the key.
    """
    name = next((name for name in KEYS if os.environ.get(name)), None)
    key = os.environ[name].strip() if name else ""
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"the environment variable {name} holds no key: it has characters that cannot be sent.")
    return key
