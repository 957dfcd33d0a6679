"""`mipo-bench doctor`: its checks, and its exit code, which is 0 where the run can start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from openai_server import Reply, scripted

from mipo_bench.harness.cli import main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.run.preflight import can_start, examine
from mipo_bench.harness.startup.findings import Finding


def findings(folder: Path, **options: object) -> list[Finding]:
    return list(examine(load_config(None, [f"store={folder / 'store'}"], {"out": folder / "out", **options})))


def failed(found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.state == "fail"]


def test_the_default_run_can_start_and_nothing_is_written(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert failed(found) == []
    assert can_start(found)
    texts = {f.what: f.text for f in found}
    assert [f.what for f in found] == ["packages", "device", "model", *["tasks"] * 3, "model", "disk", "disk", "git"]
    assert "torch 2" in texts["packages"]
    assert "984,192 parameters, window 1024, attention " in texts["model"]
    assert list(tmp_path.iterdir()) == []


def test_every_obstacle_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "store").write_text("a file, not a folder")
    found = findings(tmp_path, model="nobody/no-such-model", tasks=("arithmetik",), device="cuda:9")
    problems = {f.what: f.text for f in failed(found)}
    assert set(problems) == {"device", "model", "tasks", "disk"}
    assert "hf download nobody/no-such-model" in problems["model"]
    assert "Did you mean 'arithmetic'" in problems["tasks"]
    assert not can_start(found)


def test_a_model_that_cannot_be_built_is_a_failure(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(embedded_folder(), model, ignore=shutil.ignore_patterns("__pycache__"))
    (model / "config.json").write_text('{"model_type": "unheard-of"}')
    assert "cannot be built" in failed(findings(tmp_path, model=str(model), tasks=["facts"]))[0].text


def test_attention_and_window_are_those_of_the_run(tmp_path: Path) -> None:
    texts = [f.text for f in findings(tmp_path, attention="eager") if f.what == "model"]
    assert texts[-1].endswith("attention eager")


@pytest.mark.parametrize(("task", "code"), [("facts", 0), ("nope", 1)])
def test_the_exit_code_is_fit_for_scripts(
    task: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--task", task, "--preset", "paper"])
    out = capsys.readouterr().out
    assert stopped.value.code == code
    assert ("The run can start." in out) == (code == 0)
    assert "train.max_length = 15360 (default 512)" in out
    assert "warn git" in out


def test_doctor_and_run_take_the_same_options(capsys: pytest.CaptureFixture[str]) -> None:
    def options(command: str) -> set[str]:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        return {word for word in capsys.readouterr().out.split() if word.startswith("--")}

    more = {"--dry-run", "--compute-only", "--gpu", "--gpus", "--profile"}
    assert options("run") - options("doctor") == more
    assert "preset" in RunConfig.model_fields


def test_judged_tasks_need_a_judge_that_can_be_reached(tmp_path: Path) -> None:
    def judge(**options: object) -> list[Finding]:
        found = findings(tmp_path, tasks=("persona-judged",), limit=4, recipes=(), **options)
        return [f for f in found if f.what == "judge"]

    assert [(f.state, f.text) for f in judge()] == [("ok", "persona-judged: judged by rules, pairwise")]
    unreachable = judge(judge={"name": "openai:judge@http://127.0.0.1:1/v1"})
    assert [f.state for f in unreachable] == ["fail"]
    assert "cannot be reached" in unreachable[0].text


def test_a_server_is_checked_without_loading_a_model(tmp_path: Path) -> None:
    with scripted(lambda *_: Reply(500)) as server:
        served = {"backend": "openai", "model": "m", "backend_args": {"base_url": server.url}, "tasks": ("arithmetic",)}
        found = findings(tmp_path, **served)
    assert can_start(found)
    assert "device" not in {f.what for f in found}
    assert [f.text for f in found if f.what == "model"] == ["backend openai for m: its checks pass"]
    stopped = findings(tmp_path, **served)
    assert failed(stopped)[0].text.startswith(f"the server {server.url} cannot be reached")


def test_a_file_of_responses_is_read(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"item_id": "eval-0000", "arm": "plain", "response": "3"}\n')
    found = findings(tmp_path, model=str(file), tasks=("arithmetic",))
    assert [f.text for f in found if f.what == "model"] == [f"{file} has responses of 1 arms; the run loads no model"]
    file.write_text("{")
    assert failed(findings(tmp_path, model=str(file)))[0].text.startswith(f"{file}, line 1: not valid JSON")
