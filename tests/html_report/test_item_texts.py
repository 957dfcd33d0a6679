"""`mipo-bench html --responses`: prompts of the tasks and responses of the store; what is missing is said."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, SilentDisplay
from golden_files import run
from html_pages import text_entries
from made_reports import Made, first_items_changed
from worlds import guess, settings, settle

from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.html.items import Choice, chosen_items
from mipo_bench.reports.records.report import ArmRecord, Report
from mipo_bench.reports.records.report_file import load_report, seal, to_json
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

STORE = Path(".mipo-bench")
ITEMS = {item.id: item for item in Arithmetic().items("eval")}


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A run of arithmetic in the store, and its report.json."""
    monkeypatch.chdir(tmp_path)
    config = settings(suite="math", seeds=2)
    with closing(Store(STORE)) as store:
        started = Run(RunContext(config, make_plan(config), store, FakeEngine(guess, settle), SilentDisplay()))
        made = seal(started.execute())
        keys = [done.keys for done in started.evaluated]
        store.put_run(StoredRun(made.digest, made.created, to_json(made), keys))
    Path("report.json").write_text(to_json(made))
    return made


def texts(number: int = 0) -> list[dict[str, Any] | None]:
    """The entries of all blocks of a task in report.html."""
    return text_entries(Path("report.html"), number)


