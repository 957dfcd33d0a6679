"""Many looks at the same items: what a report remembers of earlier runs, and a gate that was passed by trying again."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from made_reports import BASE, WORSE, Made, first_items_changed
from worlds import World, settings

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.analysis.looks import earlier_looks
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import parse_report, run_id, seal, to_json

FIRST, SECOND, THIRD = (replace(BASE, seed=n, created=f"2026-01-0{n + 1}T00:00:00+00:00").report() for n in range(3))


def test_each_result_on_the_same_items_is_one_look() -> None:
    looks = earlier_looks(THIRD, [FIRST, FIRST, SECOND])
    assert [(x.task, x.method, x.base) for x in looks] == [
        ("arithmetic", "mipo-random", "plain"),
        ("persona", "mipo-random", "profile"),
    ]
    for look in looks:
        assert [past.run for past in look.earlier] == [run_id(FIRST), run_id(SECOND)]
        tested = next(c for c in FIRST.comparisons if (c.task, c.family) == (look.task, "primary"))
        assert (look.earlier[0].delta, look.earlier[0].p_value) == (tested.delta, tested.p_value)


def test_a_repetition_is_no_look_and_says_the_same_as_before() -> None:
    again = seal(SECOND.model_copy(update={"created": "2026-03-01T00:00:00+00:00"}))
    assert earlier_looks(again, [SECOND]) == []
    assert earlier_looks(again, [FIRST, SECOND, THIRD]) == earlier_looks(SECOND, [FIRST]) != []


def test_other_models_methods_and_items_are_no_looks() -> None:
    others = [replace(BASE, seed=1, weights="bbbbbbbbbbbb"), replace(BASE, seed=1, recipe="mipo-other")]
    assert earlier_looks(FIRST, [made.report() for made in others]) == []
    few = Made(seed=1, n_math=20, n_users=4).report()
    assert earlier_looks(FIRST, [few]) == []
    assert len(earlier_looks(few, [FIRST])) == 2
    assert len(earlier_looks(THIRD, [first_items_changed(SECOND)])) == 2


def test_the_head_of_a_report_counts_the_looks() -> None:
    third = seal(THIRD.model_copy(update={"looks": earlier_looks(THIRD, [FIRST, SECOND])}))
    lines = [line for line in report_page(third).head if "look" in line]
    p = [
        next(c.p_value for c in r.comparisons if (c.task, c.family) == ("persona", "primary")) for r in (FIRST, SECOND)
    ]
    assert len(lines) == 2
    assert lines[1].startswith("! third look at these items: persona mipo-random against profile was tested before")
    for past, value in zip((FIRST, SECOND), p, strict=True):
        assert f"run {run_id(past)} (p " in lines[1], value
    many = [replace(BASE, seed=n).report() for n in range(1, 14)]
    lines = list(report_page(seal(FIRST.model_copy(update={"looks": earlier_looks(FIRST, many)}))).head)
    assert any("! look 14 at these items" in line and "in 8 more and run" in line for line in lines)
    assert not any("look" in line for line in report_page(FIRST).head)


def test_a_run_remembers_the_looks_of_its_store(tmp_path: Path) -> None:
    world = World(tmp_path / "store")

    def run_with(seed: int) -> Report:
        config = load_config(None, [f"decoding.seed={seed}"], {"limit": 12, "seeds": 2, "suite": "math"})
        report = seal(world.run(config))
        world.store.put_run(StoredRun(report.digest, report.created, to_json(report), []))
        return report

    first, second, repeated, third = (run_with(seed) for seed in (0, 1, 1, 2))
    primary = sum(c.family == "primary" and c.p_value is not None for c in first.comparisons)
    assert primary > 0
    assert first.looks == []
    assert [[past.run for past in look.earlier] for look in second.looks] == [[run_id(first)]] * primary
    assert repeated.looks == second.looks
    assert [[past.run for past in look.earlier] for look in third.looks] == [[run_id(first), run_id(second)]] * primary
    assert parse_report(to_json(third), "third").looks == third.looks


def test_a_stored_run_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        store.put_run(StoredRun("f" * 64, "2026-01-01", '{"schema_version": "3.0", "model": "base"}', []))
    report = World(tmp_path).run(settings(suite="math"))
    assert "cannot tell whether these runs of the store looked at the same items: ffffffffffff" in report.notes


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.json, b.json, and a store whose runs of the same commit are one that fails against A, and one that passes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    failing = replace(WORSE, created="2026-02-01T00:00:00+00:00").report()
    passing = replace(BASE, seed=2, created="2026-02-02T00:00:00+00:00").report()
    b = replace(BASE, seed=3, created="2026-02-03T00:00:00+00:00").report()
    remembered(failing, passing, b)
    Path("a.json").write_text(to_json(BASE.report()))
    Path("b.json").write_text(to_json(b))
    return tmp_path


def remembered(*reports: Report) -> None:
    with closing(Store(Path(".mipo-bench"))) as store:
        for report in reports:
            store.put_run(StoredRun(report.digest, report.created, to_json(report), []))


AGAIN = "passed by trying again: run {} of the same code, on the same items, failed this gate against A"


def test_a_gate_says_that_it_was_passed_by_trying_again(tried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = run_id(replace(WORSE, created="2026-02-01T00:00:00+00:00").report())
    printed = run("diff a.json b.json --gate regression", capsys)
    assert printed.code == 0
    assert AGAIN.format(failed) in " ".join(printed.out.split())
    values = json.loads(run("diff a.json b.json --gate regression --format json", capsys).out)
    assert values["gate"]["earlier_failures"] == [failed]
    assert "trying again" not in run("diff a.json b.json", capsys).out
    assert "trying again" not in run("diff a.json b.json --gate regression --store elsewhere", capsys).out


@pytest.mark.parametrize(
    "other",
    [
        {"commit": "f" * 40},
        {"commit": None},
        {"dirty": True},
        {"created": "2026-02-04T00:00:00+00:00"},
        {"n_math": 50},
        {"weights": "bbbbbbbbbbbb"},
    ],
)
def test_other_code_items_models_and_later_runs_are_no_tries(
    tried: Path, other: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    b = replace(BASE, seed=4, created="2026-02-03T12:00:00+00:00", commit="e" * 40).report()
    same: dict[str, Any] = {"created": "2026-02-01T00:00:00+00:00", "commit": "e" * 40}
    Path("b.json").write_text(to_json(b))
    remembered(b, replace(WORSE, **{**same, **other}).report())
    assert "trying again" not in run("diff a.json b.json --gate regression", capsys).out
    remembered(replace(WORSE, **same).report())
    assert "trying again" in run("diff a.json b.json --gate regression", capsys).out
