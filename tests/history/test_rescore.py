"""Stored responses of a run: listed beside items (`--items`), and scored again (`--rescore`)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine, SilentDisplay
from golden_files import run
from worlds import guess, settings, settle

from mipo_bench.harness.errors import ReportError
from mipo_bench.harness.history.find_report import ReportSearch
from mipo_bench.harness.history.rescore import StoredResponses, rescored
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.diff.records import Side
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

PLACES = ReportSearch(store=Path(".mipo-bench"))


GOLD = {item.prompt: Arithmetic().gold(item) for item in Arithmetic().items("eval")}
NASTY = "\x1b[31m</details> `@you`\n"


def knowing(request: Request) -> str:
    """A model that knows the answer to every evaluation item, and adds characters that a page must escape."""
    prompt = request.prompt.rsplit("<user>", maxsplit=1)[-1]
    return next((NASTY + answer for text, answer in GOLD.items() if text in prompt), guess(request))


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """Two runs in the store: `guess` and `knowing` as the base model; their reports as a.json and b.json."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    made = []
    config = settings(suite="math", seeds=2)
    with closing(Store(PLACES.store)) as store:
        for name, answer in (("a", guess), ("b", knowing)):
            engine = FakeEngine(answer, settle, model_digest=name)
            started = Run(RunContext(config, make_plan(config), store, engine, SilentDisplay()))
            report = seal(started.execute())
            keys = [done.keys for done in started.evaluated]
            store.put_run(StoredRun(report.digest, report.created, to_json(report), keys))
            Path(f"{name}.json").write_text(to_json(report))
            made.append(report)
    return made


def test_an_included_task_is_rescored_only_when_its_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(
        "from mipo_bench.tasks.embedded.arithmetic import Arithmetic\n"
        "class Mine(Arithmetic):\n    name = 'mine'\n\nTASKS = [Mine]\n"
    )
    config = settings(tasks=["mine"], include=[file], recipes=[])
    with closing(Store(PLACES.store)) as store:
        started = Run(RunContext(config, make_plan(config), store, FakeEngine(guess, settle), SilentDisplay()))
        report = seal(started.execute())
        store.put_run(StoredRun(report.digest, report.created, to_json(report), [e.keys for e in started.evaluated]))
    assert report.config["include"][0]["name"] == "mine.py"
    assert str(tmp_path) not in to_json(report)
    with pytest.raises(ReportError, match=r"task 'mine' of A is not installed. If a file has it, give --include FILE"):
        rescored(Side(report, "A"), PLACES)
    again = rescored(Side(report, "A"), replace(PLACES, include=(file,)))
    assert [arm.scores for arm in again.report.arms] == [arm.scores for arm in report.arms]


def with_old_scorer(report: Report) -> Report:
    """The report of an older scorer: every score is 0, and one item made the scorer fail."""
    tasks = [t.model_copy(update={"scorer_hash": "old"}) for t in report.tasks]
    failed = {report.tasks[0].items[0]: "score: KeyError: 'x'"}
    arms = [a.model_copy(update={"scores": [0.0] * len(a.scores), "failed": failed}) for a in report.arms]
    return seal(report.model_copy(update={"tasks": tasks, "arms": arms}))


def store_again(old: Report, report: Report) -> None:
    """The stored run of `report`, with `old` in place of its report."""
    with closing(Store(PLACES.store)) as store:
        keys = store.runs(report.digest)[0].keys
        store.put_run(StoredRun(old.digest, old.created, to_json(old), keys))


def test_every_response_of_a_run_is_found_again(reports: list[Report]) -> None:
    replay = StoredResponses(reports[0], PLACES)
    for index, arm in enumerate(reports[0].arms):
        found = replay.responses(index, reports[0].tasks[0].items)
        assert list(found) == reports[0].tasks[0].items
        assert [r.n_tokens for r in found.values()] == arm.n_tokens


def test_scoring_again_gives_the_same_report(reports: list[Report]) -> None:
    for report in reports:
        side = rescored(Side(report, "A"), PLACES)
        assert side.report.arms == report.arms
        assert side.report.tasks == report.tasks
        assert side.label == "A, rescored"


