"""Collects past reports for `mipo-bench history`: those in git commits, and the runs of the store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mipo_bench.harness.core.default_paths import DEFAULT_REPORT
from mipo_bench.harness.core.git import Commit, Repository, find_repository
from mipo_bench.harness.errors import ReportError
from mipo_bench.harness.history.find_report import ReportSearch
from mipo_bench.harness.store.database import has_database
from mipo_bench.harness.store.run_store import Store
from mipo_bench.reports.diff.trend import PastReport
from mipo_bench.reports.records.report_file import REPORT_FILE, RUN_ID_LENGTH, parse_report

_FIXTURES = (":(top,exclude,glob)tests/**", ":(top,exclude,glob)**/tests/**")
"""Patterns of git for reports that are inputs of tests, and not of a run."""


def past_reports(search: ReportSearch, limit: int) -> list[PastReport]:
    """The latest `limit` reports of git and of the store, the oldest first. A committed run is listed as a commit only.

    Reports in a folder `tests` are inputs of tests; they are listed only if `search.path` names them. Raises
    ReportError if there is nothing to list.
    """
    repository = find_repository(Path.cwd())
    committed = _committed(repository, search, limit) if repository else []
    known = {past.report.digest for past in committed if past.report}
    runs = [past for past in _stored(search, limit) if not (past.report and past.report.digest in known)]
    found = sorted([*committed, *runs], key=lambda past: past.order)
    if not found:
        git = "git history has no report outside of tests/" if repository else "this is not a git repository"
        advice = repository.shallow_advice() if repository else ""
        raise ReportError(f"nothing to list: {git}, and {search.store} has no run. `mipo-bench run` makes one.{advice}")
    return found


def _committed(repository: Repository, search: ReportSearch, limit: int) -> list[PastReport]:
    if search.path is None:
        patterns = [f":(top,glob)**/{REPORT_FILE}", *_FIXTURES]
    else:
        chosen = repository.relative(search.path)
        if chosen is None:
            raise ReportError(f"--path {search.path} lies outside of the git repository {repository.root}.")
        patterns = [f":(top,literal){chosen}"]
    commits = repository.log(patterns, limit)
    found = [_past(repository, commit, path) for commit in commits for path in commit.paths if path.endswith(".json")]
    return [past for past in found if past is not None]


def _past(repository: Repository, commit: Commit, path: str) -> PastReport | None:
    """The report in a commit; None for a file that only has the name of a report."""
    text = repository.file_at(commit.hash, path) or ""
    if '"schema_version"' not in text[:2000]:
        return None
    name = f"{commit.hash[:7]}" if path.endswith(f"{DEFAULT_REPORT}/{REPORT_FILE}") else f"{commit.hash[:7]}:{path}"
    return _read(name, commit.date, commit.subject, text)


def _stored(search: ReportSearch, limit: int) -> list[PastReport]:
    if not has_database(search.store):
        return []
    with closing(Store(search.store)) as store:
        runs = store.runs()[-limit:]
    return [_read(f"run {run.id[:RUN_ID_LENGTH]}", run.created, "", run.report) for run in runs]


def _read(name: str, date: str, subject: str, text: str) -> PastReport:
    try:
        return PastReport(name, date, subject, parse_report(text, name))
    except ReportError as error:
        return PastReport(name, date, subject, None, str(error))
