"""How answers were found: the counts of an arm, the table of a task, and the guard on arms that differ."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from golden_files import check_golden, run
from made_reports import Made

from mipo_bench.reports.analysis.guard_rules import reading_warnings, ways_differ
from mipo_bench.reports.analysis.ways import Findings, distance, distance_by_chance, findings
from mipo_bench.reports.diff.diff_reports import diff_reports
from mipo_bench.reports.diff.records import DiffOptions, Side
from mipo_bench.reports.pages.page import Footnotes
from mipo_bench.reports.pages.ways import ways_table
from mipo_bench.reports.records.report import ReadingRecord, Report
from mipo_bench.reports.records.report_file import load_report, to_json

MARKED = ReadingRecord(ways={"mark": 60})


def found(ways: Mapping[str, int], **counts: int) -> Findings:
    items = sum(ways.values())
    numbers = {"responses": max(1, items), "invented_turns": 0, "thoughts": 0, "thoughts_cut": 0} | counts
    return Findings(ways, items, **numbers)


def with_readings(readings: Mapping[str, ReadingRecord]) -> Report:
    """A report on a math task whose arms have these readings; MARKED where none is named."""
    report = Made(suites=("math",), train_seeds=(0, 1)).report()
    arms = [a.model_copy(update={"reading": readings.get(a.method, MARKED)}) for a in report.arms]
    return report.model_copy(update={"arms": arms})


def test_the_distance_is_the_share_of_answers_that_would_have_to_move() -> None:
    assert distance(found({"mark": 60}), found({"mark": 60})) == 0
    assert distance(found({"mark": 60}), found({"last number": 10})) == 1
    assert distance(found({"mark": 50, "none": 50}), found({"mark": 8, "phrase": 2})) == pytest.approx(0.5)


def test_equal_shares_differ_by_more_than_chance_in_few_of_many_draws() -> None:
    rng = random.Random(0)
    ways = ("mark", "phrase", "last number", "none")

    def drawn(items: int) -> Findings:
        row = rng.choices(ways, (0.6, 0.2, 0.15, 0.05), k=items)
        return found({way: row.count(way) for way in ways})

    for items in (12, 60, 300):
        pairs = [(drawn(items), drawn(items)) for _ in range(400)]
        assert sum(distance(a, b) > distance_by_chance(a, b) for a, b in pairs) <= 0.05 * 400
    assert distance_by_chance(found({"mark": 300}), found({"mark": 300})) < 0.11


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        ({"mark": 300}, {"mark": 285, "last number": 15}, False),
        ({"mark": 300}, {"mark": 240, "last number": 60}, True),
        ({"mark": 10000}, {"mark": 9600, "last number": 400}, False),
        ({"mark": 10000}, {"mark": 9400, "last number": 600}, True),
        ({"mark": 3}, {"last number": 3}, False),
        ({}, {"mark": 300}, False),
        ({}, {}, False),
    ],
)
def test_ways_differ_beyond_chance_and_beyond_a_twentieth(
    a: Mapping[str, int], b: Mapping[str, int], *, differ: bool
) -> None:
    assert ways_differ(found(a), found(b)) is differ
    assert ways_differ(found(b), found(a)) is differ


def test_frequent_cuts_and_invented_turns_are_warned_of() -> None:
    assert list(reading_warnings(found({"mark": 100}, thoughts_cut=5, invented_turns=5))) == []
    cut, invented = reading_warnings(found({"mark": 100}, thoughts_cut=6, invented_turns=7))
    assert cut.startswith("6% of the responses end inside their thoughts")
    assert invented.startswith("in 7% of the responses the model goes on with a question of its own")


def test_the_seeds_of_a_method_are_one_finding() -> None:
    report = with_readings(
        {"mipo-random": ReadingRecord(ways={"mark": 40, "none": 20}, thoughts_cut=["arithmetic-001"])}
    )
    both = findings(report.group("arithmetic", "mipo-random"))
    assert both == Findings({"mark": 80, "none": 40}, 60, 120, 0, 0, 2)
    assert findings([]) is None


def test_there_is_no_table_where_all_answers_are_marked() -> None:
    notes = Footnotes()
    assert ways_table(with_readings({}), "arithmetic", notes) is None
    nearly = with_readings({"plain": ReadingRecord(ways={"mark": 58, "none": 2})})
    assert ways_table(nearly, "arithmetic", notes) is None
    thinks = with_readings({"plain": ReadingRecord(ways={"mark": 60}, thoughts=60)})
    assert ways_table(thinks, "arithmetic", notes) is not None
    assert ways_table(Made().report(), "arithmetic", notes) is None  # a report of an older schema
    no_answers = with_readings(dict.fromkeys(("plain", "few-shot", "mipo-random"), ReadingRecord()))
    assert ways_table(no_answers, "arithmetic", notes) is None


def test_the_record_survives_the_file(tmp_path: Path) -> None:
    reading = ReadingRecord(ways={"mark": 59, "a way of a later version": 1}, thoughts_cut=["arithmetic-001"])
    (tmp_path / "report.json").write_text(to_json(with_readings({"plain": reading})), encoding="utf-8")
    assert load_report(tmp_path).group("arithmetic", "plain")[0].reading == reading


def test_a_diff_warns_of_answers_that_were_found_in_other_ways() -> None:
    other = ReadingRecord(ways={"mark": 12, "last number": 48})
    arms = diff_reports(Side(with_readings({}), "A"), Side(with_readings({"plain": other}), "B"), DiffOptions()).arms
    warned = {arm.method: [w for w in arm.warnings if "other ways" in w] for arm in arms}
    assert {method for method, found in warned.items() if found} == {"plain"}
    assert "A -> B: mark 100% -> 20%, last number 0% -> 80%;" in warned["plain"][0]


def test_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    cut = [f"arithmetic-{n:03d}" for n in range(6)]
    readings = {
        "few-shot": ReadingRecord(ways={"mark": 57, "phrase": 2, "none": 1}, invented_turns=9),
        "mipo-random": ReadingRecord(ways={"mark": 12, "last number": 42, "none": 6}, thoughts=40, thoughts_cut=cut),
    }
    (tmp_path / "report.json").write_text(to_json(with_readings(readings)), encoding="utf-8")
    command = "show report.json"
    check_golden("show/ways.txt", run(command, capsys).text(command))