def test_prompts_and_responses_of_every_item(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("html report.json --responses all", capsys)
    assert (printed.code, printed.out) == (0, "")
    assert "wrote report.html" in printed.err
    task = report.tasks[0]
    arms = [arm for arm in report.arms if arm.task == task.name]
    found = texts()
    assert len(found) == len(task.items)
    for name, entry in zip(task.items, found, strict=True):
        assert entry
        assert (entry["prompt"], entry["target"]) == (ITEMS[name].prompt, ITEMS[name].target)
        assert len(entry["arms"]) == len(arms)
        assert len(set(entry["texts"])) == len(entry["texts"])
        for arm, own in zip(arms, entry["arms"], strict=True):
            score = arm.scores[task.items.index(name)]
            assert (own["answer"] == ITEMS[name].target) == (score == 1), entry


def test_only_the_failed_items(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    task = report.tasks[0]
    arms = [a.model_copy(update={"truncated": [], "unparsed": [], "failed": {}}) for a in report.arms]
    arms[0] = arms[0].model_copy(update={"truncated": [task.items[1]]})
    Path("report.json").write_text(to_json(seal(report.model_copy(update={"arms": arms}))))
    assert run("html report.json --responses failed", capsys).code == 0
    assert [n for n, entry in enumerate(texts()) if entry] == [1]


def test_without_responses_the_file_has_no_texts(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("html report.json -o report.html", capsys).code == 0
    assert texts() == []
    assert ITEMS[report.tasks[0].items[0]].prompt not in Path("report.html").read_text()


def test_a_store_without_the_run_is_said_on_the_page(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("html report.json --responses all --store other", capsys)
    assert printed.code == 0
    assert "the run store has no run" in printed.err
    assert "the run store has no run" in Path("report.html").read_text()
    assert not Path("other").exists()
    assert all(entry and entry["texts"] == [] and entry["prompt"] for entry in texts())


def test_changed_prompts_are_left_out(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    changed = first_items_changed(report)
    Path("report.json").write_text(to_json(changed))
    printed = run("html report.json --responses all", capsys)
    assert "4 prompts of arithmetic left out: changed since the report was made" in printed.err
    unknown = [bool(entry) and entry["prompt"] is None for entry in texts() if entry]
    assert unknown == [True] * 3 + [False] * (len(unknown) - 4) + [True]


def test_a_task_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = Made(n_math=6, suites=("math",)).report()
    renamed = json.loads(to_json(made).replace('"arithmetic"', '"unheard-of"'))
    Path("report.json").write_text(to_json(seal(Report.model_validate(renamed))))
    printed = run("html report.json --responses all", capsys)
    assert printed.code == 0
    assert "task unheard-of is not installed: its prompts are left out" in printed.err


def test_responses_that_the_store_lost_are_counted(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(STORE / "store.sqlite")) as database, database:
        database.execute("DELETE FROM responses")
    printed = run("html report.json --responses all", capsys)
    responses = sum(len(arm.scores) for arm in report.arms)
    assert f"{responses:,} responses of arithmetic no longer in the store" in printed.err


def test_a_file_that_is_too_large_is_not_written(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    big = report.model_copy(update={"notes": ["x" * 2**20]})
    Path("report.json").write_text(to_json(seal(big)))
    printed = run("html report.json --max-mib 1", capsys)
    assert printed.code == 2
    assert "more than --max-mib 1: nothing was written" in printed.err
    assert sorted(path.name for path in Path().iterdir()) == [".mipo-bench", "report.json"]


@pytest.mark.parametrize("place", ["report.json/x.html", "."])
def test_a_path_that_cannot_be_written_is_one_message(
    place: str, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(f"html report.json -o {place}", capsys)
    assert printed.code == 2
    assert printed.err.count("\n") == 1
    assert f"cannot write {place}" in printed.err
    assert load_report(Path("report.json")).digest == report.digest


def test_at_most_so_many_items_half_of_them_changed(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    task = report.tasks[0]
    changed = chosen_items(report, task, Choice("changed"))
    assert 1 < len(changed) < len(task.items) - 1
    assert run("html report.json --responses all --items 2", capsys).code == 0
    found = {name for name, entry in zip(task.items, texts(), strict=True) if entry}
    assert (len(found), len(found & changed)) == (2, 1)
    assert "at most 2 of a task" in Path("report.html").read_text()
    first = Path("report.html").read_bytes()
    run("html report.json --responses all --items 2", capsys)
    assert Path("report.html").read_bytes() == first


def test_responses_of_some_arms(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("html report.json --responses all --arm arithmetic/plain", capsys).code == 0
    arms = [arm.method for arm in report.arms]
    for entry in texts():
        assert entry
        assert [own is not None for own in entry["arms"]] == [method == "plain" for method in arms]
        assert len(entry["texts"]) == 1
    printed = run("html report.json --responses all --arm persona/*", capsys)
    assert printed.code == 2
    assert "no arm matches persona/*. This report has arithmetic/" in printed.err


def test_the_size_is_told_and_refused_before_anything_is_read(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run("html report.json --responses all", capsys).err
    assert re.search(r"about 0\.\d\d MiB of prompts and responses\n.*wrote", told, re.DOTALL)
    Path("report.html").unlink()
    with closing(sqlite3.connect(STORE / "store.sqlite")) as database, database:
        database.execute("UPDATE responses SET text = hex(randomblob(2000000)) WHERE key = (SELECT key FROM responses)")
    before = (STORE / "store.sqlite").stat().st_mtime_ns
    printed = run("html report.json --responses all --max-mib 1", capsys)
    assert printed.code == 2
    assert "the report would have about 1." in printed.err
    assert "nothing was written" in printed.err
    assert not Path("report.html").exists()
    assert (STORE / "store.sqlite").stat().st_mtime_ns == before  # the damaged row was not even read


def test_several_files_hold_the_blocks_of_the_one(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("html report.json --responses all --split made", capsys)
    assert (printed.code, printed.out) == (0, "")
    assert sorted(path.name for path in Path("made").rglob("*.*")) == ["0-0.js", "report.html"]
    assert run("html report.json --responses all", capsys).code == 0
    [data] = re.findall(r'id="texts-0-0" data-size="\d+">([^<]*)<', Path("report.html").read_text())
    assert Path("made/texts/0-0.js").read_text() == f'mipoBenchBlock("texts-0-0", "{data}");\n'
    again = run("html report.json --responses all --split made", capsys)
    assert (again.code, again.err.count("made exists, and nothing is overwritten")) == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--items 3", "--responses none has none"),
        ("--arm x", "--responses none has none"),
        ("--split made", "--responses none has none"),
        ("--split made -o a.html --responses all", "give one of them"),
        ("--split no/such/made --responses all", "cannot write no/such/made"),
    ],
)
def test_options_that_do_not_fit_are_one_message(
    options: str, message: str, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(f"html report.json {options}", capsys)
    assert printed.code == 2
    assert message in printed.err.splitlines()[-1]
    assert not list(Path().glob("*.html"))


def test_a_diff_holds_the_texts_of_items_that_moved(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    moved = report.model_copy(update={"arms": [_turned(report.arms[0], 3), *report.arms[1:]]})
    Path("b.json").write_text(to_json(seal(moved)))
    Path("diff.html").write_text(run("diff report.json b.json --format html --items", capsys).out)
    found = text_entries(Path("diff.html"))
    assert [bool(entry) for entry in found] == [n == 3 for n in range(len(found))]
    entry = found[3]
    assert entry
    assert entry["prompt"] == ITEMS[report.tasks[0].items[3]].prompt
    assert entry["texts"][entry["arms"][0]["text"]].endswith(tuple("0123456789"))


def _turned(arm: ArmRecord, item: int) -> ArmRecord:
    """The arm with another score on one item."""
    scores = [1 - score if n == item else score for n, score in enumerate(arm.scores)]
    return arm.model_copy(update={"scores": scores})
