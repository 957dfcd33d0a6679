"""Read the reply of a chat server: the response in a chat completion, and the message in an error.

Servers and the proxies before them differ in form. Read are: content as text, as a list of parts or as null; a stream
of server-sent events; a body in gzip. Thoughts of a reasoning model (`reasoning_content`, parts of type `thinking`)
are no part of the response.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mipo_bench.harness.inference.tokens import finished_text
from mipo_bench.harness.types import Decoding, Response

_CUT = ("length", "max_tokens", "max_output_tokens", "model_length")
"""Finish reasons of a response that the token limit cut."""
_BROKEN_OFF = ("error", "abort", "insufficient_system_resource")
"""Finish reasons of a response that the server gave up."""
_TEXT_PARTS = ("text", "output_text")
_GZIP = b"\x1f\x8b"
_SHOWN, _READ = 200, 2000
"""Characters of a server's message that are quoted, and that are read."""


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no response, and another attempt would not change that. The server may still answer other requests."""

    reason: str


class NoCompletionError(ValueError):
    """A reply without a chat completion. Another attempt may bring one."""


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """The message of an error reply, on one line, and the name of the parameter that it is about, if it names one."""

    text: str
    parameter: str | None = None

    @property
    def quoted(self) -> str:
        """The beginning, for messages of our own."""
        return self.text[:_SHOWN]


def read_reply(body: bytes, decoding: Decoding) -> Response | Refused:
    """The response in the body of a reply. Raises NoCompletionError for a body without one.

    Refused is returned if the model called a tool or refused, or a content filter withheld the response.
    """
    reply = decoded(body)
    try:
        return _read_choice(reply["choices"][0], reply.get("usage"), decoding)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise NoCompletionError(f"the reply is no chat completion: {_message(reply).quoted}") from error


def decoded(body: bytes) -> Any:
    """The JSON value of a body. A stream of server-sent events becomes one completion.

    Raises NoCompletionError for a body that is neither.
    """
    if body.startswith(_GZIP):
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error) as error:
            raise NoCompletionError(f"the reply is damaged gzip: {error}") from error
    text = body.decode("utf-8-sig", errors="replace").strip()
    try:
        return _joined(text) if re.match(r"(data|event|id|retry)?:", text) else json.loads(text)
    except NoCompletionError:
        raise
    except (ValueError, RecursionError) as error:
        raise NoCompletionError(f"the reply is not JSON: {_on_one_line(text)[:_SHOWN] or 'it is empty'}") from error


def error_message(body: bytes) -> ErrorMessage:
    """The message of an error reply: of JSON the field that holds it, of HTML the text, otherwise the beginning."""
    text = body.decode(errors="replace").strip()
    try:
        return _message(json.loads(text))
    except (ValueError, RecursionError):
        return ErrorMessage(_on_one_line(text))


def _read_choice(choice: Any, usage: Any, decoding: Decoding) -> Response | Refused:
    """The response in one choice of a completion. Raises the errors of a value of another form."""
    message, reason = choice["message"], str(choice.get("finish_reason") or "").lower()
    if reason in _BROKEN_OFF:
        raise NoCompletionError(f"the server broke the response off, finish_reason {reason!r}")
    text = _text(message["content"])
    if problem := _withheld(message, reason, text):
        return Refused(problem)
    n_tokens = _count(usage, "completion_tokens")
    unknown_end = not reason and 0 < decoding.max_new_tokens <= n_tokens
    finish: Literal["stop", "length"] = "length" if reason in _CUT or unknown_end else "stop"
    return Response(finished_text(text, decoding), _count(usage, "prompt_tokens"), n_tokens, finish)


def _withheld(message: Mapping[str, Any], reason: str, text: str) -> str | None:
    """The reason why the text is no response; None if it is one."""
    if reason == "content_filter":
        return "the server's content filter withheld the response"
    if text.strip():
        return None
    if refusal := message.get("refusal") or "".join(_parts(message["content"], ("refusal",))):
        return f"the model refused: {_on_one_line(str(refusal))[:_SHOWN]}"
    if called := message.get("tool_calls") or message.get("function_call"):
        functions = [call["function"] for call in called] if isinstance(called, list) else [called]
        return f"the model called {', '.join(repr(f['name']) for f in functions)} in place of a response"
    return None


def _text(content: Any) -> str:
    """The text of a message's content: a text, a list of parts, or null."""
    return "".join(_parts(content, _TEXT_PARTS))


def _parts(content: Any, types: tuple[str, ...]) -> Iterator[str]:
    """The texts of the parts of these types. A content that is a text is one part of type `text`."""
    for part in content if isinstance(content, list) else [] if content is None else [content]:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        if kind in types:
            yield str(part.get("text", part.get("refusal", "")) if isinstance(part, Mapping) else part)


def _count(usage: Any, name: str) -> int:
    """A number of tokens; 0 if the server gives none."""
    found = usage.get(name) if isinstance(usage, Mapping) else None
    return int(found) if isinstance(found, int | float) and found > 0 else 0


def _joined(stream: str) -> dict[str, Any]:
    """The completion that a stream of server-sent events brings in parts. Raises ValueError for a broken stream."""
    lines = [line[5:].strip() for line in stream.split("\n") if line.startswith("data:")]
    events = [json.loads(line) for line in lines if line not in ("", "[DONE]")]
    text, finish, usage = "", None, None
    for event in events:
        if not isinstance(event, dict) or "error" in event:
            raise NoCompletionError(f"the stream brings an error: {_message(event).quoted}")
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            text += _text((choice.get("delta") or choice.get("message") or {}).get("content"))
            finish = choice.get("finish_reason") or finish
    if finish is None:
        raise NoCompletionError("the reply is a stream of events that ends before the response does")
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": usage}


def _message(reply: Any) -> ErrorMessage:
    """The message in a JSON value, in the forms of OpenAI, FastAPI and others."""
    found = reply.get("error", reply) if isinstance(reply, Mapping) else reply
    if isinstance(found, str):
        return ErrorMessage(_on_one_line(found))
    if not isinstance(found, Mapping):
        return ErrorMessage(_on_one_line(json.dumps(reply, ensure_ascii=False)))
    text, parameter = found.get("message", found.get("detail")), found.get("param")
    if isinstance(text, list):
        text = "; ".join(_invalid_field(entry) for entry in text)
    shown = text if isinstance(text, str) and text else json.dumps(reply, ensure_ascii=False)
    return ErrorMessage(_on_one_line(shown), parameter if isinstance(parameter, str) else None)


def _invalid_field(entry: Any) -> str:
    """One entry of FastAPI's `detail`: the place and the message."""
    if not isinstance(entry, Mapping):
        return str(entry)
    place = entry.get("loc")
    return f"{'.'.join(map(str, place)) if isinstance(place, list) else place}: {entry.get('msg')}"


def _on_one_line(text: str) -> str:
    """The beginning of a text on one line, of HTML its text."""
    if re.match(r"\s*(<!doctype html|<html)", text, re.IGNORECASE):
        text = "an HTML page: " + re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>", " ", text)
    return " ".join(text.split())[:_READ]
