"""Replies of chat servers in the forms that servers and proxies give them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from mipo_bench.harness.servers.replies import NoCompletionError, Refused, error_message, read_reply
from mipo_bench.harness.types import Decoding, Response

DECODING = Decoding(16, 0.0)
USAGE = {"prompt_tokens": 5, "completion_tokens": 7}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Answer: 17"}]}


def completion(content: Any, finish: str | None = "stop", usage: Any = None, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage or USAGE}).encode()


def events(*values: Any) -> bytes:
    return b": keep alive\n\n" + b"".join(b"data: " + json.dumps(v).encode() + b"\n\n" for v in values)


def delta(finish: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"choices": [{"delta": parts, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (completion("Answer: 18"), "Answer: 18"),
        (completion([THOUGHT, {"type": "text", "text": "It is "}, {"type": "text", "text": "18."}]), "It is 18."),
        (completion([{"type": "reasoning", "text": "17?"}, {"type": "output_text", "text": "18"}]), "18"),
        (completion(["1", "8"]), "18"),
        (completion({"type": "text", "text": "18"}), "18"),
        (completion(None, reasoning_content="Is it 18?"), ""),
        (completion("", reasoning="Is it 18?"), ""),
        (completion("18", reasoning_content="Is it 17?", tool_calls=[], refusal=None), "18"),
        (b"\xef\xbb\xbf" + completion("18"), "18"),
        (b"\n\n  " + completion("18"), "18"),
        (gzip.compress(completion("18"), mtime=0), "18"),
        (completion("18").replace(b"18", b"1\xff8"), "1\ufffd8"),
        (events(delta(content="1"), delta(reasoning_content="no"), delta(content="8"), delta("stop")), "18"),
        (events(delta("stop", content="18")) + b"data: [DONE]\n\n", "18"),
    ],
)
def test_the_text_of_a_response_is_read_and_thoughts_are_not(body: bytes, text: str) -> None:
    answer = read_reply(body, DECODING)
    assert isinstance(answer, Response)
    assert answer.text == text
    assert answer.finish == "stop"


@pytest.mark.parametrize(
    ("finish", "tokens", "read"),
    [
        ("stop", 16, "stop"),
        ("eos", 7, "stop"),
        ("end_turn", 16, "stop"),
        ("length", 7, "length"),
        ("max_tokens", 16, "length"),
        ("MAX_TOKENS", 16, "length"),
        (None, 7, "stop"),
        (None, 16, "length"),
        ("", 16, "length"),
    ],
)
def test_finish_reasons_of_many_servers_are_read(finish: str | None, tokens: int, read: str) -> None:
    answer = read_reply(completion("18", finish, {"completion_tokens": tokens}), DECODING)
    assert isinstance(answer, Response)
    assert (answer.finish, answer.n_tokens) == (read, tokens)


@pytest.mark.parametrize("usage", [{}, {"completion_tokens": None}, {"completion_tokens": "many"}, [1], "none", -3])
def test_a_reply_without_usage_has_no_counts(usage: Any) -> None:
    answer = read_reply(completion("18", usage=usage).replace(b'"completion_tokens": 7', b'"other": 7'), DECODING)
    assert isinstance(answer, Response)
    assert answer.n_tokens == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (completion(None, refusal="I will not."), "the model refused: I will not."),
        (completion([{"type": "refusal", "refusal": "I will not."}]), "the model refused: I will not."),
        (completion(None, "tool_calls", tool_calls=[{"function": {"name": "add"}}]), "called 'add' in place of a"),
        (completion("", "function_call", function_call={"name": "add"}), "called 'add' in place of a"),
        (completion("Half of", "content_filter"), "content filter withheld"),
        (completion(None, "content_filter"), "content filter withheld"),
    ],
)
def test_a_reply_that_is_no_answer_is_kept_with_its_reason(body: bytes, reason: str) -> None:
    answer = read_reply(body, DECODING)
    assert isinstance(answer, Refused)
    assert reason in answer.reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON: it is empty"),
        (b"<!DOCTYPE html><html><style>a {}</style><h1>Sign in</h1></html>", "not JSON: an HTML page: Sign in"),
        (gzip.compress(completion("18"), mtime=0)[:20], "damaged gzip"),
        (b"\x1f\x8b garbage", "damaged gzip"),
        (b"[" * 5000, "not JSON"),
        (completion("18")[:40], "not JSON"),
        (b"null", "no chat completion: null"),
        (b"[]", "no chat completion"),
        (b'{"choices": []}', "no chat completion"),
        (b'{"choices": [{"message": {}}]}', "no chat completion"),
        (
            b'{"choices": [{"message": {"content": "x", "role": 1}, "finish_reason": "error"}]}',
            "broke the response off",
        ),
        (b'{"error": {"message": "CUDA out of memory"}}', "no chat completion: CUDA out of memory"),
        (events(delta(content="1")), "ends before the response does"),
        (events(delta(content="1"), {"error": {"message": "gone"}}), "the stream brings an error: gone"),
        (b"data: {broken\n\n", "not JSON"),
    ],
)
def test_a_reply_without_a_completion_is_named(body: bytes, message: str) -> None:
    with pytest.raises(NoCompletionError, match=message):
        read_reply(body, DECODING)


@pytest.mark.parametrize(
    ("body", "text", "parameter"),
    [
        ({"error": {"message": "No 'seed' here.", "param": "seed"}}, "No 'seed' here.", "seed"),
        ({"error": "no"}, "no", None),
        ({"detail": "Not Found"}, "Not Found", None),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}, "body.seed: Extra inputs", None),
        ({"object": "error", "message": "too long", "code": 400}, "too long", None),
        ({"other": 1}, '{"other": 1}', None),
        (["no"], '["no"]', None),
    ],
)
def test_the_message_of_an_error_is_found(body: Any, text: str, parameter: str | None) -> None:
    found = error_message(json.dumps(body).encode())
    assert (found.text, found.parameter) == (text, parameter)


def test_the_error_page_of_a_proxy_is_quoted_as_text() -> None:
    page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><hr>nginx</body></html>"
    assert error_message(page).text == "an HTML page: 502 Bad Gateway nginx"
