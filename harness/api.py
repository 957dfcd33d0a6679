"""The Python API of mipo-bench: returns the records that the command line prints. Nothing here prints.

    from mipo_bench.harness.api import compare, diff, load_report, run

    report = run(tasks=["arithmetic"], recipes=[], limit=30)
    for comparison in report.comparisons:
        print(comparison.task, comparison.method, comparison.delta, comparison.p_value)

Every error that a user can repair is a `mipo_bench.harness.errors.UserError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.render.notebook import NotebookReport

if TYPE_CHECKING:
    from mipo_bench.reports.diff.records import ReportDiff, Side
    from mipo_bench.reports.score_files.compare import Compared
    from mipo_bench.reports.stats import Missing, Weight

__all__ = ["compare", "diff", "load_report", "run", "write_report"]


def run(config_file: Path | None = None, **settings: Any) -> Report:
    """Run like `mipo-bench run`, and return the report, which the run store keeps as well.

    Settings are those of docs/configuration.md, sections as dictionaries: `run(tasks=["facts"], train={"lr": 1e-5})`.
    They take precedence over those of `config_file`. All work is done in this process unless `processes` is given.
    Environment variables set the number of threads and the GPU; torch reads them when it is first imported.

    Where a message names an option of the command line, its setting is meant: `--set train.lr=1e-5` is
    `train={"lr": 1e-5}`, `--judge NAME` is `judge={"spec": "NAME"}`, `--task NAME` and `--recipes none` are
    `tasks=["NAME"]` and `recipes=[]`, and other options have the names of their settings.

    The report shows itself in a notebook. Raises a UserError if the run cannot start. A part that fails during the run
    is a failure in the report.
    """
    from mipo_bench.harness.config.loading import load_config
    from mipo_bench.harness.core.progress import SilentDisplay
    from mipo_bench.harness.run.session import execute, prepare

    prepared = prepare(load_config(config_file, [], {"processes": 1, **settings}))
    report = execute(prepared, SilentDisplay()).report
    assert report is not None  # only a worker process of a launcher has none
    return NotebookReport.of(report)


def write_report(report: Report, folder: str | Path = DEFAULT_REPORT) -> None:
    """Write `report.json` and `report.md`, as `mipo-bench run` does. Raises StorageError."""
    from mipo_bench.harness.run.publish import write
    from mipo_bench.reports.records.report_file import sealed

    write(sealed(report), Path(folder))


def load_report(name: str | Path = DEFAULT_REPORT, *, store: str | Path = DEFAULT_STORE) -> Report:
    """Load a report by its file or folder, by a git revision that has one, or by the id of a run in the store.

    As the value of a notebook's cell it shows its tables. Raises ReportError if there is none or it is damaged.
    """
    from mipo_bench.harness.history.find_report import ReportSearch, find_report

    return NotebookReport.of(find_report(str(name), ReportSearch(Path(store))))


def compare(
    base: str | Path,
    *methods: str | Path,
    average: Weight = "micro",
    missing: Missing = "error",
    margin: float | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    metric: str | None = None,
    filter_name: str | None = None,
) -> list[Compared]:
    """Compare score files like `mipo-bench compare`: one record for each method, as one family (Holm).

    Each record has the file's `name` and `path`, `comparison` (see `mipo_bench.reports.stats.Comparison`) and the
    adjusted `p_holm`, None if the test is undefined. Raises a UserError if the files cannot be compared.
    """
    from mipo_bench.reports.logs.record import Choice
    from mipo_bench.reports.score_files.compare import Settings, compare_scores

    choice = Choice(metric, filter_name, allow_missing=missing != "error")
    settings = Settings(average, missing, margin, alpha, seed)
    return compare_scores([Path(path) for path in (base, *methods)], choice, settings)


def diff(
    a: Report | str | Path,
    b: Report | str | Path,
    *,
    margins: Mapping[str, float] | None = None,
    arms: Sequence[str] = (),
    store: str | Path = DEFAULT_STORE,
) -> ReportDiff:
    """Compare two reports like `mipo-bench diff`: B - A on the items that both have, with Holm over all arms.

    A side is a report or names one as for `load_report`. `margins` maps each task to the loss that counts as none;
    `arms` are patterns such as "persona/mipo-*". Raises ReportError for a side that is not found, ConfigError for a
    margin of another task, NotComparableError if the two have no item in common.
    """
    from mipo_bench.harness.errors import ConfigError, unknown
    from mipo_bench.reports.diff.diff_reports import diff_reports
    from mipo_bench.reports.diff.records import DiffOptions

    left, right = _side(a, "a", Path(store)), _side(b, "b", Path(store))
    tasks = [task.name for task in right.report.tasks]
    for task in margins or {}:
        if task not in tasks:
            raise ConfigError(f"margins: {unknown('task', task, tasks)}")
    return diff_reports(left, right, DiffOptions(margins or {}, tuple(arms)))


def _side(report: Report | str | Path, label: str, store: Path) -> Side:
    from mipo_bench.harness.history.find_report import ReportSearch, find_side
    from mipo_bench.reports.diff.records import Side

    return Side(report, label) if isinstance(report, Report) else find_side(str(report), ReportSearch(store))
