"""Settings as people and programs write them: `~`, one name for a list, `none` and `all`, 3.0, a key twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_reports import Made

from mipo_bench.harness.cli import main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.task_data import given_folders
from mipo_bench.harness.run.worker_main import config_from_line
from mipo_bench.harness.run.workers import config_to_line
from mipo_bench.reports.records.report_file import to_json


def load(*settings: str, **options: Any) -> RunConfig:
    return load_config(None, settings, options)


def in_file(folder: Path, text: str | bytes) -> RunConfig:
    file = folder / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(file, [], {})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "plugin.py").write_text("TASKS = []\n")
    return tmp_path


def test_a_tilde_is_the_home_folder_in_every_path(home: Path) -> None:
    config = load(
        *("out=~/x", "store=~/x", "model=~/x", "include=~/plugin.py", "data=~/x", "judge.name=file:~/x"),
        *("judge.validation_file=~/x", "backend=vllm", "backend_args={tokenizer: ~/x}"),
    )
    paths = (config.out, config.store, Path(config.model), config.data["*"], config.judge.validation_file)
    assert set(paths) == {home / "x"}
    assert config.include[0].path == home / "plugin.py"
    assert config.judge.spec
    assert config.judge.spec.path == home / "x"
    assert config.backend_args == {"tokenizer": str(home / "x")}
    assert load("judge.name=~/x").judge.spec == load(f"judge.name={home}/x").judge.spec
    assert load("data={gsm8k: ~/x}").data == load(data=["gsm8k=~/x"]).data == {"gsm8k": home / "x"}
    assert given_folders(["~/x"]) == {"*": home / "x"}
    assert load("out=~nobody-of-this-name/x").out == Path("~nobody-of-this-name/x")


def test_a_tilde_in_the_options_of_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "report.json").write_text(to_json(Made(n_math=12, n_users=4).report()))
    (home / "scores.jsonl").write_text('{"item_id": "1", "score": 1}\n{"item_id": "2", "score": 0}\n')
    for arguments in (
        ["show", "~/report.json", "--plots=~/plots"],
        ["show", "~"],
        ["diff", "~/report.json", "~"],
        ["compare", "~/scores.jsonl", "~/scores.jsonl"],
        ["new-task", "word-sums", "--out=~/tasks"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert not stop.value.code, (arguments, capsys.readouterr().err)
    assert (home / "plots" / "forest.png").is_file()
    assert (home / "tasks" / "word_sums.py").is_file()


def test_one_text_is_a_list_of_one_and_none_and_all_are_what_they_are_on_the_command_line(tmp_path: Path) -> None:
    config = in_file(tmp_path, "tasks: facts\nrecipes: none\nbaselines: plain, few-shot\ngrid: {beta: 0.2}\n")
    assert (config.tasks, config.recipes, config.baselines) == (("facts",), (), ("plain", "few-shot"))
    assert config.grid.beta == (0.2,)
    assert load("recipes=[none]").recipes == load(recipes="none").recipes == ()
    assert load("recipes=none", backend="openai", model="m").recipes == ()
    assert load("information.arms=none").information.arms == ()
    everything = {arm.recipe for arm in make_plan(load("tasks=facts", "recipes=all")).arms} - {None}
    assert everything > {arm.recipe for arm in make_plan(load("tasks=facts")).arms} - {None}
    with pytest.raises(ConfigError, match="cannot train"):
        load("recipes=mipo-random", backend="openai", model="m")


def test_numbers_of_other_programs(tmp_path: Path) -> None:
    config = in_file(tmp_path, '{"seeds": 3.0, "limit": 1e1, "train": {"lr": 1e-5}}')
    assert (config.seeds, config.limit, config.train.lr) == (3, 10, 1e-5)
    for text in ("3.5", "true", '"3"', "1e400"):
        with pytest.raises(ConfigError, match="seeds ="):
            load(f"seeds={text}")
    assert load('model="1e5"').model == "1e5"
    for setting in ("model=7", "model=1e5", "tasks=[2026-01-02]", "device=true"):
        with pytest.raises(ConfigError, match=r"should be a valid string\. Write it in quotes\."):
            load(setting)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: x\nmodel: embedded\n", r"line 2: the key 'model' occurs already in line 1; remove one of the two"),
        ("train: {lr: 1, lr: 2}\n", r"line 1: the key 'lr' occurs already in line 1"),
        ('{"limit": 1,\n "seeds": 2,\n "limit": 3}', r"line 3: the key 'limit' occurs already in line 1"),
        ("tasks: [gsm8k]\n\tlimit: 3\n", r"line 2: found character '\\t' .*\. Indent with blanks"),
        ('data: "C:\\Users\\me"\n', r"line 1: expected escape sequence .*\. Write the value in single quotes"),
        ('data: "C:\\me"\n', r"line 1: found unknown escape character 'm'\. Write the value in single quotes"),
    ],
)
def test_an_error_of_yaml_names_line_and_remedy(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml is not valid YAML: " + message):
        in_file(tmp_path, text)


def test_a_key_twice_in_a_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="the key 'lr' occurs already"):
        load("train={lr: 1, lr: 2}")


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_file(tmp_path: Path) -> None:
    assert in_file(tmp_path, b"\xef\xbb\xbfseeds: 5\r\ntasks: [facts]\r\n") == load("seeds=5", "tasks=facts")


def test_an_unknown_key_is_looked_for_in_other_sections() -> None:
    for setting, found in (
        ("lr=1", "train.lr"),
        ("decoding.beta=1", "train.beta, grid.beta"),
        ("asking.foo=1", "cad.weight, best_of_n.samples"),
    ):
        with pytest.raises(ConfigError, match=rf"There is {found}"):
            load(setting)


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="store = '': write the path"):
        load("store=''")


def test_a_worker_process_gets_the_same_settings(home: Path) -> None:
    config = load("out=~/x", "recipes=none", "tasks=facts", "data=~/x")
    assert config_from_line(config_to_line(config)) == config


def test_a_message_shows_the_beginning_of_a_long_value() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, ["seeds=" + "x" * 6000], {})
    assert len(str(caught.value)) < 400
