"""Reports in git history and in the run store: revisions, the working tree, run ids, `history`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from golden_files import Printed, check_golden, run
from made_reports import Made

from mipo_bench.harness.core.git import git_state
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import seal, to_json

FIRST = Made()
SECOND = Made(seed=2, created="2026-01-03T03:04:05+00:00")
THIRD = Made(seed=1, gains={"plain": -0.3}, created="2026-01-04T03:04:05+00:00")
COMMITTER = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
Mipo = Callable[[str], Printed]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name, value in COMMITTER.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def mipo(capsys: pytest.CaptureFixture[str]) -> Mipo:
    return lambda command: run(command, capsys)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def write(report: Report, path: str = "mipo-bench-report") -> None:
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path, "report.json").write_text(to_json(report))


def commit(message: str, day: int) -> str:
    date = f"2026-02-{day:02d}T10:00:00+00:00"
    git("add", "-A")
    dated = os.environ | {"GIT_COMMITTER_DATE": date}
    subprocess.run(["git", "commit", "-qm", message, "--date", date], check=True, env=dated)
    return git("rev-parse", "HEAD")


@pytest.fixture
def repository(folder: Path) -> Path:
    """Three commits: two reports, then one that changes something else; the working tree has a third report."""
    git("init", "-qb", "main")
    write(FIRST.report())
    commit("First report", 1)
    write(SECOND.report())
    commit("Tune a recipe", 2)
    Path("other.txt").write_text("x")
    commit("Something else", 3)
    write(THIRD.report())
    return folder


def test_two_revisions_are_compared_as_committed(repository: Path, mipo: Mipo) -> None:
    printed = mipo("diff HEAD~2 HEAD")
    assert printed.code == 0
    first, last = git("rev-parse", "HEAD~2")[:7], git("rev-parse", "HEAD")[:7]
    assert f"A  HEAD~2 ({first}): made 2026-01-02 03:04" in printed.out
    assert f"B  HEAD ({last}): made 2026-01-03 03:04" in printed.out
    assert "* the report" not in printed.out


def test_one_argument_or_none_compares_with_the_working_tree(repository: Path, mipo: Mipo) -> None:
    for command in ("diff HEAD", "diff"):
        printed = mipo(f"{command} --gate regression")
        assert printed.code == 1
        assert "B  working tree*: made 2026-01-04" in printed.out
        assert "* the report, or the checkout it was made in, has changes that are not committed" in printed.out
    commit("Third report", 4)
    assert "B  working tree: made 2026-01-04" in mipo("diff HEAD~1").out


def test_revisions_work_from_a_sub_folder_and_by_hash_tag_and_branch(
    repository: Path, mipo: Mipo, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("tag", "v1", "HEAD~2")
    git("branch", "old", "HEAD~2")
    name = git("rev-parse", "HEAD~2")
    (repository / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(repository / "deep" / "er")
    outputs = {mipo(f"diff {a} HEAD").out.split("delta = ", 1)[1] for a in ("v1", "old", name, name[:9], "HEAD~2")}
    assert len(outputs) == 1
    assert "B  working tree*" in mipo("diff v1").out


def test_several_reports_are_chosen_with_path(repository: Path, mipo: Mipo) -> None:
    git("mv", "mipo-bench-report", "small")
    write(FIRST.report(), "large")
    Path("named").mkdir()
    Path("named/result.json").write_text(to_json(FIRST.report()))
    commit("Two reports", 4)
    printed = mipo("diff HEAD HEAD")
    assert printed.code == 2
    assert "has several reports; choose one with --path: large/report.json, small/report.json" in printed.err
    for path in ("large", "large/report.json", "small", "named/result.json"):
        assert mipo(f"diff HEAD HEAD --path {path}").code == 0
    assert mipo("diff HEAD --path large").out.count("working tree:") == 1
    printed = mipo("diff HEAD~1 HEAD --path large")
    assert printed.code == 2
    assert "revision 'HEAD~1' has no large" in printed.err
    assert mipo("diff HEAD HEAD --path ../outside").code == 2


def test_what_cannot_be_found_is_said(repository: Path, mipo: Mipo) -> None:
    for command, message in (
        ("diff HAED", "'HAED' is no report file, no git revision, and no run of the store .mipo-bench"),
        ("diff 'HEAD~99' HEAD", "'HEAD~99' is no report file, no git revision"),
        ("diff -- --output=x HEAD", "'--output=x' is no report file"),
        ("show HAED", "'HAED' is no report file"),
    ):
        printed = mipo(command)
        assert printed.code == 2
        assert message in printed.err
        assert printed.out == ""
    assert not Path(".mipo-bench").exists()


def test_a_folder_may_have_the_name_of_a_branch_and_a_name_any_length(repository: Path, mipo: Mipo) -> None:
    Path("main").mkdir()
    assert "A  main (" in mipo("diff main").out
    for command in ("diff", "show"):
        printed = mipo(f"{command} {'x' * 5000}")
        assert printed.code == 2
        assert "is no report file" in printed.err
        assert mipo(f"{command} {'x' * 5000}.json").code == 2


def test_a_revision_without_a_report_is_said(repository: Path, mipo: Mipo) -> None:
    git("checkout", "-q", "--orphan", "empty")
    git("rm", "-rqf", ".")
    Path("x").write_text("x")
    commit("Nothing here", 5)
    printed = mipo("diff HEAD main")
    assert printed.code == 2
    assert "revision 'HEAD' has no report.json: commit the folder" in printed.err


def test_an_edited_or_truncated_commit_is_named(repository: Path, mipo: Mipo) -> None:
    file = Path("mipo-bench-report/report.json")
    file.write_text(to_json(FIRST.report()).replace('"alpha":0.05', '"alpha":0.06'))
    name = commit("Edited", 4)[:7]
    printed = mipo("diff HEAD~1 HEAD --gate regression")
    assert printed.code == 2
    assert f"{name}:mipo-bench-report/report.json has been changed since mipo-bench wrote it" in printed.err
    file.write_text(to_json(FIRST.report())[:300])
    assert "cannot read the report" in mipo("diff HEAD~1").err


def test_no_git_repository_and_no_git(folder: Path, mipo: Mipo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "(this is not a git repository)" in mipo("diff HEAD").err
    write(FIRST.report())
    assert mipo("diff mipo-bench-report mipo-bench-report").code == 0
    monkeypatch.setenv("PATH", "")
    printed = mipo("diff HEAD HEAD~1")
    assert printed.code == 2
    assert "git is not installed" in printed.err
    assert mipo("diff mipo-bench-report mipo-bench-report").code == 0


def test_show_takes_a_revision(repository: Path, mipo: Mipo) -> None:
    assert mipo("show HEAD~2 --format json").out == to_json(FIRST.report())


def remember(*reports: Report) -> None:
    with closing(Store(Path(".mipo-bench"))) as store:
        for report in map(seal, reports):
            store.put_run(StoredRun(report.digest, report.created, to_json(report), [{} for _ in report.arms]))


def test_runs_of_the_store_are_named_by_a_part_of_their_id(folder: Path, mipo: Mipo) -> None:
    remember(FIRST.report(), SECOND.report())
    a, b = FIRST.report().digest, SECOND.report().digest
    printed = mipo(f"diff {a[:6]} {b[:12]}")
    assert printed.code == 0
    assert f"A  run {a[:12]}: made 2026-01-02" in printed.out
    assert mipo(f"show {a[:8]} --format json").out == to_json(FIRST.report())
    assert mipo(f"diff {a[:3]} {b}").code == 2  # three digits are too few
    assert mipo(f"diff {a} {b} --store elsewhere").code == 2


def test_a_damaged_run_is_not_found(folder: Path, mipo: Mipo) -> None:
    remember(FIRST.report())
    with closing(Store(Path(".mipo-bench"))) as store:
        store.database.execute("UPDATE runs SET report = x'00'")
        assert store.runs() == []
        assert store.damaged_runs() == 1
    assert mipo(f"show {FIRST.report().digest}").code == 2


def test_history_lists_commits_and_runs(repository: Path, mipo: Mipo) -> None:
    remember(SECOND.report(), THIRD.report())  # the second is committed as well: listed once
    Path("odd").mkdir()
    Path("odd/report.json").write_text('{"of": "another tool"}')
    Path("mipo-bench-report/report.json").write_text('{"schema_version": "1.1"}')
    commit("Broken", 6)
    printed = mipo("history")
    text = printed.out
    for n, revision in enumerate(("HEAD~3", "HEAD~2", "HEAD"), start=1):
        text = text.replace(git("rev-parse", revision)[:7], f"commit{n}")
    check_golden("history/list.txt", Printed(text, printed.err, printed.code).text("history"))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "odd/report.json" not in text
    assert mipo("history --format markdown").code == 0


def test_history_follows_one_arm(repository: Path, mipo: Mipo) -> None:
    remember(replace(THIRD, scorer="scorer-2").report())
    commit("Third report", 4)
    printed = mipo("history --arm arithmetic/plain")
    text = printed.out
    for n, revision in enumerate(("HEAD~3", "HEAD~2", "HEAD"), start=1):
        text = text.replace(git("rev-parse", revision)[:7], f"commit{n}")
    check_golden("history/arm.txt", Printed(text, printed.err, printed.code).text("history --arm arithmetic/plain"))
    printed = mipo("history --arm arithmetic/plan")
    assert printed.code == 2
    assert "Did you mean 'arithmetic/plain'" in printed.err


def test_history_of_one_path_and_with_a_limit(repository: Path, mipo: Mipo) -> None:
    write(FIRST.report(), "other")
    commit("Another folder", 4)
    assert git("rev-parse", "HEAD")[:7] in mipo("history --path other").out
    assert git("rev-parse", "HEAD~2")[:7] not in mipo("history --path other").out
    assert git("rev-parse", "HEAD~2")[:7] not in mipo("history --limit 1").out


def test_history_leaves_out_the_inputs_of_tests(folder: Path, mipo: Mipo) -> None:
    git("init", "-qb", "main")
    write(FIRST.report(), "tests/golden/show")
    write(FIRST.report(), "package/tests")
    commit("Inputs of tests", 1)
    assert "git history has no report outside of tests/" in mipo("history").err
    write(SECOND.report(), "results/contests")
    name = commit("A run", 2)[:7]
    shown = mipo("history").out
    assert f"{name}:results/contests/report.json" in shown
    assert "golden" not in shown
    assert "package" not in shown
    assert "tests/golden/show/report.json" in mipo("history --path tests/golden/show").out


def test_history_without_anything(folder: Path, mipo: Mipo) -> None:
    printed = mipo("history")
    assert printed.code == 2
    assert "this is not a git repository, and .mipo-bench has no run" in printed.err
    git("init", "-q")
    assert "git history has no report" in mipo("history").err
    assert "no git revision" in mipo("diff HEAD").err


def test_what_runs_write_does_not_make_a_checkout_dirty(repository: Path) -> None:
    written = (Path("mipo-bench-report"), Path(".mipo-bench"), Path("/elsewhere"))
    state, plain = git_state(Path.cwd(), written), git_state(Path.cwd())
    assert state
    assert plain
    assert (state.dirty, state.diff_hash, plain.dirty) == (False, None, True)
    Path("other.txt").write_text("y")
    changed = git_state(Path.cwd(), written)
    assert changed
    assert changed.dirty


def test_a_git_that_does_not_work_costs_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of the checkout is read at the end of a run, when the report is made."""
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\n")
    git.chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None
