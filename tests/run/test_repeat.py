"""Runs whose inputs have not changed: what decides their key, and when the store's report is taken."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from made_reports import Made

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.run.repeat import remember_run, repeated, run_key
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.records.report import FailureRecord, Report
from mipo_bench.reports.records.report_file import parse_report, seal, to_json

ROWS = [("a", Response("Answer: 1", 3, 2, "stop")), ("b", Response("Answer: 2", 3, 2, "stop"))]


def config(folder: Path, *settings: str, **options: Any) -> RunConfig:
    places = [f"store={folder / 'store'}", "threads=1", "processes=1"]
    return load_config(None, [*places, *settings], {"suite": "math", "out": folder / "out", **options})


def finish(folder: Path, report: Report) -> None:
    """Put a finished run into the store, as a run does at its end."""
    with closing(Store(folder / "store")) as store:
        store.put_responses(ROWS)
        run = StoredRun(report.digest, report.created, to_json(report), [{"item": "a"}])
        remember_run(store, run_key(config(folder)), run, report)
        store.put_run(run)


@pytest.fixture
def report() -> Report:
    return seal(Made().report())


def test_an_unchanged_run_takes_the_stored_report(tmp_path: Path, report: Report) -> None:
    assert repeated(config(tmp_path)) is None
    finish(tmp_path, report)
    for _ in range(2):
        found = repeated(config(tmp_path))
        assert found is not None
        again = found.report
        own = {"created", "digest", "config", "provenance"}
        assert again.model_dump(exclude=own) == report.model_dump(exclude=own)
        assert again.created > report.created
        assert parse_report(found.text, "again").digest == again.digest
        assert found.text == to_json(again)
        with closing(Store(tmp_path / "store")) as store:
            runs = store.runs()
        assert len(runs) > 1, "the earlier run stays; two within one second are one run"
        assert (runs[-1].id, runs[-1].used) == (again.digest, runs[0].used)


def test_the_latest_run_carries_the_others(tmp_path: Path, report: Report) -> None:
    finish(tmp_path, report)
    again = repeated(config(tmp_path))
    assert again is not None
    with closing(Store(tmp_path / "store")) as store:
        store.database.execute("DELETE FROM runs WHERE id = ?", (report.digest,))
    assert repeated(config(tmp_path)) is not None


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE responses SET text = 'Answer: 3' WHERE key = 'a'",
        "DELETE FROM responses WHERE key = 'b'",
        "UPDATE runs SET report = x'00'",
        "DELETE FROM runs",
        "UPDATE memos SET value = x'00'",
    ],
)
def test_damage_is_left_to_the_run_that_computes(damage: str, tmp_path: Path, report: Report) -> None:
    finish(tmp_path, report)
    with closing(Store(tmp_path / "store")) as store:
        store.database.execute(damage)
        rows = store.database.execute("SELECT * FROM responses")
    assert repeated(config(tmp_path)) is None
    with closing(Store(tmp_path / "store")) as store:
        assert store.database.execute("SELECT * FROM responses") == rows  # the run names what is damaged


def test_a_damaged_file_is_left_to_the_run_that_computes(tmp_path: Path, report: Report) -> None:
    finish(tmp_path, report)
    file = tmp_path / "store" / "store.sqlite"
    file.write_bytes(b"nothing" * 100)
    assert repeated(config(tmp_path)) is None


def test_a_run_with_a_failure_is_computed_again(tmp_path: Path, report: Report) -> None:
    failure = FailureRecord(task="t", method="m", train_seed=None, stage="training", error="E", message="full disk")
    finish(tmp_path, seal(report.model_copy(update={"failures": [failure]})))
    assert repeated(config(tmp_path)) is None


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (["alpha=0.1"], {}),
        (["decoding.seed=1"], {}),
        (["train.lr=0.1"], {}),
        (["information.items=5"], {}),
        (["threads=2"], {}),
        (["batch_size=8"], {}),
        (["chat.system_in_user=true"], {}),
        ([], {"seeds": 2}),
        ([], {"limit": 5}),
        ([], {"suite": "choice"}),
        ([], {"baselines": ["plain"]}),
        ([], {"recipes": ["mipo-random"]}),
        ([], {"skip_missing": True}),
    ],
)
def test_a_setting_that_can_change_the_report_changes_the_key(
    settings: list[str], options: dict[str, Any], tmp_path: Path
) -> None:
    before, after = run_key(config(tmp_path)), run_key(config(tmp_path, *settings, **options))
    assert before
    assert after
    assert before != after


def test_folders_and_processes_do_not_change_the_key(tmp_path: Path) -> None:
    other = config(tmp_path, f"store={tmp_path / 'elsewhere'}", "processes=2", out=tmp_path / "there")
    assert run_key(other) == run_key(config(tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"tasks": ("persona-judged",)},
        {"model": "answers.jsonl"},
        {"model": "gpt", "backend": "openai"},
        {"tasks": ("no-such-task",)},
        {"tasks": ("gsm8k",), "data": {"gsm8k": "nowhere"}},
    ],
)
def test_runs_whose_inputs_are_not_all_known_are_never_repeated(options: dict[str, Any], tmp_path: Path) -> None:
    assert run_key(config(tmp_path, **options)) is None


def test_plugins_of_others_are_never_repeated(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text("TASKS = []\n")
    assert run_key(config(tmp_path, include=[plugin])) is None
