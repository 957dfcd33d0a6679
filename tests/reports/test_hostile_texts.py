"""Hostile texts of models, plugins and foreign reports cannot control a terminal, browser, LaTeX or spreadsheet."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fakes import PanicError
from golden_files import run
from made_reports import Made
from paths import BASELINES, SOURCES
from real_models import make_model
from rich.console import Console

from mipo_bench.harness.cli import BUG, main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.progress import LiveDisplay, PlainDisplay
from mipo_bench.reports.diff.trend import PastReport, history_page, trend_page
from mipo_bench.reports.pages.page import Table
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report import FailureRecord, Report
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.reports.render.csv_table import to_csv
from mipo_bench.reports.render.latex import page_to_latex, table_to_latex
from mipo_bench.reports.render.markdown import page_to_markdown, to_markdown
from mipo_bench.reports.render.terminal import draw

TERMINAL = "\x1b]0;title\x07\x1b[2J\x1b]8;;http://x\x1b\\\x9b31m\x90q\u202eevil\u2066\u200f\u2028\x00\x08\r"
ADDRESSES = "see https://x.org/a, WWW.x.org or a@x.org "
MARKUP = '<script>alert(1)</script><img src=x onerror="a"> [a](javascript:b) `x` | **b** @someone #12 &lt;'
LATEX = r"\input{/etc/passwd} \write18{ls} $x$ %c ~ ^ & # _ { }"
HOSTILE = TERMINAL + ADDRESSES + MARKUP + LATEX
FORMULAS = ("=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1+1")
KEPT = {"family", "average", "schema_version", "created", "test", "code", "interval", "alpha"}
"""Fields with a fixed set of values in the schema."""


def spoil(value: Any, key: str = "") -> Any:
    """A copy of a report with hostile text around each of its texts; equal texts stay equal."""
    if isinstance(value, str):
        return value if key in KEPT else f"={value}{HOSTILE}"
    if isinstance(value, list):
        return [spoil(part, key) for part in value]
    if isinstance(value, dict):
        named = key in ("parts", "failed")
        return {(spoil(k) if named else k): spoil(v, k) for k, v in value.items()}
    return value


@pytest.fixture(scope="module")
def report() -> Report:
    failure = FailureRecord(task="t", method="m", train_seed=1, stage="training", error="E", message="lost")
    return seal(
        Report.model_validate(spoil(Made(n_math=12, n_users=4, failures=[failure]).report().model_dump(mode="json")))
    )


def is_harmless(text: str) -> bool:
    return all(c == "\n" or c.isprintable() for c in text)


def drawn(draw_on: Any) -> str:
    out = io.StringIO()
    draw_on(Console(file=out, width=80, highlight=False, force_terminal=False))
    return out.getvalue()


def test_the_fixture_is_hostile(report: Report) -> None:
    assert not is_harmless(report.tasks[0].name)
    assert not is_harmless(report.failures[0].message)


def test_a_report_on_the_terminal(report: Report) -> None:
    text = drawn(lambda console: draw(report_page(report), console))
    assert is_harmless(text)
    assert "evil" in text


def check_markdown(text: str) -> None:
    assert is_harmless(text.replace("\u200b", ""))  # it keeps GitHub from making mentions and links
    outside = re.sub(r"<summary>[^<]*</summary>|</?details>", "", text)  # no Markdown is read inside a summary
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"@\w", text)
    assert not re.search(r"(?i)\w://|www\.", outside)  # a bare address is a link on GitHub
    assert not re.search(r"(?<!\\)`", outside)


def test_a_report_as_markdown(report: Report) -> None:
    check_markdown(to_markdown(report))


def test_a_report_as_latex(report: Report) -> None:
    text = page_to_latex(report_page(report))
    assert text.isascii()
    assert is_harmless(text)
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    commands = {name for line in lines for name in re.findall(r"\\([A-Za-z]+)", line)}
    assert "input" not in commands
    assert not any(name.startswith("write") for name in commands)
    assert not any(re.search(r"(?<!\\)%", line) for line in lines)


@pytest.mark.parametrize("formula", ["=1+1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff201"])
def test_a_report_as_csv(report: Report, formula: str) -> None:
    model = report.model.model_copy(update={"name": formula})
    text = to_csv(report.model_copy(update={"model": model}))
    assert is_harmless(text)
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not cell.startswith(("=", "@", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
            assert not cell.startswith(("+", "-")) or float(cell)


def test_history_and_trend(report: Report) -> None:
    past = [
        PastReport(f"a{HOSTILE}", "2026-01-02", HOSTILE, report),
        PastReport("b", "2026-01-03", HOSTILE, None, HOSTILE),
    ]
    arm = f"{report.estimates[0].task}/{report.estimates[0].method}"
    for page in (history_page(past), trend_page(past, arm)):
        assert is_harmless(drawn(lambda console, page=page: draw(page, console)))
        check_markdown(page_to_markdown(page))


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_a_diff(
    form: str, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    gains = Made(n_math=12, n_users=4, gains={"plain": 0.3}).report()
    for name, one in (
        ("a.json", report),
        ("b.json", seal(Report.model_validate(spoil(gains.model_dump(mode="json"))))),
    ):
        Path(name).write_text(to_json(one), encoding="utf-8")
    done = run(f"diff a.json b.json --items --format {form}", capsys)
    assert done.code == 0, done.err
    if form == "markdown":
        check_markdown(done.out)
    else:
        assert is_harmless(done.out)


def test_a_report_that_cannot_be_shown_is_a_harmless_message(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.json").write_text(to_json(report).replace('"alpha":0.05', '"alpha":"\\u001b[2Jx"'), encoding="utf-8")
    for arguments in (["show", "report.json"], ["show", TERMINAL.replace("\x00", "")], ["run", "--task", HOSTILE]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        printed = capsys.readouterr()
        assert is_harmless(printed.err + printed.out), arguments


def test_progress_on_a_terminal_and_elsewhere() -> None:
    for make in (PlainDisplay, LiveDisplay):
        out = io.StringIO()
        display: Any = make(Console(file=out, width=80, highlight=False))
        display.say(f"! {HOSTILE}")
        with display.stage(f"{HOSTILE}: evaluation", "responses") as stage:
            stage.total = 2
            stage.tick(2, 10)
        assert is_harmless(out.getvalue()), make


def test_what_plugins_say_of_themselves_is_one_line_of_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = BASELINES / "plain.py"
    text = source.read_text().replace('name = "plain"', 'name = "hostile"')
    text = re.sub(r'description = ".*"', lambda _: f"description = {HOSTILE!r}", text)
    (tmp_path / "hostile.py").write_text(text + "\n\nBASELINES = [Plain]\n")
    done = run(f"list --include {tmp_path / 'hostile.py'}", capsys)
    assert done.code == 2
    assert "is not one line of text" in done.err
    assert is_harmless(done.err)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "a\x1b[2J", "..", "-x", "a b"])
def test_names_of_plugins_cannot_leave_a_folder_or_steer_a_terminal(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (BASELINES / "plain.py").read_text()
    (tmp_path / "hostile.py").write_text(
        text.replace('name = "plain"', f"name = {name!r}") + "\n\nBASELINES = [Plain]\n"
    )
    done = run(f"list --include {tmp_path / 'hostile.py'}", capsys)
    assert done.code == 2
    assert "is not allowed" in done.err
    assert is_harmless(done.err)


def test_nothing_reads_files_that_can_run_code() -> None:
    """The source has no pickle, torch.load or eval: weights are safetensors, and remote code needs an option."""
    for file in (f for folder in SOURCES for f in folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = {alias.name.split(".")[0] for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)}
            names |= {str(getattr(node, "module", "")).split(".")[0]} if isinstance(node, ast.ImportFrom) else set()
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not names & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, file
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"torch.load", "eval", "exec", "os.system"}, (file, node.lineno)
                assert not any(k.arg == "shell" for k in node.keywords), (file, node.lineno)
                allowed = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert allowed.get("trust_remote_code") != "True", (file, node.lineno)
                assert allowed.get("use_safetensors", "True") == "True", (file, node.lineno)


def test_remote_code_is_off_unless_asked_for() -> None:
    assert load_config(None, [], {}).trust_remote_code is False
    assert load_config(None, ["trust_remote_code=true"], {}).trust_remote_code is True


@pytest.mark.parametrize(
    "name", [r"-1$\input{/etc/passwd}\write18{ls}$", r"+.\input{x}", r"+1%\input{x}", "+1 to -2^2"]
)
def test_what_begins_like_a_number_is_escaped_in_latex(name: str) -> None:
    line = next(line for line in table_to_latex("t", Table("g", ("a", "b"), ((name, "+.356 [1]"),))) if "356" in line)
    rest = re.sub(r"\$[+-][0-9.]+(?:\\%)?\$", "", line)
    assert not re.search(r"(?<!\\)[$%^]", rest)
    assert not re.search(r"\\(input|write)", rest)
    assert "$+.356$ [1]" in line


def test_doctor_shows_nothing_that_steers_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_model("llama", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "\x1b[2Jx"}))
    capsys.readouterr()  # the progress bar of transformers
    done = run(f"doctor --task facts --model {folder} --set store={tmp_path / 'store'}", capsys)
    assert done.code == 1
    assert "[2Jx" in done.out
    assert is_harmless(done.out + done.err)


@pytest.mark.parametrize("kind", [ValueError, PanicError])
def test_a_bug_is_shown_without_keys(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(names: Iterable[str]) -> None:
        raise kind(f"Invalid header value b'Bearer {os.environ['OPENAI_API_KEY']}' \x1b[2J")

    monkeypatch.setenv("OPENAI_API_KEY", "not-shaped-like-a-key")
    monkeypatch.setattr("mipo_bench.harness.cli.program", broken)
    with pytest.raises(SystemExit) as stop:
        main([])
    printed = capsys.readouterr().err
    assert stop.value.code == BUG
    assert "please report it" in printed
    assert "not-shaped-like-a-key" not in printed
    assert is_harmless(printed)


def test_a_terminal_that_cannot_show_a_character_still_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.json").write_text(to_json(Made(n_math=12, n_users=4).report()))
    screen = io.BytesIO()
    out = io.TextIOWrapper(screen, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as stop:
        main(["show", str(tmp_path)])
    out.flush()
    assert not stop.value.code
    assert b"????" in screen.getvalue()


def test_what_the_system_refuses_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (f"store ls --store {'a' * 300}", f"new-task {'a' * 300}"):
        done = run(command, capsys)
        assert (done.code, "Traceback" in done.err, "File name too long" in done.err) == (2, False, True)


def test_a_training_record_of_another_shape_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = Made(n_math=12, n_users=4).report().model_dump(mode="json")
    shapes: list[object] = [{"pairs": []}, {"curve": [{"loss": "x"}]}, {"settings": {"beta": "y"}}, []]
    for lineage in shapes:
        made["checkpoints"] = [{"task": "t", "recipe": "r", "train_seed": 0, "digest": "d", "lineage": lineage}]
        Path("report.json").write_text(json.dumps(made))
        done = run("show report.json", capsys)
        assert (done.code, "Traceback" in done.err) == (2, False)
