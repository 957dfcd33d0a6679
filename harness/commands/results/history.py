"""`mipo-bench history`: the reports in git history and the runs of the store."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mipo_bench.harness.commands.options import FORMAT, PathOption, StoreOption
from mipo_bench.harness.core.default_paths import DEFAULT_STORE


def history(
    *,
    path: PathOption = None,
    store: StoreOption = DEFAULT_STORE,
    arm: Annotated[str | None, typer.Option(help="TASK/METHOD: show the trend of this arm.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Commits and runs to list, the latest ones.")] = 20,
    format_: Annotated[Literal["terminal", "markdown"], FORMAT] = "terminal",
) -> None:
    """List reports in git and runs in the store, or follow one arm through them."""
    from mipo_bench.harness.history.find_report import ReportSearch
    from mipo_bench.harness.history.past_reports import past_reports
    from mipo_bench.reports.diff.trend import history_page, trend_page
    from mipo_bench.reports.render.print_page import print_page

    past = past_reports(ReportSearch(store, path), limit)
    print_page(trend_page(past, arm) if arm else history_page(past), format_)
