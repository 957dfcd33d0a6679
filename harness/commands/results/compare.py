"""`mipo-bench compare`: paired tests on score files of any program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipo_bench.harness.commands.options import Format, FormatOption, user_path

if TYPE_CHECKING:
    from mipo_bench.reports.score_files.compare import Compared


def compare(
    base: Annotated[Path, typer.Argument(parser=user_path, metavar="BASE.jsonl", help="Scores to compare against.")],
    methods: Annotated[
        list[Path], typer.Argument(parser=user_path, metavar="METHOD.jsonl...", help="Scores to compare.")
    ],
    *,
    average: Annotated[
        Literal["micro", "macro"], typer.Option(help="Units of equal weight: items (micro) or users (macro).")
    ] = "micro",
    weight: Annotated[str | None, typer.Option(hidden=True)] = None,
    missing: Annotated[
        Literal["error", "drop", "zero"], typer.Option(help="Treatment of items without a score.")
    ] = "error",
    margin: Annotated[
        float | None, typer.Option(help="Loss that counts as none: adds a test of non-inferiority.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Significance level; intervals have level 1 - alpha.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the random sign flips (more than 16 clusters).")] = 0,
    format_: FormatOption = "terminal",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    metric: Annotated[str | None, typer.Option(help="Metric to read from lm-eval files with several.")] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="Filter to read from lm-eval files with several.")
    ] = None,
) -> None:
    """Compare score files item by item: difference, interval, p-value, and smallest detectable difference.

    Rows are {"item_id", "score", "user_id"?, "train_seed"?, "sample"?}, or
    lines that lm-eval wrote with --log_samples. Delta is METHOD - BASE on the
    same items. Users are the unit where there are any, and training seeds are
    crossed with them. Several METHOD files are one family (Holm).
    """
    from mipo_bench.reports.score_files.compare import Settings, compare_with_base
    from mipo_bench.reports.score_files.read import MetricChoice

    if weight is not None:
        raise typer.BadParameter("--weight is --average now")
    if as_json and format_ not in ("terminal", "json"):
        raise typer.BadParameter(f"--json is --format json, and excludes --format {format_}")
    settings = Settings(average, missing, margin, alpha, seed)
    choice = MetricChoice(metric, filter_name, allow_missing=missing != "error")
    compared = compare_with_base(base, methods, choice, settings)
    _print(base, compared, "json" if as_json else format_)


def _print(base: Path, compared: list[Compared], form: Format) -> None:
    from mipo_bench.reports.render.print_page import print_page
    from mipo_bench.reports.score_files.export import compared_to_csv, compared_to_json
    from mipo_bench.reports.score_files.table import compare_page

    if form == "json":
        sys.stdout.write(compared_to_json(base, compared))
    elif form == "csv":
        sys.stdout.write(compared_to_csv(base, compared))
    else:
        print_page(compare_page(str(base), compared), form)