def test_items_are_listed_with_prompt_and_both_responses(
    reports: list[Report], capsys: pytest.CaptureFixture[str]
) -> None:
    text = run("diff a.json b.json --items --max-items 100", capsys).out
    assert "    prompt:" in text
    assert "    A:" in text
    assert "    B:" in text
    assert "    A, training seed 0:" not in text  # both sides' checkpoints answer alike
    assert "</details> `@you`" in text
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    record = json.loads(run("diff a.json b.json --items --format json", capsys).out)
    quoted = [c for arm in record["arms"] for c in arm["regressed"] + arm["improved"] if c.get("texts")]
    assert quoted
    assert {q["label"] for c in quoted for q in c["texts"]} == {"prompt", "A", "B"}


def test_markdown_quotes_responses_where_they_can_do_nothing(
    reports: list[Report], capsys: pytest.CaptureFixture[str]
) -> None:
    text = run("diff a.json b.json --items --max-items 100 --format markdown", capsys).out
    assert "`@you`" in text
    assert text.count("<details>") == len([line for line in text.splitlines() if line == "</details>"])
    inside = False
    for line in text.splitlines():
        if line.strip().startswith("```"):
            inside = not inside
        elif "`@you`" in line:
            assert inside
            assert line.startswith("  ")
    assert not inside


def test_long_responses_are_cut_in_lists_and_whole_in_json(
    reports: list[Report], capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(PLACES.store)) as store:
        keys = {key for run in store.runs() for arm in run.keys for key in arm.values()}
        with closing(sqlite3.connect(PLACES.store / "store.sqlite")) as db, db:
            db.execute("DELETE FROM responses")
        store.put_responses((key, Response("y" * 5000, 1, 1, "stop")) for key in keys)
    assert "... (3800 more" in " ".join(run("diff a.json b.json --items", capsys).out.split())
    assert "y" * 5000 in run("diff a.json b.json --items --format json", capsys).out


def test_without_the_store_items_are_listed_bare(reports: list[Report], capsys: pytest.CaptureFixture[str]) -> None:
    text = run("diff a.json b.json --items --store elsewhere", capsys).out
    assert "improved" in text
    assert "prompt:" not in text


def test_a_changed_scorer_is_x_until_both_sides_are_rescored(
    reports: list[Report], capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_old_scorer(reports[0])
    store_again(old, reports[0])
    Path("a.json").write_text(to_json(old))
    printed = run("diff a.json b.json --gate regression", capsys)
    assert printed.code == 4
    assert "the scorer has changed; --rescore" in printed.out
    assert rescored(Side(old, "A"), PLACES).report.arms == reports[0].arms
    printed = run("diff a.json b.json --rescore", capsys)
    assert printed.code == 0
    assert "A  a.json, rescored" in printed.out
    plain = run(f"diff {reports[0].digest} b.json", capsys)
    assert figures(printed.out) == figures(plain.out)


def figures(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("plain", "few-shot", "chain", "mipo"))]


def test_rescoring_says_what_is_missing(reports: list[Report], tmp_path: Path) -> None:
    side = Side(reports[0], "A")
    with pytest.raises(ReportError, match=r"the store elsewhere has no run .* \(A\)"):
        rescored(side, ReportSearch(store=Path("elsewhere")))
    with closing(Store(PLACES.store)) as store:
        store.database.execute("DELETE FROM responses")
    with pytest.raises(ReportError, match="12 responses of arithmetic/chain-of-thought are no longer in the store"):
        rescored(side, PLACES)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"name": "unheard-of"}, "'unheard-of' of A is not installed"), ({"target_hashes": ["x"] * 12}, "have changed")],
)
def test_rescoring_needs_the_same_task(reports: list[Report], change: dict[str, object], message: str) -> None:
    report = reports[0]
    tasks = [t.model_copy(update=change) for t in report.tasks]
    arms = [a.model_copy(update={"task": tasks[0].name}) for a in report.arms]
    changed = seal(report.model_copy(update={"tasks": tasks, "arms": arms}))
    store_again(changed, report)
    with pytest.raises(ReportError, match=message):
        rescored(replace(Side(report, "A"), report=changed), PLACES)
