"""Chat completions from an OpenAI-compatible server (vLLM, llama.cpp, TGI, `transformers serve`, OpenAI itself ...).

Standard library only. What may pass by itself (no connection, time-out, 429, 5xx) is tried again with growing pauses.
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal
from urllib.parse import urlsplit

from mipo_bench.harness.errors import ConfigError, ModelError, ServerError
from mipo_bench.harness.inference.tokens import finished_text
from mipo_bench.harness.types import Decoding, Message, Response

KEYS = ("MIPO_BENCH_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the key; it is sent to the server and written nowhere."""
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_PROBE_SECONDS = 10
_STOPS = 4
"""Stop strings that OpenAI's servers take."""


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat to complete."""

    messages: tuple[Message, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the server will not answer one request; others may still be answered."""

    reason: str


@dataclass(frozen=True)
class ChatServer:
    """A model behind a server. `url` ends before `/chat/completions`, usually in `/v1`; times are in seconds."""

    model: str
    url: str
    timeout: float = 300.0
    attempts: int = 6
    pause: float = 1.0

    def __post_init__(self) -> None:
        """Raise ConfigError for an address that is no plain http(s) URL."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ConfigError(
                f"the server address {parts._replace(netloc=parts.hostname or '', query='').geturl()!r} is not usable:"
                " write it as http://HOST:PORT/v1, without user, password or query. A key goes into the environment"
                f" variable {KEYS[0]}."
            )

    def check(self) -> None:
        """Raise ModelError where the server cannot be reached or refuses the key. Asks for no completion."""
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

    def complete(
        self, chats: Sequence[Chat], decoding: Decoding, workers: int
    ) -> Iterator[tuple[int, Response | Refused]]:
        """Complete all chats, `workers` at a time: (position, answer), each as soon as it is there.

        Raises ServerError where the server stops answering; what was answered before has been handed out.
        """
        failure: ServerError | None = None
        with ThreadPoolExecutor(max_workers=workers) as pool:
            waiting = {pool.submit(self.one, chat, decoding): i for i, chat in enumerate(chats)}
            try:
                for done in as_completed(waiting):
                    if done.cancelled():
                        continue
                    error = done.exception()
                    if isinstance(error, ServerError):
                        failure = failure or error
                        pool.shutdown(wait=False, cancel_futures=True)
                    else:
                        yield waiting[done], done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        if failure:
            raise failure

    def one(self, chat: Chat, decoding: Decoding) -> Response | Refused:
        """Complete one chat. Raises ServerError."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in chat.messages],
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_new_tokens,
            "seed": chat.seed % (1 << 31),
        }
        if decoding.stop:
            body["stop"] = list(decoding.stop[:_STOPS])  # the rest is looked for in the answer
        problem = "no attempt was made"
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
            try:
                with self._open("chat/completions", body, self.timeout) as reply:
                    return _response(json.load(reply), decoding)
            except urllib.error.HTTPError as error:
                problem = f"{error.code} {error.reason}: {self._quote(error)}"
                if error.code in (400, 413, 422):
                    return Refused(problem)
                if error.code not in _AGAIN:
                    break
            except (OSError, HTTPException, ValueError, RecursionError) as error:
                problem = f"{type(error).__name__}: {error}"
        raise ServerError(f"the server {self.url} did not answer for model {self.model!r}: {problem}")

    def _open(self, path: str, body: dict[str, Any] | None, timeout: float) -> Any:
        headers = {"Content-Type": "application/json"}
        key = _key()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url.rstrip('/')}/{path}", data, headers)  # noqa: S310 - checked above
        return urllib.request.build_opener(_StayHere).open(request, timeout=timeout)

    def _quote(self, error: urllib.error.HTTPError) -> str:
        """The head of the server's message, without the key that some servers repeat."""
        text = error.read(2000).decode(errors="replace")
        key = _key()
        return " ".join((text.replace(key, "[key]") if key else text).split())[:200]


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: it would carry the key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _key() -> str:
    """The key of the environment; line ends that a shell left at it are no part of it.

    Raises ModelError for one that no header can carry, without showing it.
    """
    name = next((name for name in KEYS if os.environ.get(name)), None)
    key = os.environ[name].strip() if name else ""
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"the environment variable {name} holds no key: it has characters that cannot be sent.")
    return key


def _response(reply: Any, decoding: Decoding) -> Response:
    """The answer in a reply. Raises ValueError where there is none."""
    try:
        choice = reply["choices"][0]
        text = choice["message"]["content"] or ""
        usage = reply.get("usage") or {}
        finish: Literal["stop", "length"] = "length" if choice.get("finish_reason") == "length" else "stop"
        kept = finished_text(str(text), decoding)
        return Response(kept, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, finish)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the reply is no chat completion: {str(reply)[:200]}") from error
