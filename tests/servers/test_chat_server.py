"""The chat client with a real server on localhost: retries, refusals, the key, and errors that end a run."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from openai_server import Reply, ShortReply, chat_reply, scripted, serving

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import ConfigError, ModelError, ServerError
from mipo_bench.harness.generators.openai_generator import OpenAIGenerator
from mipo_bench.harness.judging.judges import ModelJudge, generator_judge
from mipo_bench.harness.protocols import Question
from mipo_bench.harness.servers.chat_server import Chat, ChatServer
from mipo_bench.harness.servers.replies import Refused
from mipo_bench.harness.servers.retry import RetryPolicy
from mipo_bench.harness.types import Decoding, Item, Message, Response

DECODING = Decoding(16, 0.1, 0.9, ("\n\n",))
CHAT = Chat((Message("system", "be kind"), Message("user", "hello")), seed=1 << 40)


def client(url: str, attempts: int = 3) -> ChatServer:
    return ChatServer("judge-model", url, timeout=5, retry=RetryPolicy(attempts, 0.001))


def test_a_chat_is_sent_whole_and_its_answer_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPO_BENCH_API_KEY", "secret-1")
    with serving(lambda _: " hi \n") as server:
        assert client(server.url).complete(CHAT, DECODING) == Response("hi", 0, 3, "stop")
    body = server.asked[0]
    assert body["messages"] == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    assert {k: body[k] for k in ("model", "temperature", "top_p", "max_tokens", "stop")} == {
        "model": "judge-model",
        "temperature": 0.1,
        "top_p": 0.9,
        "max_tokens": 16,
        "stop": ["\n\n"],
    }
    assert 0 <= body["seed"] < 1 << 31
    assert server.keys == ["Bearer secret-1"]


@pytest.mark.parametrize("trouble", [429, 503, b"not json", b"[" * 5000, b'{"choices": []}'])
def test_what_may_pass_is_tried_again(trouble: ShortReply) -> None:
    replies: list[ShortReply] = [trouble, trouble, "fine"]
    with serving(lambda _: replies.pop(0)) as server:
        assert client(server.url).complete(CHAT, DECODING) == Response("fine", 0, 3, "stop")
    assert len(server.asked) == 3


def test_a_server_that_keeps_failing_ends_the_arm_without_telling_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    monkeypatch.delenv("MIPO_BENCH_API_KEY", raising=False)
    with serving(lambda _: 500) as server, pytest.raises(ServerError, match=r"did not answer .* 500") as caught:
        client(server.url).complete(CHAT, DECODING)
    assert len(server.asked) == 3
    assert "secret-2" not in str(caught.value)
    assert "[key]" in str(caught.value)


def judge_on(url: str, attempts: int = 3, workers: int = 2) -> ModelJudge:
    return generator_judge("server", OpenAIGenerator(client(url, attempts), "d", ChatConfig(), workers, []), DECODING)


def questions(*prompts: str) -> list[Question]:
    return [Question(Item(text, text, "", None, None), "", "a", "b") for text in prompts]


def test_a_refused_request_is_not_tried_again_and_others_go_on() -> None:
    def picky(body: dict[str, Any]) -> ShortReply:
        return 400 if "bad" in body["messages"][-1]["content"] else "Verdict: first"

    with serving(picky) as server:
        found = dict(judge_on(server.url).decide(questions("good", *["bad"] * 6)))
        assert isinstance(client(server.url).complete(Chat((Message("user", "bad"),), 0), DECODING), Refused)
    assert found[0].value == 1.0
    assert {found[n].value for n in range(1, 7)} == {None}
    assert all(found[n].text.startswith("refused: 400") for n in range(1, 7))
    assert {found[n].tries for n in range(1, 7)} == {2}


def test_a_judge_whose_server_is_gone_ends_with_one_message_and_keeps_its_verdicts() -> None:
    replies: list[ShortReply] = ["Verdict: first", "Verdict: second"]
    verdicts: list[float | None] = []
    with serving(lambda _: replies.pop(0) if replies else 500) as server:
        found = judge_on(server.url, attempts=1, workers=1).decide(questions(*map(str, range(20))))
        with pytest.raises(ServerError, match=r"did not answer .* 500"):
            verdicts.extend(verdict.value for _, verdict in found)
    assert verdicts == [1.0, 0.0]
    assert len(server.asked) < 20


@pytest.mark.parametrize(("status", "hint"), [(401, "set MIPO_BENCH_API_KEY"), (404, "404"), (302, "redirects to")])
def test_what_will_not_pass_is_not_tried_again(status: int, hint: str) -> None:
    with serving(lambda _: status) as server:
        answer = client(server.url).complete(CHAT, DECODING)
    assert isinstance(answer, Refused)
    assert hint in answer.reason
    assert len(server.asked) == 1


def test_chats_are_completed_side_by_side() -> None:
    gate = threading.Barrier(4, timeout=5)

    def waits(_: dict[str, Any]) -> ShortReply:
        gate.wait()
        return "Verdict: tie"

    with serving(waits) as server:
        found = dict(judge_on(server.url, workers=4).decide(questions(*map(str, range(8)))))
    assert sorted(found) == list(range(8))
    assert server.most == 4


def test_a_server_is_looked_at_before_work_begins() -> None:
    with serving(lambda _: 401) as server, pytest.raises(ModelError, match="refuses the key"):
        client(server.url).check()
    with serving(lambda _: 404) as server:
        client(server.url).check()
    with pytest.raises(ModelError, match="cannot be reached"):
        client(server.url).check()


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://h/v1", "http://", "http://me:pw@h/v1", "http://h/v1?key=x"]
)
def test_an_unusable_address_is_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="is not usable") as caught:
        client(url)
    assert "pw" not in str(caught.value)
    assert "key=x" not in str(caught.value)


def test_a_line_end_at_the_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPO_BENCH_API_KEY", "secret-3\r\n")
    with serving(lambda _: "fine") as server:
        client(server.url).complete(CHAT, DECODING)
        assert server.keys == ["Bearer secret-3"]
        monkeypatch.setenv("MIPO_BENCH_API_KEY", "secret-3\n4")
        with pytest.raises(ModelError, match="MIPO_BENCH_API_KEY holds no key") as caught:
            client(server.url).check()
    assert "secret-3" not in str(caught.value)


def test_half_a_character_in_an_answer_is_a_question_mark() -> None:
    with serving(lambda _: "a\ud800b") as server:
        assert client(server.url).complete(CHAT, DECODING) == Response("a?b", 0, 3, "stop")


def test_a_reply_that_is_cut_within_its_body_is_asked_for_again() -> None:
    replies = [Reply(body=chat_reply("fi").body, cut=True), chat_reply("fine")]
    with scripted(lambda *_: replies.pop(0)) as server:
        assert client(server.url).complete(CHAT, DECODING) == Response("fine", 0, 0, "stop")


def test_an_address_without_v1_is_named_before_work_begins() -> None:
    with serving(lambda _: "fine") as server:
        client(f"{server.url}/").check()
        short = server.url.removesuffix("/v1")
        with pytest.raises(ModelError, match=rf"but {server.url} has one: give that address\."):
            client(short).check()
    with (
        serving(lambda _: 302) as server,
        pytest.raises(ModelError, match=r"to http://127\.0\.0\.1:1/elsewhere;"),
    ):
        client(server.url).check()


def test_the_models_of_a_server_are_listed_for_a_name_that_it_does_not_have() -> None:
    with serving(lambda _: "fine") as server:
        server.models = ("llama", "qwen")
        assert client(server.url).advice().endswith("'judge-model'; the server lists the models llama, qwen.")
        server.models = tuple(f"m{n}" for n in range(12))
        assert client(server.url).advice().endswith("m9 and 2 more.")
        assert "404" in client(server.url.removesuffix("/v1")).advice()
    assert "cannot be read" in client(server.url).advice()


@pytest.mark.parametrize("ending", ["/chat/completions", "/models/", "/completions"])
def test_the_address_of_an_endpoint_is_refused_with_the_right_one(ending: str) -> None:
    with pytest.raises(ConfigError, match=r"is an endpoint: write http://h/v1$"):
        client(f"http://h/v1{ending}")
