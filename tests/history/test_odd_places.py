"""Reports in places where there is none: a folder called `report.json`, and a clone without its older commits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from golden_files import run
from made_reports import Made

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.files import check_writable
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.run.preflight import examine
from mipo_bench.harness.run.publish import REPORT_FILES
from mipo_bench.reports.records.report_file import to_json


def git(*arguments: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *settings, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "show",
        "show mipo-bench-report",
        "show mipo-bench-report/report.json",
        "show x",
        "show x/report.json",
        "diff x x",
    ],
)
def test_a_folder_called_like_a_report_is_one_message(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mipo-bench-report", "x"):
        (folder / name / "report.json").mkdir(parents=True)
    done = run(command, capsys)
    assert done.code == 2
    assert "report.json is a folder, not a report of `mipo-bench run`" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", REPORT_FILES)
def test_a_run_does_not_begin_where_it_cannot_write_its_report(name: str, folder: Path) -> None:
    (folder / "out" / name).mkdir(parents=True)
    with pytest.raises(StorageError, match=rf"{name}: it is a folder"):
        check_writable(Path("out"), REPORT_FILES)
    config = load_config(None, ["tasks=facts", "recipes=none"], {"out": Path("out")})
    assert [f.text for f in examine(config) if f.state == "fail"] == [
        f"cannot write out/{name}: it is a folder. Rename it, or choose another folder."
    ]


def test_a_shallow_clone_says_how_to_get_the_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = folder / "whole" / "mipo-bench-report" / "report.json"
    report.parent.mkdir(parents=True)
    git("init", "-q", "whole")
    report.write_text(to_json(Made(n_math=12, n_users=4).report()))
    git("-C", "whole", "add", ".")
    git("-C", "whole", "commit", "-qm", "A report")
    git("-C", "whole", "rm", "-rq", ".")
    git("-C", "whole", "commit", "-qm", "None")
    git("clone", "-q", "--depth=1", f"file://{folder}/whole", "shallow")
    assert run("diff HEAD~1", capsys).err.count("git fetch --unshallow") == 0  # not a repository
    for clone, times in (("whole", 0), ("shallow", 1)):
        monkeypatch.chdir(folder / clone)
        for command in ("diff HEAD~7", "show HEAD~7"):
            done = run(command, capsys)
            assert (done.code, done.err.count("git fetch --unshallow")) == (2, times), (clone, command)
    done = run("history", capsys)
    assert (done.code, done.err.count("git fetch --unshallow")) == (2, 1)
