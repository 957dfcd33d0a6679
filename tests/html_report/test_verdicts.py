"""`mipo-bench html --responses` of a judged task: the verdicts of the store, with the words of the judge."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from html_pages import text_entries
from made_judges import blocks, longer_wins, scripted
from worlds import Court

from mipo_bench.harness.protocols import Request
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.records.report import ArmRecord, Report
from mipo_bench.reports.records.report_file import seal, to_json

INCLUDED = "from made_judges import Letters\n\nTASKS = [Letters]\n"


def explains(request: Request) -> str:
    """Prefers the longer response, and quotes the first one before its verdict."""
    found = blocks(request.prompt)
    return f"I read <{found.get('first response') or found['response']}>.\n{longer_wins(request)}"


def judged(folder: Path, settings: tuple[str, ...] = ()) -> Report:
    """A judged run in the store, and its report.json."""
    court = Court(folder / ".mipo-bench")
    with closing(court.store) as store:
        report = seal(court.run(scripted(explains)[0], settings=settings))
        store.put_run(StoredRun(report.digest, report.created, to_json(report), court.keys))
    Path("report.json").write_text(to_json(report))
    Path("letters.py").write_text(INCLUDED)
    return report


def shown(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    printed = run("html report.json --responses all --include letters.py", capsys)
    assert printed.code == 0, printed.err
    found = text_entries(Path("report.html"))
    assert all(found)
    return [entry for entry in found if entry]


def arms_of(report: Report) -> tuple[list[ArmRecord], int]:
    arms = [arm for arm in report.arms if arm.task == "letters"]
    return arms, next(n for n, arm in enumerate(arms) if arm.method == "profile")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_both_orders_with_the_words_of_the_judge(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = judged(folder)
    arms, reference = arms_of(report)
    asked = set()
    for item, entry in enumerate(shown(capsys)):
        texts = [entry["texts"][own["text"]] for own in entry["arms"]]
        assert entry["arms"][reference]["verdicts"] == []
        for n, arm in enumerate(arms):
            if n == reference:
                continue
            first, second = entry["arms"][n]["verdicts"]
            assert (first["value"] + second["value"]) / 2 == arm.scores[item]
            asked.add(first["asked"])
            if first["asked"] == "first":
                assert second["asked"] == "second"
                assert first["text"].startswith(f"I read <{texts[n]}>.\nVerdict: ")
                assert second["text"].startswith(f"I read <{texts[reference]}>.\nVerdict: ")
    assert asked >= {"first"}


def test_ratings_of_each_response(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = judged(folder, ("judge.protocol=pointwise",))
    arms, _ = arms_of(report)
    for item, entry in enumerate(shown(capsys)):
        for arm, own in zip(arms, entry["arms"], strict=True):
            [rating] = own["verdicts"]
            assert rating["asked"] == "alone"
            assert rating["value"] == arm.parts["rating"][item]
            assert "Rating: " in rating["text"]


def test_a_verdict_that_the_store_lost_has_no_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(folder)
    with closing(sqlite3.connect(folder / ".mipo-bench" / "store.sqlite")) as database, database:
        database.execute("DELETE FROM verdicts")
    found = [v for entry in shown(capsys) for own in entry["arms"] for v in own["verdicts"] if v["asked"] != "rule"]
    assert found
    assert {(v["value"], v["text"]) for v in found} == {(None, "")}
