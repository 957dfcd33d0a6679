"""Files about the settings: the one of `new-config`, the JSON Schema that it names, and the page of `config`.

After a change of a setting, run this file with `MIPO_BENCH_UPDATE_GOLDEN=1` to write the schema anew.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from golden_files import Printed, run
from jsonschema import Draft202012Validator

from mipo_bench.harness.config.describe import SCHEMA_FILE, json_schema, sections, settings
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.config.template import template
from mipo_bench.harness.config.yaml_text import parse_yaml


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def uncommented() -> str:
    return re.sub(r"(?m)^( *)#(?! |$)", r"\1", template())


def test_the_schema_file_is_up_to_date() -> None:
    text = json.dumps(json_schema(), indent=1) + "\n"
    if os.environ.get("MIPO_BENCH_UPDATE_GOLDEN"):
        SCHEMA_FILE.write_text(text, encoding="utf-8")
    assert SCHEMA_FILE.read_text(encoding="utf-8") == text
    Draft202012Validator.check_schema(json.loads(text))


def test_a_new_file_sets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new-config", capsys).code == 0
    assert load_config(Path("run.yaml"), [], {}) == load_config(None, [], {})


def test_a_new_file_without_its_marks_sets_every_default() -> None:
    Path("all.yaml").write_text(uncommented(), encoding="utf-8")
    assert load_config(Path("all.yaml"), [], {}) == RunConfig()
    values = parse_yaml(uncommented())
    assert set(values) == set(RunConfig.model_fields)
    for name, section in list(sections())[1:]:
        assert list(values[name]) == list(section.model_fields)


def test_every_setting_of_a_new_file_has_its_meaning_above_it() -> None:
    lines = template().splitlines()
    for name, section in sections():
        for setting in settings(name, section):
            key = f"{'  ' if name else ''}#{setting.path[-1]}: "
            places = [n for n, line in enumerate(lines) if line.startswith(key)]
            assert places
            assert all(lines[place - 1].lstrip().startswith("# ") for place in places)
            assert len(setting.meaning) > 10


@pytest.mark.parametrize("text", [template(), uncommented()], ids=["as written", "uncommented"])
def test_the_schema_accepts_what_is_written(text: str) -> None:
    assert list(Draft202012Validator(json_schema()).iter_errors(parse_yaml(text))) == []


@pytest.mark.parametrize(
    "values",
    [
        {"tasks": "facts", "recipes": "none", "grid": {"lr": 1e-5}, "include": "task.py", "data": "folder"},
        {"tasks": ["facts"], "baselines": ["plain"], "grid": {"lr": [1e-5]}, "data": {"prism": "folder"}},
        {"thought_tags": [["<a>", "</a>"]], "train": None, "judge": {"name": "rules"}, "information": {"arms": "none"}},
    ],
)
def test_the_schema_accepts_what_the_loader_reads(values: dict[str, Any]) -> None:
    assert list(Draft202012Validator(json_schema()).iter_errors(values)) == []
    Path("task.py").write_text("TASKS = []\n")
    Path("run.yaml").write_text(json.dumps(values))
    load_config(Path("run.yaml"), [], {})


@pytest.mark.parametrize(
    "values", [{"sedes": 3}, {"seeds": 0}, {"train": {"lr": 0}}, {"suite": "maths"}, {"best_of_n": {"samples": 1}}]
)
def test_the_schema_refuses_what_the_loader_refuses(values: dict[str, Any]) -> None:
    assert list(Draft202012Validator(json_schema()).iter_errors(values))


def test_a_new_file_names_the_schema_and_overwrites_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run("new-config mine.yaml", capsys)
    first = Path("mine.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA_FILE.as_uri()}"
    Path("mine.yaml").write_text("seeds: 5\n")
    again = run("new-config mine.yaml", capsys)
    assert (again.code, again.out) == (2, "")
    assert "mine.yaml exists, and nothing is overwritten" in again.err
    assert Path("mine.yaml").read_text() == "seeds: 5\n"


def test_a_new_file_can_be_printed_and_needs_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new-config -", capsys).out == template()
    refused = run("new-config missing/run.yaml", capsys)
    assert refused.code == 2
    assert "Name a file in a folder that exists" in refused.err


def row(printed: Printed, name: str) -> list[str]:
    [line] = [line for line in printed.out.splitlines() if line.split(" ")[0] == name]
    return re.split(r" {2,}", line.strip())


def test_config_shows_values_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("seeds: 5\nreference: {facts: plain}\ntrain: {lr: 1e-6, beta: 0.2}\n")
    shown = run(
        "config --preset paper --config run.yaml --set train.lr=1e-3 --set decoding.seed=7 --judge rules --task facts"
        " --limit 4",
        capsys,
    )
    assert shown.code == 0
    assert row(shown, "seeds") == ["seeds", "5", "run.yaml"]
    assert row(shown, "train.lr") == ["train.lr", "0.001", "--set"]
    assert row(shown, "train.beta") == ["train.beta", "0.2", "run.yaml"]
    assert row(shown, "train.loss") == ["train.loss", "sigmoid", "preset paper"]
    assert row(shown, "decoding.seed") == ["decoding.seed", "7", "--set"]
    assert row(shown, "judge.name") == ["judge.name", "rules", "--judge"]
    assert row(shown, "tasks") == ["tasks", "[facts]", "--task"]
    assert row(shown, "limit") == ["limit", "4", "--limit"]
    assert row(shown, "threads") == ["threads", "1", "embedded default"]
    assert row(shown, "alpha") == ["alpha", "0.05", "default"]
    assert row(shown, "reference")[-1] == "preset paper, run.yaml"
    names = [s.name for name, section in sections() for s in settings(name, section)]
    assert [line.split(" ")[0] for line in shown.out.splitlines()[1:]] == names


def test_config_shows_a_section_that_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("train: {lr: 1e-6, beta: 0.2}\n")
    shown = run("config --config run.yaml --set 'train={beta: 0.3}'", capsys)
    assert row(shown, "train.beta") == ["train.beta", "0.3", "--set"]
    assert row(shown, "train.lr") == ["train.lr", "0.0001", "embedded default"]


def test_config_says_why_nothing_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run("config --model m --backend openai", capsys)
    assert row(shown, "recipes") == ["recipes", "[]", "the backend only answers"]
    assert row(shown, "train.lr") == ["train.lr", "5.0e-07", "default"]


def test_config_refuses_what_a_run_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    refused = run("config --set sedes=3", capsys)
    assert (refused.code, refused.out) == (2, "")
    assert "'sedes'" in refused.err
