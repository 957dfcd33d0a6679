"""Engines of lm-eval behind `--backend`: servers that answer, fail and hang, and the settings that choose them."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lm_eval_files import choice_task
from openai_server import Reply, chat_reply, scripted
from real_models import make_model
from safetensors.torch import load_file

from mipo_bench.harness.backends.remote import RemoteBackend
from mipo_bench.harness.backends.select import backend_maker, check_address, check_backend
from mipo_bench.harness.cli import main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, ContextLostError, ModelError, StageError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.remote import MAX_CONSECUTIVE_FAILURES
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding, Message, Response
from mipo_bench.reports.records.report_file import load_report

GREEDY = Decoding(20, 0.0)
KEY = "sk-not-a-real-key-123456"


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


BACKENDS = ["openai", "local-chat-completions"]


def address(url: str, backend: str) -> str:
    return url if backend == "openai" else f"{url}/chat/completions"


def engine(url: str, backend: str = "openai", **arguments: Any) -> RemoteBackend:
    quick = {"timeout": 1, "max_retries": 2, "retry_pause": 0.01, "num_concurrent": 2}
    backend_args = {"base_url": address(url, backend), **quick, **arguments}
    return RemoteBackend(RunConfig(model="m", backend=backend, backend_args=backend_args, recipes=()))


def ask(
    served: RemoteBackend, *texts: str, decoding: Decoding = GREEDY, options: tuple[str, ...] = ()
) -> list[Response]:
    prompts = [served.base.render([Message("user", text)], None) for text in texts]
    requests = [Request(p.text, n, decoding, options) for n, p in enumerate(prompts)]
    return [answer for _, answer in sorted(served.base.generate(requests), key=lambda found: found[0])]


def last(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


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
    assert [a.finish for a in answers] == ["stop", "refused" if reply.status == 400 else "failed", "stop"]
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
def test_a_server_that_refuses_requests_is_asked_on(backend: str) -> None:
    many = MAX_CONSECUTIVE_FAILURES + 2
    with scripted(lambda *_: Reply(400, "too long")) as server:
        answers = ask(engine(server.url, backend), *map(str, range(many)))
    assert {a.finish for a in answers} == {"refused"}
    assert len(server.asked) == many


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


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("echo", [False, True])
def test_keys_reach_the_server_and_nothing_else(
    echo: bool, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def answer(body: dict[str, Any], _: int) -> Reply:
        return Reply(401, f"wrong key {KEY}") if echo and "coins" in last(body) else chat_reply("Answer: 3")

    with scripted(answer) as server:
        code = called(
            "run",
            "--backend",
            backend,
            "--model",
            "m",
            "--task",
            "arithmetic",
            "--limit",
            "12",
            "--baselines",
            "plain",
            "--set",
            f"backend_args.base_url={address(server.url, backend)}",
        )
    assert {h["Authorization"] for h in server.headers} == {f"Bearer {KEY}"}
    report = load_report(tmp_path / "mipo-bench-report")
    assert code == (1 if echo else 0)
    assert any(arm.failed for arm in report.arms) is echo
    assert (report.model.backend, report.model.name) == (backend, "m")
    shown = capfd.readouterr()
    assert KEY not in shown.out + shown.err
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_a_failed_item_is_asked_again_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    down = True

    def answer(body: dict[str, Any], _: int) -> Reply:
        return Reply(400, "no") if down and "coins" in last(body) else chat_reply("Answer: 3")

    with scripted(answer) as server:
        arguments = [
            "run",
            "--backend",
            "local-chat-completions",
            "--model",
            "m",
            "--task",
            "arithmetic",
            "--limit",
            "12",
            "--baselines",
            "plain",
            "--set",
            "noise_floor=false",
            "--set",
            f"backend_args.base_url={server.url}/chat/completions",
        ]
        assert called(*arguments) == 1
        failed = load_report(tmp_path / "mipo-bench-report").arms[0].failed
        asked = len(server.asked)
        down = False
        assert called(*arguments) == 0
    assert 0 < len(failed) < 12
    assert all(reason.startswith("generate: refused: HTTPError: 400") for reason in failed.values())
    assert len(server.asked) - asked == len(failed)


def test_multiple_choice_of_lm_eval_runs_on_a_chat_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = choice_task(tmp_path, 6)
    with scripted(lambda body, _: chat_reply("no idea")) as server:
        code = called(
            "run",
            "--backend",
            "local-chat-completions",
            "--model",
            "m",
            "--task",
            f"lm-eval:{path}",
            "--set",
            f"backend_args.base_url={server.url}/chat/completions",
        )
    assert code == 0
    arm = load_report(tmp_path / "mipo-bench-report").arms[0]
    assert len(arm.unparsed) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["backend_args.api_key=" + KEY], "backend_args.api_key: keys are not taken from the configuration"),
        (["backend_args.auth_token=" + KEY], "OPENAI_API_KEY"),
        (["backend_args.base_url=http://me:" + KEY + "@host/v1"], "without user, password and query"),
        (["backend_args.base_url=http://host/v1?api_key=some-secret"], "without user, password and query"),
        (["backend=hf", "model=m", "backend_args.pretrained=other"], "--model decides it"),
        (["backend=vllm", "model=m", "backend_args.load_format=pt"], "safetensors files alone"),
        (["recipes=[mipo-random]"], "only answers, it cannot train: give --recipes none"),
        (["recipes=[mipo-random]", "backend=openai"], "backend 'openai' only answers"),
        (["model=answers.jsonl"], "is not used: the answers come from answers.jsonl"),
        (["backend=transformers", "backend_args.timeout=3"], "backend_args are for --backend"),
    ],
)
def test_settings_that_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, ["backend=local-chat-completions", "model=m", *settings], {})
    assert message in str(caught.value)
    assert KEY not in str(caught.value)


def test_recipes_default_to_none_where_nothing_can_be_trained() -> None:
    assert load_config(None, ["backend=openai-chat-completions", "model=m"], {}).recipes == ()
    assert load_config(None, ["backend=hf"], {}).recipes is None


def test_an_unknown_backend_a_missing_name_and_an_absent_server_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"unknown backend .local-completion.\. Did you mean .local-completions."):
        check_backend(RunConfig(model="m", backend="local-completion"))
    with pytest.raises(ConfigError, match="needs --model NAME"):
        check_backend(RunConfig(backend="local-completions"))
    with pytest.raises(ModelError, match="is not an address"):
        check_address("localhost:8000")
    with pytest.raises(
        ConfigError, match=r"unknown argument in backend_args: 'max_retry'\. Did you mean 'max_retries'"
    ):
        engine("http://127.0.0.1:9/v1", max_retry=3)
    with pytest.raises(ConfigError, match="timeout = 'soon' is not a number above 0"):
        engine("http://127.0.0.1:9/v1", timeout="soon")
    url = "http://127.0.0.1:9/v1/chat/completions"
    arguments = ("--backend", "local-chat-completions", "--model", "m", "--set", f"backend_args.base_url={url}")
    assert called("run", "--task", "arithmetic", "--backend", "openai", *arguments[2:]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert called("run", "--task", "arithmetic", *arguments) == 2
    error = capsys.readouterr().err
    assert f"the server {url} cannot be reached" in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_must_be_said_of_answers_is_said_of_stored_ones_too(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with scripted(lambda *_: chat_reply("Answer: A")) as server:
        settings = ["--task", "facts", "--limit", "4", "--set", f"backend_args.base_url={address(server.url, backend)}"]
        notes = []
        for _ in range(2):
            called("run", "--backend", backend, "--model", "m", *settings)
            notes.append(load_report(tmp_path / "mipo-bench-report").notes)
        assert server.asked
    assert any("no log-probabilities" in note for note in notes[0])
    assert any("lengths are estimated" in note for note in notes[0])
    assert sorted(notes[1]) == sorted(notes[0])


def test_weights_that_can_run_code_are_not_loaded_through_lm_eval_either(tmp_path: Path) -> None:
    folder = make_model("llama", tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "decoy.safetensors")
    config = load_config(None, [], {"backend": "hf", "model": str(folder), "recipes": [], "tasks": ["arithmetic"]})
    with closing(Store(tmp_path / "store")) as store:
        base = backend_maker(config)(store).base
        with pytest.raises(ModelError, match="cannot be started"):
            list(base.generate([Request("a", 0, GREEDY)]))


def test_a_setting_that_names_a_folder_stands_for_its_content(tmp_path: Path) -> None:
    folder = make_model("llama", tmp_path / "model")
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    digests = []
    for text in ("one", "other"):
        (tokenizer / "vocabulary").write_text(text)
        options = {"backend": "hf", "model": str(folder), "recipes": [], "tasks": ["arithmetic"]}
        config = load_config(None, [f"backend_args.tokenizer={tokenizer}"], options)
        with closing(Store(tmp_path / "store")) as store:
            digests.append(backend_maker(config)(store).base.digest)
    assert digests[0] != digests[1]
