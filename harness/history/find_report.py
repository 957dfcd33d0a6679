"""Finds a report that a command names: a file, a run of the store, or a git revision that contains it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE
from mipo_bench.harness.core.files import expanded
from mipo_bench.harness.core.git import Repository, find_repository
from mipo_bench.harness.errors import ReportError
from mipo_bench.reports.diff.records import Side
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, RUN_ID_LENGTH, load_report, parse_report

if TYPE_CHECKING:
    from mipo_bench.harness.store.runs import StoredRun

_RUN_ID = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class ReportSearch:
    """The places to search: the store and the git checkout. `path` is the report inside the checkout, None to find it.

    `include` has the plugin files of the report's tasks, `data` the folders of their data (see `task_data.folders`).
    """

    store: Path = DEFAULT_STORE
    path: Path | None = None
    include: tuple[Path, ...] = ()
    data: Mapping[str, Path] = field(default_factory=dict)


def find_side(name: str, search: ReportSearch) -> Side:
    """The report that a command-line argument names. Raises ReportError; its message lists the places searched."""
    if _is_report(expanded(name)):
        return Side(load_report(expanded(name)), name)
    repository = find_repository(Path.cwd())
    commit = repository.commit(name) if repository else None
    runs = _runs(name, search)
    if commit and runs:
        raise ReportError(f"{name!r} is both a git revision and a run of {search.store}: write more of its digits.")
    if repository and commit:
        return _committed(repository, name, commit, search)
    if len(runs) == 1:
        return Side(parse_report(runs[0].report, f"run {name}"), f"run {runs[0].id[:RUN_ID_LENGTH]}")
    if runs:
        several = ", ".join(run.id[:RUN_ID_LENGTH] for run in runs)
        raise ReportError(f"{name!r} is the beginning of several runs: {several}.")
    git = "no git revision" if repository else "no git revision (this is not a git repository)"
    raise ReportError(
        f"{name!r} is no report file, {git}, and no run of the store {search.store}. "
        f"`mipo-bench history` lists revisions and runs.{repository.shallow_advice() if repository else ''}"
    )


def find_report(name: str, search: ReportSearch) -> Report:
    """The report that `show` names. Raises ReportError; a name that looks like a path is reported as a file."""
    if "/" in name or name.endswith(".json") or name == str(DEFAULT_REPORT):
        return load_report(expanded(name))
    return find_side(name, search).report


def working_tree(base: str, search: ReportSearch) -> Side:
    """The report of the working tree at the same path as the one of `base`."""
    repository = find_repository(Path.cwd())
    commit = repository.commit(base) if repository and not _is_report(expanded(base)) else None
    if repository and commit:
        path = repository.root / _path_in(repository, base, commit, search)
    else:
        path = search.path or DEFAULT_REPORT
    side = Side(load_report(path), "working tree")
    return replace(side, dirty=repository is not None and not _is_committed(repository, path))


def _is_report(path: Path) -> bool:
    """Whether the path is a file, or a folder with a report; another folder may have the name of a branch."""
    try:
        return path.is_file() or (path / REPORT_FILE).exists() or (path.is_dir() and path.name == REPORT_FILE)
    except OSError:  # an impossible file name, such as one that is too long
        return False


def find_run(digest: str, search: ReportSearch) -> StoredRun | None:
    """The run in the store that wrote the report with this digest; None if there is none."""
    return next(iter(_stored(digest, search)), None) if digest else None


def _runs(name: str, search: ReportSearch) -> list[StoredRun]:
    return _stored(name, search) if _RUN_ID.fullmatch(name) else []


def _stored(prefix: str, search: ReportSearch) -> list[StoredRun]:
    from mipo_bench.harness.store.database import has_database

    if not has_database(search.store):
        return []
    from mipo_bench.harness.store.run_store import Store  # a report that is a file needs no store

    with closing(Store(search.store)) as store:
        return store.runs(prefix)


def _committed(repository: Repository, name: str, commit: str, search: ReportSearch) -> Side:
    path = _path_in(repository, name, commit, search)
    text = repository.file_at(commit, path)
    if text is None:
        raise ReportError(f"revision {name!r} has no {path}.")
    short = commit[:7]
    label = name if commit.startswith(name) else f"{name} ({short})"
    return Side(parse_report(text, f"{short}:{path}"), label)


def _path_in(repository: Repository, name: str, commit: str, search: ReportSearch) -> str:
    """The path of the revision's report: `search.path`, the default path, or that of the only report."""
    found = repository.files(commit, REPORT_FILE)
    if search.path is not None:
        chosen = repository.relative(search.path)
        if chosen is None:
            raise ReportError(f"--path {search.path} lies outside of the git repository {repository.root}.")
        inside = REPORT_FILE if chosen == "." else f"{chosen}/{REPORT_FILE}"
        return inside if inside in found else chosen
    usual = repository.relative(DEFAULT_REPORT / REPORT_FILE)
    if usual in found:
        return str(usual)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ReportError(
            f"revision {name!r} has no {REPORT_FILE}: commit the folder that `mipo-bench run` writes, or name a "
            "report of another name with --path."
        )
    raise ReportError(f"revision {name!r} has several reports; choose one with --path: {', '.join(found)}.")


def _is_committed(repository: Repository, path: Path) -> bool:
    """Whether the file equals the one in HEAD."""
    file = path / REPORT_FILE if path.is_dir() else path
    name, head = repository.relative(file), repository.commit("HEAD")
    return bool(name and head) and repository.file_at(str(head), str(name)) == file.read_text(encoding="utf-8")
