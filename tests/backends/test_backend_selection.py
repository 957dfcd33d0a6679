"""The settings that choose a backend, those that are refused, and whole runs on a chat server."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from openai_server import BACKENDS, Reply, address, chat_reply, engine, last, scripted
from real_models import make_model
from safetensors.torch import load_file
from task_files import choice_task

from mipo_bench.harness.backends.select import backend_maker, check_address, check_backend
from mipo_bench.harness.cli import main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, ModelError
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding
from mipo_bench.reports.records.report_file import load_report

KEY = "sk-not-a-real-key-123456"


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


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
        (["backend=hf", "model=m", "backend_args.pretrained=other"], "the model setting decides it"),
        (["backend=vllm", "model=m", "backend_args.load_format=pt"], "safetensors files alone"),
        (["recipes=[mipo-random]"], "only answers, it cannot train: set recipes to none"),
        (["recipes=[mipo-random]", "backend=openai"], "backend 'openai' only answers"),
        (
            ["model=answers.jsonl", "backend=transformers", "recipes=[sft-self]"],
            "answers.jsonl only answers, it cannot",
        ),
        (["model=answers.jsonl"], "is not used: the answers come from answers.jsonl"),
        (["backend=transformers", "backend_args.timeout=3"], "backend_args are for another backend"),
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
    with pytest.raises(ConfigError, match=r"is an endpoint: write http://127\.0\.0\.1:9/v1$"):
        engine(f"{url}/")
    arguments = ("--backend", "local-chat-completions", "--model", "m", "--set", f"backend_args.base_url={url}")
    served = ("--backend", "openai", "--model", "m", "--set", "backend_args.base_url=http://127.0.0.1:9/v1")
    assert called("run", "--task", "arithmetic", *served) == 2
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
            list(base.generate([Request("a", 0, Decoding(20, 0.0))]))


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
