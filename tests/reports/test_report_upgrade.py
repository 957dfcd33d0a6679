"""A report of schema 1.4 loads, prints and compares like a report of the current schema."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from paths import TESTS

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ReportError
from mipo_bench.harness.evaluation.scoring import describe_task
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.testing import load_task
from mipo_bench.reports.diff.environment import environment_notes
from mipo_bench.reports.records.report import SCHEMA_VERSION
from mipo_bench.reports.records.report_file import content_digest, load_report, parse_report, run_id, to_json

OLD = TESTS / "reports" / "report_1x" / "report.json"
"""Six items of persona and persona-judged. few-shot failed on both, because its prompts are longer than the window."""
SETTINGS = (
    *("average=macro", "cad.weight=0.3", "best_of_n.samples=3", "judge.name=rules"),
    *("max_length=420", "overflow=0", "processes=1", "information.items=2"),
)
OPTIONS = {
    "tasks": ["persona", "persona-judged"],
    "recipes": [],
    "baselines": ["profile", "no-context", "few-shot", "cad", "best-of-n"],
    "limit": 6,
}
"""The configuration of the report's run, with the current names of settings."""


LATER = {"thought_tags"}
"""Settings that the version of the report did not have."""


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(OLD.read_text(encoding="utf-8"))
    return loaded


def test_the_file_has_the_old_names() -> None:
    assert content()["schema_version"] == "1.4"
    assert {"weight", "holes"} <= content().keys()
    assert content()["config"]["asking"] == {"contrast_weight": 0.3, "samples": 3, "temperature": 1, "top_p": 1}


def test_every_old_name_is_lifted() -> None:
    report = load_report(OLD)
    assert (report.schema_version, report.average) == ("2.0", "macro")
    assert {(lost.task, lost.method, lost.error) for lost in report.failures} == {
        (task, "few-shot", "StageError") for task in ("persona", "persona-judged")
    }
    now = load_config(None, SETTINGS, OPTIONS).model_dump(mode="json", exclude={"store", "out", *LATER})
    assert report.config == now
    assert report.digest == content()["digest"]


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv", "json"])
def test_it_shows_in_every_format(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(f"show {OLD} --format {form}", capsys)
    assert printed.code == 0
    assert "few-shot" in printed.out
    assert "macro" in printed.out
    if form == "json":
        assert parse_report(printed.out, "shown").failures == load_report(OLD).failures


def test_the_same_run_in_both_schemas_does_not_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new.json"
    config = load_config(None, SETTINGS, OPTIONS).model_dump(mode="json", exclude={"store", "out"})
    new.write_text(to_json(load_report(OLD).model_copy(update={"config": config})), encoding="utf-8")
    assert json.loads(new.read_text())["schema_version"] == SCHEMA_VERSION
    for sides in (f"{OLD} {new}", f"{new} {OLD}"):
        diff = json.loads(run(f"diff {sides} --format json", capsys).out)
        assert diff["notes"] == []
        assert diff["average"] == "macro"
        tested = [arm for arm in diff["arms"] if arm["state"] == "tested"]
        assert len(tested) == 8
        assert {(arm["comparison"]["delta"], arm["comparison"]["average"]) for arm in tested} == {(0, "macro")}


def test_a_setting_that_differs_is_named_as_it_is_now() -> None:
    old = load_report(OLD)
    changed = load_config(None, [*SETTINGS, "cad.weight=0.4"], OPTIONS).model_dump(mode="json")
    notes = environment_notes(old, old.model_copy(update={"config": changed}))
    assert notes == ("settings, A -> B: cad.weight 0.3 -> 0.4",)


def test_runs_of_an_older_version_stay_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # outside of the repository, whose git history has the report too
    report, store = load_report(OLD), tmp_path / "store"
    keys = [dict.fromkeys(report.tasks[0].items, "key") for _ in report.arms]
    with closing(Store(store)) as opened:
        opened.put_run(StoredRun(report.digest, report.created, OLD.read_text(encoding="utf-8"), keys))
    name = content()["digest"][:12]
    assert run_id(report) == name
    assert "few-shot failed at evaluation" in run(f"show {name} --store {store}", capsys).out
    new = tmp_path / "new.json"
    new.write_text(to_json(report), encoding="utf-8")
    assert json.loads(run(f"diff {name} {new} --store {store} --format json", capsys).out)["notes"] == []
    listed = run(f"history --store {store} --limit 50", capsys)
    assert listed.code == 0
    assert f"run {name}" in listed.out


def test_an_edited_or_damaged_old_report_is_refused() -> None:
    edited = content() | {"holes": []}
    with pytest.raises(ReportError, match="has been changed since"):
        parse_report(json.dumps(edited), "old")
    for change, message in (({"weight": "median"}, "average: "), ({"config": 3}, "config: ")):
        damaged = content() | change
        damaged["digest"] = content_digest(damaged)
        with pytest.raises(ReportError, match=f"old is damaged: {message}"):
            parse_report(json.dumps(damaged), "old")


def test_items_have_the_hashes_that_old_reports_hold() -> None:
    """Otherwise no item of an old report would match one of a new run."""
    for old in load_report(OLD).tasks:
        task = load_task(old.name)
        items = {item.id: item for item in task.items("eval")}
        now = describe_task(task, old.reference, [items[name] for name in old.items])
        assert (now.prompt_hashes, now.target_hashes) == (old.prompt_hashes, old.target_hashes)
