"""The option `--data`: the folder of each task, its use by a run and its report, and wrong folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, SilentDisplay
from golden_files import check_golden, run
from paths import DATA

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, DataError, PluginError
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.task_data import EVERY, folders, on_data
from mipo_bench.harness.run.preflight import can_start, examine
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Task
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.public.gsm8k import Gsm8k

LOCAL = [
    *("gsm8k", "svamp", "mmlu", "arc_easy", "arc_challenge", "commonsense_qa", "prefeval"),
    *("prism", "community_alignment", "multifaceted_bench"),
]
NOT_EMBEDDED = "is meant for models other than the embedded one: its scores say little about this one"


def settings(*tasks: str, **options: Any) -> RunConfig:
    return load_config(None, [], {"tasks": list(tasks), "seeds": 1, "data": [str(DATA)], **options})


def evaluation_alone(folder: Path) -> Path:
    """A folder with gsm8k and MMLU without the split to train on."""
    for name in ("gsm8k/test", "mmlu/test", "mmlu/dev"):
        task, split = name.split("/")
        (folder / task).mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / task / {"gsm8k": "main", "mmlu": "all"}[task] / f"{split}.jsonl", folder / task)
    return folder


def test_one_folder_serves_all_tasks() -> None:
    plan = make_plan(settings(*LOCAL))
    assert [task.task.name for task in plan.tasks] == LOCAL
    assert all(task.items and task.training_items for task in plan.tasks)
    assert all(task.recipes for task in plan.tasks)


def test_a_folder_of_its_own_goes_before_the_one_for_all(tmp_path: Path) -> None:
    config = settings("gsm8k", "svamp", data=[str(tmp_path), f"svamp={DATA / 'svamp'}"])
    with pytest.raises(DataError) as caught:
        make_plan(config)
    assert str(caught.value).startswith(f"{tmp_path} has no 'test' split of openai/gsm8k")
    assert "SVAMP" not in str(caught.value)


def test_a_run_that_trains_nothing_does_not_ask_for_the_training_split(tmp_path: Path) -> None:
    data = [str(evaluation_alone(tmp_path))]
    plan = make_plan(settings("gsm8k", "mmlu", data=data, recipes=[]))
    assert [(task.task.name, len(task.items), task.training_items) for task in plan.tasks] == [
        ("gsm8k", 6, ()),
        ("mmlu", 5, ()),
    ]
    assert ["few-shot" in task.baselines for task in plan.tasks] == [False, True]
    with pytest.raises(DataError) as caught:
        make_plan(settings("gsm8k", "mmlu", data=data))
    for line, split in zip(str(caught.value).splitlines(), ("train", "auxiliary_train"), strict=True):
        assert f"has no '{split}' split" in line
        assert line.endswith("To evaluate without training, give --recipes none.")


def test_responses_of_another_program_are_scored_without_the_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    task = on_data(Gsm8k(), {EVERY: evaluation_alone(tmp_path)})
    rows = [{"item_id": i.id, "arm": "plain", "response": f"#### {i.target}"} for i in task.items("eval")]
    (tmp_path / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    printed = run("run --task gsm8k --model answers.jsonl --data .", capsys)
    assert printed.code == 0, printed.err
    report = json.loads((tmp_path / "mipo-bench-report/report.json").read_text())
    assert [arm["scores"] for arm in report["arms"]] == [[1.0] * 6]


def test_the_folders_come_from_the_command_line_a_file_or_set(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data: {gsm8k: here, '*': there}\n")
    assert load_config(file, [], {}).data == {"gsm8k": Path("here"), "*": Path("there")}
    assert load_config(file, ["data.gsm8k=x"], {}).data == {"gsm8k": Path("x"), "*": Path("there")}
    assert load_config(file, ["data.gsm8k=x"], {"data": ["svamp=y"]}).data == {"svamp": Path("y")}
    file.write_text("data: there\n")
    assert load_config(file, [], {}).data == {EVERY: Path("there")}
    assert load_config(None, ["data.gsm8k=x"], {}).data == {"gsm8k": Path("x")}


def test_an_equals_sign_in_the_name_of_a_folder_is_no_task(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert folders([str(odd)]) == {EVERY: str(odd)}
    assert folders(["lm-eval:x=y"]) == {"lm-eval:x": "y"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": ["a", "b"]}, "two folders for all tasks: a and b"),
        ({"data": ["gsm8k=a", "gsm8k=b"]}, "two folders for task 'gsm8k'"),
        ({"data": [3]}, "3 is neither DIR nor TASK=DIR"),
        ({"data": ["gsm9k=a"]}, "no task 'gsm9k' of this run reads data. Those that read data: gsm8k"),
        ({"data": ["a", "gsm8k=b"]}, "--data a: no task of this run reads it"),
        ({"data": ["a"], "tasks": ["facts"]}, "--data a: no task of this run reads it. None of them reads data"),
        ({"data": ["facts=a"], "tasks": ["facts"]}, "no task 'facts' of this run reads data. None of them"),
    ],
)
def test_folders_that_nobody_reads_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(settings(*options.pop("tasks", ["gsm8k"]), **options))


def test_a_task_that_reads_data_but_takes_no_folder_is_a_broken_plugin() -> None:
    task: Task = type("Reads", (Arithmetic,), {"uses_data": True})()
    with pytest.raises(PluginError, match=r"'arithmetic' has uses_data = True, but no method with_data"):
        on_data(task, {EVERY: Path()})


def test_the_report_says_what_was_read_and_names_no_folder(tmp_path: Path) -> None:
    config = settings("gsm8k", "prism", recipes=[])
    engine = FakeEngine(lambda _: "#### 30", lambda _: "")
    report = seal(Run(RunContext(config, make_plan(config), Store(tmp_path), engine, SilentDisplay())).execute())
    data = report.tasks[0].data or {}
    assert data["dataset"] == "openai/gsm8k"
    assert data["left out: training items with an evaluation prompt"] == 1
    head = "\n".join(report_page(report).head)
    digest = str(data["digest"])[:10]
    assert f"data of gsm8k: openai/gsm8k, local files, digest {digest}, licence MIT (left out: 1 training" in head
    assert "1 users without conversations; 4 earlier turns" in head
    assert str(DATA) not in to_json(report)
    assert json.loads(to_json(report))["config"].get("data") is None
    assert {a.method: sum(a.scores) for a in report.arms if a.task == "gsm8k"}["plain"] == 2


def test_doctor_names_the_data_of_each_task_and_plans_the_others(tmp_path: Path) -> None:
    config = settings("gsm8k", "svamp", "facts", data=[f"gsm8k={DATA}", f"svamp={tmp_path}"], store=tmp_path)
    found = list(examine(config))
    data, tasks = ([(f.state, f.text) for f in found if f.what == what] for what in ("data", "tasks"))
    assert data[0] == ("ok", "gsm8k: openai/gsm8k, local files, licence MIT")
    assert data[1][0] == "fail"
    assert data[1][1].startswith(f"svamp: {tmp_path} has no 'test' split of ChilleD/SVAMP")
    assert [text.split(":")[0] for state, text in tasks if state == "ok"] == ["gsm8k", "facts"]
    assert ("warn", f"task 'gsm8k' {NOT_EMBEDDED}") in tasks
    assert not can_start(found)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("plan", "run --task gsm8k --task prism --judge rules --data {data} --dry-run"),
        ("no-such-folder", "run --task gsm8k --data absent --dry-run"),
        ("missing-split", "run --task gsm8k --task svamp --data . --dry-run"),
        ("two-folders", "run --task gsm8k --data a --data b --dry-run"),
        ("check-task", "check-task svamp --data {data}"),
        ("check-task-named-folder", "check-task svamp --data svamp={data}"),
        ("check-task-other-folder", "check-task svamp --data gsm8k={data}"),
        ("check-task-without-training", "check-task mmlu --data untrained"),
        ("without-training", "run --task mmlu --data untrained --dry-run"),
        ("check-task-reads-none", "check-task facts --data {data}"),
    ],
)
def test_what_is_printed(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluation_alone(tmp_path / "untrained")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    printed = run(command.format(data=DATA), capsys)
    check_golden(f"data/{name}.txt", printed.text(command).replace(str(DATA), "{data}"))
