"""`mipo-bench compare`: paired tests on score files of any program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipo_bench.harness.commands.options import Format, FormatOption, user_path

if TYPE_CHECKING:
    from mipo_bench.reports.logs.record import Choice
    from mipo_bench.reports.score_files.compare import Compared


def _column(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, metavar="COLUMN", help=text)
    return option


Item = Annotated[str | None, _column("--item", "Column with the item ids (item_id).")]
Score = Annotated[str | None, _column("--score", "Column with the scores (score).")]
User = Annotated[str | None, _column("--user", "Column, or field of a log, with the users: the clusters (user_id).")]
Sample = Annotated[str | None, _column("--sample", "Column with the number of a sample of one prompt (sample).")]
TrainSeed = Annotated[str | None, _column("--train-seed", "Column with the training seeds (train_seed).")]
ArmColumn = Annotated[str | None, _column("--arm", "Column that tells several arms in one file apart.")]
Values = Annotated[
    str | None,
    typer.Option("--map", metavar="TEXT=SCORE,...", help="Scores of texts, as in C=1,P=.5,I=0."),
]
Base = Annotated[str | None, typer.Option("--base", help="The arm to compare with; the first without it.")]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="An arm to compare; all without it. Give it again for more."),
]
PairsOption = Annotated[Literal["base", "all"], typer.Option("--pairs", help="All with the base, or each with each.")]
Against = Annotated[
    float | None,
    typer.Option("--against", help="A value to compare with in place of a base: 0.5 for win rates."),
]
Metric = Annotated[str | None, typer.Option("--metric", help="The metric to read from a log with several.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help="The filter (lm-eval) or perturbation (HELM) to read."),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", help="The task to read from a folder, or a pattern: 'mmlu_*'."),
]
Unfinished = Annotated[
    bool,
    typer.Option("--allow-unfinished", help="Read a log of a run that did not end."),
]


def compare(
    files: Annotated[list[Path], typer.Argument(parser=user_path, metavar="BASE METHOD...", help="Files or folders.")],
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
    list_: Annotated[bool, typer.Option("--list", help="Say what the files hold; compare nothing.")] = False,
    item: Item = None,
    score: Score = None,
    user: User = None,
    sample: Sample = None,
    train_seed: TrainSeed = None,
    arm: ArmColumn = None,
    values: Values = None,
    base: Base = None,
    methods: Methods = None,
    pairs: PairsOption = "base",
    against: Against = None,
    metric: Metric = None,
    filter_name: Filter = None,
    task: TaskOption = None,
    unfinished: Unfinished = False,
) -> None:
    """Compare score files item by item: difference, interval, p-value, and smallest detectable difference.

    A file is a table (CSV, Parquet, JSON Lines) with the columns item_id,
    score, and where there are any user_id, train_seed, sample; or a log of
    inspect_ai, lm-eval, AlpacaEval, promptfoo, lighteval or HELM. Delta is
    METHOD - BASE on the same items. Users are the unit where there are any, and
    training seeds are crossed with them. Several comparisons are one family
    (Holm).
    """
    from mipo_bench.harness.commands.postponed import postpone_numpy_modules
    from mipo_bench.reports.logs.record import Choice
    from mipo_bench.reports.score_files.compare import Pairing, Settings, compare_scores

    postpone_numpy_modules()
    if weight is not None:
        raise typer.BadParameter("--weight is --average now")
    form = _form(format_, as_json=as_json)
    roles = {"item": item, "score": score, "user": user, "sample": sample, "train_seed": train_seed, "arm": arm}
    columns = {role: name for role, name in roles.items() if name is not None}
    choice = Choice(metric, filter_name, task, columns, _values(values), missing != "error", unfinished)
    if list_:
        return _list(files, choice, form)
    settings = Settings(average, missing, margin, alpha, seed)
    pairing = Pairing(base, tuple(methods or ()), pairs, against)
    return _print(compare_scores(files, choice, settings, pairing), form)


def _form(format_: Format, *, as_json: bool) -> Format:
    if as_json and format_ not in ("terminal", "json"):
        raise typer.BadParameter(f"--json is --format json, and excludes --format {format_}")
    return "json" if as_json else format_


def _values(text: str | None) -> dict[str, float]:
    """The scores of `--map`. Raises BadParameter."""
    found: dict[str, float] = {}
    for entry in text.split(",") if text is not None else ():
        name, equals, number = entry.strip().rpartition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        if not equals or not name or name in found:
            raise typer.BadParameter(f"--map has {entry!r}; write TEXT=NUMBER,TEXT=NUMBER, each text once: C=1,I=0")
        found[name] = value
    return found


def _list(files: list[Path], choice: Choice, form: Format) -> None:
    from mipo_bench.reports.render.print_page import print_page
    from mipo_bench.reports.score_files.listing import listing_page

    if form == "json" or form == "csv":  # noqa: PLR1714 - mypy narrows the type by it
        raise typer.BadParameter(f"--list has no --format {form}; choose terminal, markdown or latex")
    print_page(listing_page(files, choice), form)


def _print(compared: list[Compared], form: Format) -> None:
    if form in ("terminal", "markdown", "latex"):
        from mipo_bench.reports.render.print_page import print_page
        from mipo_bench.reports.score_files.table import compare_page

        print_page(compare_page(compared), form)
        return
    from mipo_bench.reports.score_files.export import compared_to_csv, compared_to_json

    sys.stdout.write((compared_to_json if form == "json" else compared_to_csv)(compared))
