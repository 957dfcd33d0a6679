"""`mipo-bench power`: what it prints, what it refuses, and the power line of `run --dry-run` beside a report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from golden_files import check_golden, run
from made_reports import BASE, Made

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.planning.power import planned_power
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import seal, to_json


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "mipo-bench-report").mkdir()
    written(BASE.report())
    return tmp_path


def written(report: Report) -> None:
    Path("mipo-bench-report/report.json").write_text(to_json(report), encoding="utf-8")


PAGES = {
    "users": "power --arm persona/mipo-random --users 10,20 --items 1,3 --seeds 2,5,10 --find .12",
    "items": "power --arm arithmetic/mipo-random --find .1 --format markdown",
    "prompting": "power --arm arithmetic/few-shot",
    "assumed": "power --sd-users .1 --sd-items .2 --sd-seeds .02 --sd-residual .3 --users 20 --items 1,5 --find .001",
}


@pytest.mark.parametrize("name", PAGES)
def test_pages(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_golden(f"power/{name}.txt", run(PAGES[name], capsys).text(PAGES[name]))


REFUSED = {
    "--arm persona/mipo-randm": "Did you mean 'persona/mipo-random'",
    "--arm persona/mipo-random --against profil": "Did you mean 'profile'",
    "--arm persona/profile": "is compared with itself",
    "": "2 primary comparisons: choose an arm with --arm TASK/METHOD. It has arithmetic/mipo-random,",
    "--arm persona/mipo-random --users 1": "--users is '1': write whole numbers from 2",
    "--arm persona/mipo-random --seeds two": "--seeds is 'two'",
    "--arm arithmetic/mipo-random --items 2": "arithmetic has no users",
    "--arm arithmetic/few-shot --seeds 2": "not trained",
    "--sd-users .1": "--sd-seeds is missing",
    "--sd-users .1 --sd-seeds 0 --seeds 1,2": "without training",
    "--sd-seeds .01 --find .05": "users and items do not vary: give --sd-users",
    "--sd-users 0 --sd-seeds 0": "every standard deviation is 0",
    "nowhere": "is no report file",
}


@pytest.mark.parametrize("options", REFUSED)
def test_refusals_say_what_is_wrong(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(f"power {options}", capsys)
    assert (printed.code, printed.out) == (2, "")
    assert REFUSED[options] in printed.err


def test_one_seed_needs_an_assumption(capsys: pytest.CaptureFixture[str]) -> None:
    written(Made(train_seeds=(0,)).report())
    refused = run("power --arm persona/mipo-random", capsys)
    assert refused.code == 2
    assert "assume one with --arm persona/mipo-random --sd-seeds" in refused.err
    planned = json.loads(run("power --arm persona/mipo-random --sd-seeds .07 --format json", capsys).out)
    assert planned["components"]["seeds"] == 0.07
    assert planned["components"]["residual"] == 0


def test_few_users_are_named_and_a_report_without_comparisons_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    note = "the spread of the users is estimated from 4 users"
    written(Made(n_users=4).report())
    assert note in run("power --arm persona/mipo-random --users 10 --items 3", capsys).out
    assert note not in run("power --arm persona/mipo-random --users 10 --items 3 --sd-users .1", capsys).out
    written(seal(BASE.report().model_copy(update={"comparisons": []})))
    assert "no comparison to plan for" in run("power", capsys).err


def test_csv_has_the_grid_and_the_cheapest_designs(capsys: pytest.CaptureFixture[str]) -> None:
    command = "power --arm persona/mipo-random --users 10,30 --items 3 --seeds 3,5 --find .1 --format csv"
    rows = list(csv.DictReader(io.StringIO(run(command, capsys).out)))
    assert [(r["users"], r["seeds"]) for r in rows if r["cheapest"] == "False"] == [
        *(("10", "3"), ("10", "5"), ("30", "3"), ("30", "5"))
    ]
    best = [r for r in rows if r["cheapest"] == "True"]
    assert best
    for row in best:
        assert float(row["power_at_wanted"]) >= 0.8
        assert float(row["smallest_difference"]) <= 0.1
        assert int(row["answers"]) == int(row["users"]) * 3 * (int(row["seeds"]) + 1)


def test_a_plot_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("power --arm persona/mipo-random --users 10,20 --items 1 --seeds 2,3 --plots plots", capsys)
    assert printed.code == 0
    assert Path("plots/power.png").read_bytes().startswith(b"\x89PNG")


def said(former: Report | None, *settings: str) -> list[str]:
    config = load_config(None, settings, {"tasks": ["persona"], "recipes": ["mipo-random"]})
    return list(planned_power(make_plan(config), config, former))


def test_a_plan_beside_a_former_report_uses_its_spread() -> None:
    by_assumption, by_report = said(None), said(BASE.report())
    assert "persona mipo-random ." in by_report[0]
    assert "by the spread of the scores in mipo-bench-report (run " in by_report[1]
    assert "assumed:" in by_assumption[1]
    assert said(BASE.report(), "seeds=1") == said(None, "seeds=1")
    assert said(Made(train_seeds=(0,)).report()) == by_assumption
    assert said(Made(suites=("math",)).report()) == by_assumption


def test_a_damaged_report_is_named_and_the_plan_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mipo-bench-report/report.json").write_text("{", encoding="utf-8")
    printed = run("run --dry-run --task persona", capsys)
    assert printed.code == 0
    assert "note: the power of this plan is by assumption: cannot read the report" in printed.out
    assert "assumed:" in printed.out
