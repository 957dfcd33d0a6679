"""Engines of lm-eval and chat servers as generators: servers that answer, fail and hang."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest
from openai_server import BACKENDS, Reply, chat_reply, engine, last, scripted

from mipo_bench.harness.backends.remote import RemoteBackend
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ContextLostError, ModelError, StageError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.remote import MAX_CONSECUTIVE_FAILURES
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Decoding, Message, Response

GREEDY = Decoding(20, 0.0)


def ask(
    served: RemoteBackend, *texts: str, decoding: Decoding = GREEDY, options: tuple[str, ...] = ()
) -> list[Response]:
    prompts = [served.base.render([Message("user", text)], None) for text in texts]
    requests = [Request(p.text, n, decoding, options) for n, p in enumerate(prompts)]
    return [answer for _, answer in sorted(served.base.generate(requests), key=lambda found: found[0])]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chat_server_is_asked_with_messages_and_settings(backend: str) -> None:
    with scripted(lambda body, _: chat_reply(f"  You said {last(body)}. ")) as server:
        served = engine(server.url, backend)
        sampled = Decoding(9, 0.7, 0.9, ("\n", "Q:"))
        answers = ask(served, "one", "two", decoding=sampled)
    assert [a.text for a in answers] == ["You said one.", "You said two."]
    assert [a.finish for a in answers] == ["stop", "stop"]
    body = next(b for b in server.asked if last(b) == "two")
    assert body["messages"] == [{"role": "user", "content": "two"}]
    wanted = {"model": "m", "max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "stop": ["\n", "Q:"], "seed": 1}
    assert {name: body[name] for name in wanted} == wanted


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_blank_line_does_not_end_an_answer_unless_asked(backend: str) -> None:
    with scripted(lambda body, _: chat_reply("one\n\ntwo")) as server:
        assert ask(engine(server.url, backend), "x")[0].text == "one\n\ntwo"
        assert ask(engine(server.url, backend), "x", decoding=Decoding(20, 0.0, stop=("\n\n",)))[0].text == "one"
    assert not server.asked[0].get("stop")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_by_itself_is_tried_again(status: int, backend: str) -> None:
    with scripted(lambda _, before: chat_reply("at last") if before == 1 else Reply(status, "busy")) as server:
        assert ask(engine(server.url, backend), "x")[0].text == "at last"
    assert len(server.asked) == 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("reply", "attempts"),
    [
        (Reply(429, "slow down"), 2),
        (Reply(500, "broken"), 2),
        (Reply(400, "no such model"), 1),
        (Reply(401, "bad key"), 1),
        (Reply(200, "{not json"), 2),
        (Reply(200, '{"choices": []}'), 2),
        (Reply(200, ""), 2),
        (Reply(hang=True), 2),
    ],
)
def test_a_request_that_keeps_failing_is_a_failed_answer_and_the_others_are_there(
    reply: Reply, attempts: int, backend: str
) -> None:
    with scripted(lambda body, _: reply if last(body) == "bad" else chat_reply("fine")) as server:
        answers = ask(engine(server.url, backend), "good", "bad", "also good")
    assert [a.finish for a in answers] == ["stop", "refused" if reply.status in (400, 401) else "failed", "stop"]
    assert [a.failed for a in answers] == [False, True, False]
    assert answers[1].text
    assert [a.text for a in (answers[0], answers[2])] == ["fine", "fine"]
    assert sum(last(body) == "bad" for body in server.asked) == attempts


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_is_gone_is_asked_no_more(backend: str) -> None:
    with scripted(lambda *_: Reply(500, "gone")) as server:
        answers = ask(engine(server.url, backend, max_retries=1, num_concurrent=1), *map(str, range(60)))
    assert {a.finish for a in answers} == {"failed"}
    assert len(server.asked) <= MAX_CONSECUTIVE_FAILURES + 2
    assert answers[-1].text.startswith(f"not asked after {MAX_CONSECUTIVE_FAILURES} failures in a row, the last: ")
    assert "500" in answers[-1].text


def test_nobody_waits_for_a_request_that_hangs_once_the_run_is_stopped() -> None:
    with scripted(lambda body, _: Reply(hang=True) if last(body) == "bad" else chat_reply("fine")) as server:
        served = engine(server.url, timeout=60, num_concurrent=2)
        prompts = [served.base.render([Message("user", text)], None).text for text in ("good", "bad", "bad")]
        answers = served.base.generate([Request(prompt, 0, GREEDY) for prompt in prompts])
        start = time.monotonic()
        assert next(iter(answers))[1].text == "fine"
        cast("Generator[object, None, None]", answers).close()
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_refuses_some_requests_is_asked_on(backend: str) -> None:
    many = 3 * MAX_CONSECUTIVE_FAILURES
    with scripted(lambda body, _: chat_reply("hi") if last(body) == "Hello" else Reply(400, "too long")) as server:
        answers = ask(engine(server.url, backend), *map(str, range(many)))
    assert {a.finish for a in answers} == {"refused"}
    assert len(server.asked) == many + 1  # a short chat, once


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_server_that_refuses_everything_ends_the_run_with_one_message(status: int, backend: str) -> None:
    with (
        scripted(lambda *_: Reply(status, "never")) as server,
        pytest.raises(ModelError, match=rf"refuses every request.*{status}") as caught,
    ):
        ask(engine(server.url, backend), *map(str, range(60)))
    assert len(server.asked) < 40
    if backend == "openai":
        assert f"Tried POST {server.url}/chat/completions for the model 'm'; the server lists" in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_refuses_everything_from_some_point_is_asked_no_more(backend: str) -> None:
    replies = [chat_reply("fine")] * 3
    with scripted(lambda *_: replies.pop() if replies else Reply(403, "no credit left")) as server:
        answers = ask(engine(server.url, backend, num_concurrent=1), *map(str, range(60)))
    finishes = [a.finish for a in answers]
    assert [finishes.count(f) for f in ("stop", "refused")] == [3, MAX_CONSECUTIVE_FAILURES]
    assert answers[-1].finish == "failed"
    assert answers[-1].text.startswith(f"not asked after {MAX_CONSECUTIVE_FAILURES} refusals in a row")
    assert len(server.asked) < 40


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_tokens_of_a_chat_template_that_a_server_applies_are_unknown(backend: str) -> None:
    base = engine("http://127.0.0.1:9/v1", backend).base
    assert (base.end_of_turn_token, list(base.control_tokens)) == ("", [])


def test_the_tokens_of_a_template_are_known_behind_an_engine_that_loads_the_tokenizer(tmp_path: Path) -> None:
    arguments = ["tokenizer_backend=huggingface", f"tokenizer={embedded_folder()}", "base_url=http://127.0.0.1:9/v1"]
    settings = [f"backend_args.{argument}" for argument in arguments]
    base = RemoteBackend(load_config(None, settings, {"model": "m", "backend": "local-completions"})).base
    assert base.end_of_turn_token == "<|end|>"
    assert "<|end|>" in base.control_tokens


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_are_matched_with_what_the_server_says_and_the_report_says_so(backend: str) -> None:
    with scripted(lambda *_: chat_reply("Paris")) as server:
        served = engine(server.url, backend)
        answer = ask(served, "Which?", decoding=Decoding(0, 0.0), options=("Rome", "Paris"))[0]
    assert (answer.text, answer.option_logprobs) == ("Paris", None)
    assert server.asked[0]["max_tokens"] == 64
    assert any("gives no log-probabilities" in note for note in served.notes)
    assert any("lengths are estimated" in note for note in served.notes)


def test_the_reply_says_how_long_an_answer_is_and_whether_it_was_cut() -> None:
    usage = {"usage": {"prompt_tokens": 11, "completion_tokens": 3}}
    cut = json.dumps({"choices": [{"message": {"content": "a b c"}, "finish_reason": "length"}], **usage})
    with scripted(lambda body, _: Reply(body=cut) if last(body) == "long" else chat_reply("abcdefgh")) as server:
        served = engine(server.url)
        answers = ask(served, "long", "uncounted")
    assert answers[0] == Response("a b c", 11, 3, "length")
    assert (answers[1].n_tokens, answers[1].finish) == (2, "stop")
    assert any("lengths are estimated" in note for note in served.notes)


def test_a_reply_without_an_answer_is_a_failure_and_no_empty_text() -> None:
    with scripted(lambda *_: Reply(200, '{"error": "what?"}')) as server:
        answer = ask(engine(server.url), "x")[0]
    assert answer.finish == "failed"
    assert "no chat completion" in answer.text


def test_context_must_be_in_the_chat_and_can_be_kept_out_of_the_system_turn() -> None:
    served = engine("http://127.0.0.1:9/v1")
    chat = [Message("system", "I like brevity."), Message("user", "Hello")]
    assert "I like brevity." in served.base.render(chat, "I like brevity.").text
    with pytest.raises(ContextLostError, match="lacks the user's context 'I like colours"):
        served.base.render(chat, "I like colours.")
    moved = {"model": "m", "backend": "local-chat-completions", "chat": {"system_in_user": True}}
    config = load_config(None, [], moved)
    messages = json.loads(RemoteBackend(config).base.render(chat, None).text)
    assert messages == [{"role": "user", "content": "I like brevity.\n\nHello"}]


@pytest.mark.parametrize("backend", BACKENDS)
def test_context_aware_decoding_needs_logits(backend: str) -> None:
    served = engine("http://127.0.0.1:9/v1")
    request = Request("[]", 0, GREEDY, contrast="[]", contrast_weight=0.5)
    with pytest.raises(StageError, match=r"mixes logits, which .* does not give"):
        list(served.base.generate([request]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_digest_covers_what_can_change_an_answer(backend: str) -> None:
    def digest(port: int = 9, **arguments: Any) -> str:
        return engine(f"http://127.0.0.1:{port}/v1", backend, **arguments).base.digest

    assert digest() == digest(timeout=7, max_retries=1, num_concurrent=9, retry_pause=2)
    assert digest() != digest(10)
