"""The tasks of a run: by suite and model, by name, and without the data of some."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, SilentDisplay
from golden_files import check_golden, run
from paths import DATA

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, DataError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.planning.task_choice import choose_tasks
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.run.preflight import examine
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.workers import config_to_line
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.pages.report import report_page

MATH = {"gsm8k", "svamp"}
CHOICE = {"arc_challenge", "arc_easy", "commonsense_qa", "mmlu"}
JUDGED = {"community_alignment", "multifaceted_bench", "prism"}
OWN = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

class Mine(Arithmetic):
    name = "mine"
    meant_for = "any"

TASKS = [Mine]
"""


def real(**options: Any) -> RunConfig:
    """Settings of a run on a model that is not called embedded."""
    return load_config(None, [], {"model": str(embedded_folder()), **options})


def chosen(config: RunConfig, include: Sequence[Path] = ()) -> set[str]:
    return set(choose_tasks(config, load_plugins(include)).tasks)


def some_data(folder: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(DATA / name, folder / name)
    return folder


def test_the_embedded_model_keeps_its_three_tasks() -> None:
    assert chosen(load_config(None, [], {})) == {"arithmetic", "facts", "persona"}
    assert chosen(load_config(None, [], {"suite": "math"})) == {"arithmetic"}


@pytest.mark.parametrize(("suite", "names"), [("math", MATH), ("choice", CHOICE), ("all", {*MATH, *CHOICE})])
def test_another_model_gets_the_public_tasks(suite: str, names: set[str]) -> None:
    found = chosen(real(suite=suite))
    assert found - {"prefeval", "preferences"} == names
    assert ("prefeval" in found) == (suite == "all")


def test_judged_tasks_run_with_their_suite_where_a_judge_is_given() -> None:
    without = choose_tasks(real(suite="personalized"), load_plugins())
    assert not JUDGED & set(without.tasks)
    assert without.notes == [
        "not in this run, because only a judge can score them (--judge): community_alignment, multifaceted_bench, prism"
    ]
    judged = choose_tasks(real(suite="personalized", judge={"name": "rules"}), load_plugins())
    assert set(judged.tasks) >= JUDGED
    assert not judged.notes
    assert not choose_tasks(real(suite="math"), load_plugins()).notes


def test_a_task_of_the_user_is_meant_for_any_model_unless_it_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert "mine" in chosen(load_config(None, [], {}), [file])
    assert "mine" in chosen(real(), [file])
    file.write_text(OWN.replace('"any"', '"real"'))
    assert "mine" not in chosen(load_config(None, [], {}), [file])
    file.write_text(OWN.replace('"any"', '"large"'))
    with pytest.raises(Exception, match="meant_for 'large' is not one of any, embedded, real"):
        load_plugins([file])


def test_a_named_task_always_runs_with_a_note_where_it_is_not_meant_for_the_model() -> None:
    choice = choose_tasks(real(tasks=["persona", "gsm8k"]), load_plugins())
    assert set(choice.tasks) == {"persona", "gsm8k"}
    assert choice.notes == ["task 'persona' is meant for the embedded model: its scores say little about this one"]
    other = choose_tasks(load_config(None, [], {"tasks": ["persona", "gsm8k"]}), load_plugins())
    assert [note.split(":")[0] for note in other.notes] == [
        "task 'gsm8k' is meant for models other than the embedded one"
    ]
    answers = load_config(None, [], {"tasks": ["persona"], "model": "answers.jsonl"})
    assert not choose_tasks(answers, load_plugins()).notes  # of an unknown model


def test_all_missing_data_is_named_at_once_with_the_way_to_get_it(tmp_path: Path) -> None:
    data = [str(some_data(tmp_path, "gsm8k", "mmlu"))]
    with pytest.raises(DataError) as caught:
        make_plan(real(data=data, baselines=["plain"], recipes=[]))
    *lines, last = str(caught.value).splitlines()
    named = {line.partition("for task '")[2].partition("'")[0] for line in lines}
    assert named == {"svamp", "arc_challenge", "arc_easy", "commonsense_qa", "prefeval"}
    assert all("Get it with: " in line and "--data " in line for line in lines)
    assert any("git clone https://github.com/amazon-science/PrefEval DIR; then give --data pre" in x for x in lines)
    assert last.startswith("To go on without these tasks, give --skip-missing: it runs gsm8k, mmlu")


def skipping(folder: Path, *names: str, **options: Any) -> Plan:
    data = [str(some_data(folder, *names))]
    return make_plan(real(data=data, skip_missing=True, limit=2, **options))


def test_skip_missing_goes_on_and_the_report_names_what_is_left_out(tmp_path: Path) -> None:
    plan = skipping(tmp_path, "gsm8k", "mmlu", suite="math", recipes=[])
    assert [task.task.name for task in plan.tasks] == ["gsm8k"]
    note = (
        "left out, because their data is missing (--skip-missing): svamp (no 'test' split in the folder that --data"
        " names)"
    )
    assert plan.notes == (note,)
    engine, display = FakeEngine(lambda _: "#### 30", lambda _: ""), SilentDisplay()
    report = Run(RunContext(real(recipes=[]), plan, Store(tmp_path / "store"), engine, display)).execute()
    assert f"! {note}" in report_page(report).head
    assert str(tmp_path) not in note


def test_data_without_the_split_to_train_on_is_missing_only_where_something_is_trained(tmp_path: Path) -> None:
    (some_data(tmp_path, "svamp", "gsm8k") / "svamp/train.json").unlink()
    data = [str(tmp_path)]
    trained = make_plan(real(suite="math", data=data, skip_missing=True))
    assert [task.task.name for task in trained.tasks] == ["gsm8k"]
    assert trained.notes[0].endswith("(--skip-missing): svamp (no 'train' split to train on)")
    assert not make_plan(real(suite="math", data=data, skip_missing=True, recipes=[])).notes


def test_skip_missing_with_nothing_left_and_malformed_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no task is left, because the data of every task is missing"):
        skipping(tmp_path / "none", "mmlu", suite="math")
    (some_data(tmp_path / "bad", "gsm8k", "svamp") / "svamp/test.json").write_text('[{"ID": 1}]')
    with pytest.raises(DataError, match="'Body' is missing") as caught:
        make_plan(real(suite="math", data=[str(tmp_path / "bad")], skip_missing=True))
    assert "skip-missing" not in str(caught.value)


def test_a_suite_without_a_task_says_what_it_lacks() -> None:
    plugins = load_plugins()
    judged = type(plugins)(
        {name: plugins.tasks[name] for name in JUDGED}, plugins.baselines, plugins.recipes, {}, plugins.origins
    )
    with pytest.raises(ConfigError, match=r"no task for model .* that runs by default") as caught:
        make_plan(real(suite="personalized"), judged)
    assert "only a judge can score them (--judge): community_alignment" in str(caught.value)


def test_doctor_warns_of_missing_data_that_is_skipped(tmp_path: Path) -> None:
    data = [str(some_data(tmp_path, "gsm8k"))]
    options: dict[str, Any] = {"suite": "math", "data": data, "recipes": [], "store": tmp_path, "out": tmp_path}
    found = {f.text.split(":")[0]: f for f in examine(real(skip_missing=True, **options)) if f.what == "data"}
    assert {name: f.state for name, f in found.items()} == {"gsm8k": "ok", "svamp": "warn"}
    assert "svamp: left out (--skip-missing): " in found["svamp"].text
    options["data"] = [str(some_data(tmp_path / "other", "mmlu"))]
    nothing = [f.text for f in examine(real(skip_missing=True, **options)) if f.state == "fail"]
    assert nothing == ["--skip-missing: no task is left, because the data of every task is missing."]


def test_worker_processes_leave_out_the_same_tasks() -> None:
    line = config_to_line(real(skip_missing=True))
    assert RunConfig.model_validate(json.loads(line)).skip_missing
    assert "skip_missing" not in real(skip_missing=True).model_dump()  # a report names the tasks instead


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("suite-missing", "run --model {model} --suite math --data {data} --recipes none --dry-run"),
        ("suite-skipped", "run --model {model} --suite math --data {data} --recipes none --skip-missing --dry-run"),
        ("suite-none-left", "run --model {model} --suite choice --data {data} --skip-missing --dry-run"),
    ],
)
def test_what_is_printed(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    some_data(tmp_path / "my-data", "gsm8k")
    (tmp_path / "model").symlink_to(embedded_folder())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    asked = command.format(data="my-data", model="./model")
    check_golden(f"data/{name}.txt", run(asked, capsys).text(asked))
