"""`mipo-bench show`: every format and the plots; markup in names of tasks and methods has no effect in any of them."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from golden_files import check_golden, run
from made_reports import Made
from paths import GOLDEN

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import ComparisonRecord, EstimateRecord, FailureRecord, Report
from mipo_bench.reports.records.report_file import to_json
from mipo_bench.reports.render.csv_table import safe_cell, to_csv
from mipo_bench.reports.render.latex import escape as latex_escape
from mipo_bench.reports.render.latex import page_to_latex
from mipo_bench.reports.render.markdown import escape as markdown_escape
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.reports.render.plots import write_plots
from mipo_bench.reports.render.text_table import table_lines

FAILURE = FailureRecord(
    task="persona",
    method="mipo-random",
    train_seed=3,
    stage="training",
    error="TrainingError",
    message="the loss is nan at step 7; lower train.lr",
)
EVIL = "=1+2|`$x$` \\input{x} %&#~^<b>\"'@me #12 \x1b[31m\r\n\u202e é 漢 --"
ENDINGS = {"terminal": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def rounded(report: Report) -> Report:
    """Numbers rounded to six digits, because the last digits depend on the machine."""
    parts = {name: [_rounded(r) for r in getattr(report, name)] for name in ("estimates", "comparisons")}
    return report.model_copy(update=parts)


def _rounded(record: EstimateRecord | ComparisonRecord) -> EstimateRecord | ComparisonRecord:
    floats = {name: value for name, value in record if isinstance(value, float)}
    seeds = [(seed, float(f"{value:.6g}")) for seed, value in getattr(record, "per_seed", [])]
    return record.model_copy(update={name: float(f"{v:.6g}") for name, v in floats.items()} | {"per_seed": seeds})


def evil() -> Report:
    return Made(recipe=EVIL, n_math=12, n_users=6, failures=[failure_of_others()]).report()


def failure_of_others() -> FailureRecord:
    return FAILURE.model_copy(update={"method": EVIL, "message": EVIL * 3})


@pytest.mark.parametrize("form", ENDINGS)
def test_golden(form: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Made(n_math=12, n_users=6) if form == "json" else Made(failures=[FAILURE])
    (folder / "report.json").write_text(to_json(rounded(made.report())))
    printed = run(f"show . --format {form}", capsys)
    assert (printed.err, printed.code) == ("", 0)
    check_golden(f"show/report.{ENDINGS[form]}", printed.out)


def test_golden_files_all_belong_to_a_format() -> None:
    formats = {f"report.{ending}" for ending in ENDINGS.values()}
    assert {path.name for path in (GOLDEN / "show").iterdir()} == {"guards.txt", "ways.txt", *formats}


def test_the_terminal_form_fits_80_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for report in (Made(failures=[FAILURE]).report(), evil(), Made(recipe="x" * 300).report()):
        (folder / "report.json").write_text(to_json(report))
        printed = run("show report.json", capsys)
        assert all(len(line) <= 80 for line in printed.out.splitlines())
        assert "\x1b" not in printed.out


def test_json_is_the_report_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "report.json").write_text(to_json(Made().report()))
    assert run("show . --format json", capsys).out == to_json(Made().report())


def test_csv_has_a_row_for_each_comparison_in_full_precision() -> None:
    report = Made().report()
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(rows) == len(report.comparisons)
    for row, comparison in zip(rows, report.comparisons, strict=True):
        assert row["method"] == comparison.method
        for name in ("delta", "ci_low", "p_value", "mde"):
            value = getattr(comparison, name)
            assert row[name] == ("" if value is None else repr(value))


def test_csv_text_never_begins_a_formula() -> None:
    assert [safe_cell(t) for t in ("=1+2", "+1", "-1", "@x", "\tx", "\r=1", "a=1")] == [
        "'=1+2",
        "'+1",
        "'-1",
        "'@x",
        "'\N{REPLACEMENT CHARACTER}x",
        "'\N{REPLACEMENT CHARACTER}=1",
        "a=1",
    ]
    rows = list(csv.DictReader(io.StringIO(to_csv(evil()))))
    assert all(not row[name].startswith(("=", "+", "@")) for row in rows for name in ("base", "method", "task"))
    assert float(rows[0]["delta"]) == evil().comparisons[0].delta


def test_markdown_shows_text_as_it_is() -> None:
    text = to_markdown(evil())
    assert not re.search(r"(?<!\\)<b", text)
    assert not re.search(r"@\w", text)
    assert not re.search(r"#\d", text)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert markdown_escape("a|b") == "a\\|b"
    assert markdown_escape("`$x$`") == "\\`\\$x\\$\\`"
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_latex_is_ascii_and_balanced() -> None:
    for report in (Made(failures=[FAILURE]).report(), evil()):
        text = page_to_latex(report_page(report))
        assert text.isascii()
        assert "\x1b" not in text
        assert "\\input" not in re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
        begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended)
        for table in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
            columns = len(table[0])
            rows = [r for r in table[1].split(r"\\") if "&" in r]
            assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)


def test_latex_escapes_every_special_character() -> None:
    assert latex_escape("a_b & 5% #1 {x} $y$ ~^\\") == (
        r"a\_b \& 5\% \#1 \{x\} \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert latex_escape("a---b") == "a-{}-{}-b"
    assert latex_escape("é 漢 \x1b") == r"\'{e} [U+6F22] [U+001B]"


def test_plots_are_drawn_from_any_report(tmp_path: Path) -> None:
    for name, report in (("good", Made(failures=[FAILURE]).report()), ("evil", evil())):
        files = write_plots(report, tmp_path / name)
        assert [f.name for f in files] == ["forest.png", "scores.png", "training.png"]
        assert all(f.read_bytes().startswith(b"\x89PNG") and f.stat().st_size > 5000 for f in files)
    untrained = Made(train_seeds=()).report()
    assert [f.name for f in write_plots(untrained, tmp_path / "u")] == ["forest.png", "scores.png"]
    empty = replace(Made(), suites=()).report()
    assert write_plots(empty, tmp_path / "e") == []


def test_plots_that_cannot_be_written_are_a_user_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "report.json").write_text(to_json(Made(n_math=4, suites=("math",)).report()))
    printed = run("show . --plots report.json/plots", capsys)
    assert printed.code == 2
    assert "cannot write plots to report.json/plots" in printed.err


@pytest.mark.parametrize("form", ["pdf", "Terminal", ""])
def test_an_unknown_format_is_a_usage_error(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(f"show --format '{form}'", capsys)
    assert printed.code == 2
    assert "latex" in printed.err


@pytest.mark.parametrize("width", [0, 1, 7, 40])
def test_a_name_that_is_mostly_spaces_fits_any_width(width: int) -> None:
    name = " " * 100 + "x" * 5
    lines = table_lines(("method", "delta"), [(name, "-.2")], width)
    assert "".join(lines[2:-1]).count("x") == 5
    assert max(map(len, lines)) <= max(width, 12) + len("  delta")


@pytest.mark.parametrize("columns", ["0", "1", "5"])
def test_a_terminal_of_any_width_shows_everything(
    columns: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    (folder / "report.json").write_text(to_json(Made(failures=[FAILURE]).report()))
    shown = run("show .", capsys)
    assert shown.code == 0
    assert "mipo-random" in shown.out


def test_a_table_keeps_what_is_too_wide_whole() -> None:
    lines = table_lines(("method", "delta"), [("short", "+.1"), ("vs all", ""), ("m" * 100, "-.2")], width=40)
    assert lines == [
        "method  delta",
        "─" * 40,
        "short     +.1",
        "vs all",
        "m" * 40,
        "  " + "m" * 38,
        "  " + "m" * 22,
        "          -.2",
    ]


def test_control_characters_are_replaced() -> None:
    assert without_control_characters("a\x1b[2Jb\u202ec\x00") == "a\ufffd[2Jb\ufffdc\ufffd"
    assert json.loads(to_json(evil()))["failures"][0]["method"] == EVIL


LIGHT = """
import sys
from mipo_bench.harness.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
loaded = {"torch", "transformers", "trl", "datasets", "peft", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""


POWER = "power a --arm persona/mipo-random --users 10 --items 3 --seeds 3"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["show a", "show a --format latex", "diff a b", "diff a b --items", "diff --selftest a", "history", POWER],
)
def test_reading_reports_imports_no_heavy_package(command: str, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_text(to_json(Made(n_math=4, n_users=3).report()))
    for line in ("git init -q", "git add -A", "git -c user.name=A -c user.email=a@example.org commit -qm A"):
        if command == "history":
            (folder / "report.json").write_text(to_json(Made(n_math=4, n_users=3).report()))
            subprocess.run(line.split(), check=True)
    done = subprocess.run([sys.executable, "-c", LIGHT, *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_long_name_in_wide_characters_does_not_leave_the_width() -> None:
    lines = table_lines(["name", "score"], [["漢" * 30, "+0.5"]], 40)
    assert lines[2:] == ["漢" * 20, "漢" * 10, "       +0.5"]
