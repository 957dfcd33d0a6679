"""The Python API, used as a user would: the records are those of the command line, and nothing is printed."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from golden_files import run as command
from paths import ROOT

from mipo_bench.harness.api import compare, diff, load_report, run, write_report
from mipo_bench.harness.errors import ConfigError, UserError
from mipo_bench.reports.records.report import Report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return run(tasks=["facts"], recipes=[], limit=4, store=folder / "store", out=folder / "none")


@pytest.mark.slow
def test_a_run_gives_the_report_that_the_command_writes(
    report: Report, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not (folder / "none").exists()
    line = f"run --task facts --recipes none --limit 4 --out {folder / 'out'}"
    done = command(f"{line} --set store={folder / 'store'} --set processes=1", capsys)
    assert done.code == 0
    assert [arm.scores for arm in load_report(folder / "out").arms] == [arm.scores for arm in report.arms]


@pytest.mark.slow
def test_a_report_is_written_and_found_again(report: Report, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(report, folder / "written")
    assert load_report(folder / "written") == report
    assert load_report(report.digest[:12], store=folder / "store") == report
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_two_reports_are_compared(report: Report, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(report, folder / "written")
    found = diff(report, folder / "written", arms=["facts/plain"])
    assert [arm.name for arm in found.arms] == ["facts/plain"]
    assert capsys.readouterr() == ("", "")


def test_score_files_are_compared_as_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / f"{name}.jsonl" for name in ("base", "one", "two")]
    for step, file in enumerate(files, 2):
        rows = [{"item_id": f"i{n}", "score": int(n % step == 0)} for n in range(40)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compare(*files)
    assert [entry.name for entry in found] == ["one", "two"]
    printed = json.loads(command(f"compare {' '.join(map(str, files))} --format json", capsys).out)["comparisons"]
    assert [row["delta"] for row in printed] == [entry.comparison.delta for entry in found]
    assert [row["p_holm"] for row in printed] == [entry.p_holm for entry in found]


def test_the_earlier_name_of_the_average_still_reads_it_and_the_option_names_the_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "base.jsonl"
    file.write_text("".join(f'{{"item_id": "i{n}", "score": {n % 2}}}\n' for n in range(4)))
    [entry] = compare(file, file)
    assert entry.comparison.weight == entry.comparison.average == "micro"
    refused = command(f"compare {file} {file} --weight macro", capsys)
    assert refused.code == 2
    assert "--weight is --average now" in refused.err


def test_errors_are_those_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no_such_task"):
        run(tasks=["no_such_task"], store=tmp_path / "store")
    with pytest.raises(UserError, match="nothing"):
        compare(tmp_path / "nothing.jsonl", tmp_path / "other.jsonl")
    with pytest.raises(UserError, match="there is no report"):
        load_report(tmp_path / "report.json")
    with pytest.raises(ConfigError, match="margins: unknown task 'fact'"):
        diff(ROOT / "mipo-bench-report", ROOT / "mipo-bench-report", margins={"fact": 0.1})


@pytest.mark.parametrize("function", [run, write_report, load_report, compare, diff])
def test_the_page_names_every_parameter(function: Callable[..., object]) -> None:
    page = (ROOT / "docs" / "python-api.md").read_text()
    [shown] = re.findall(rf"^\| `{function.__name__}\((.*?)\)` \|", page, flags=re.MULTILINE)
    names = [part.split("=")[0].strip("* ") for part in shown.replace("()", "").split(",")]
    assert names == list(inspect.signature(function).parameters)
