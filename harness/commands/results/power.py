"""`mipo-bench power`: the users, items and training seeds that a comparison needs, by a report or by assumption."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipo_bench.harness.commands.options import PATH, FormatOption, PathOption, StoreOption
from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE

if TYPE_CHECKING:
    from mipo_bench.reports.analysis.planning import Grid, Planning
    from mipo_bench.reports.analysis.spread import Spread
    from mipo_bench.reports.records.report import Report
    from mipo_bench.reports.statistics.design import Components

USERS, ITEMS, SEEDS = (10, 20, 50, 100, 200), (1, 5, 20), (2, 3, 5, 10)
"""The default grid; the design of the report is added to it."""
LARGEST = 1_000_000
"""The largest number of users, items or seeds that is planned for."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options of one call that do not choose the source."""

    users: str | None
    items: str | None
    seeds: str | None
    alpha: float | None
    power: float
    comparisons: int | None
    find: float | None
    assumed: dict[str, float]


def power(
    report: Annotated[
        str | None,
        typer.Argument(help="report.json, its folder, a run id or a git revision; mipo-bench-report if left out."),
    ] = None,
    *,
    arm: Annotated[str | None, typer.Option(help="TASK/METHOD, the comparison to plan for.")] = None,
    against: Annotated[str | None, typer.Option(help="The other arm; the reference of the task if left out.")] = None,
    users: Annotated[str | None, typer.Option(help="Numbers of users (or of items, without users): 20,50,100.")] = None,
    items: Annotated[str | None, typer.Option(help="Numbers of items of each user.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Numbers of training seeds.")] = None,
    find: Annotated[
        float | None, typer.Option(min=0.0001, max=1, help="A difference: print the cheapest designs that find it.")
    ] = None,
    power: Annotated[float, typer.Option(min=0.06, max=0.999, help="The probability of finding it.")] = 0.8,
    alpha: Annotated[float | None, typer.Option(min=1e-9, max=0.5, help="The report's, or 0.05.")] = None,
    comparisons: Annotated[
        int | None, typer.Option(min=1, help="Primary comparisons that share alpha; the report's, or 1.")
    ] = None,
    sd_users: Annotated[
        float | None, typer.Option(min=0, max=1, help="Standard deviation between users of the mean difference.")
    ] = None,
    sd_items: Annotated[float | None, typer.Option(min=0, max=1, help="Between items of a user.")] = None,
    sd_seeds: Annotated[float | None, typer.Option(min=0, max=1, help="Between training seeds.")] = None,
    sd_seeds_users: Annotated[
        float | None, typer.Option(min=0, max=1, help="Between users, in each seed anew.")
    ] = None,
    sd_residual: Annotated[float | None, typer.Option(min=0, max=1, help="Between items, in each seed anew.")] = None,
    format_: FormatOption = "terminal",
    plots: Annotated[Path | None, typer.Option(help="Also draw a plot into this folder.", **PATH)] = None,
    path: PathOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Plan a run: the smallest difference that users x items x training seeds find, and the cheapest design.

    The spread comes from the scores of two arms of a report; --sd-* replace
    parts of it. With --sd-*, but neither a report nor --arm, they are all of it.
    """
    from mipo_bench.harness.history.find_report import ReportSearch, find_report

    parts = {"users": sd_users, "items": sd_items, "seeds": sd_seeds, "seeds_users": sd_seeds_users}
    assumed = {name: value for name, value in {**parts, "residual": sd_residual}.items() if value is not None}
    wanted = _Wanted(users, items, seeds, alpha, power, comparisons, find, assumed)
    if report is None and assumed and not (arm or against):
        planning = _from_assumptions(wanted)
    else:
        found = find_report(report or str(DEFAULT_REPORT), ReportSearch(store, path))
        planning = _from_report(found, arm, against, wanted)
    _print(planning, format_, plots)


def _print(planning: Planning, form: Any, plots: Path | None) -> None:
    from mipo_bench.reports.pages.power import power_page
    from mipo_bench.reports.render.power import power_to_csv, power_to_json, write_power_plot
    from mipo_bench.reports.render.print_page import print_page

    if plots is not None:
        for file in write_power_plot(planning, plots):
            sys.stderr.write(f"wrote {file}\n")
    if form in ("csv", "json"):
        sys.stdout.write((power_to_csv if form == "csv" else power_to_json)(planning))
    else:
        print_page(power_page(planning), form)


def _from_assumptions(wanted: _Wanted) -> Planning:
    from mipo_bench.harness.errors import ConfigError
    from mipo_bench.reports.analysis.planning import Grid
    from mipo_bench.reports.statistics.design import Components

    grid = Grid(
        numbers("--users", wanted.users, 2) or USERS,
        numbers("--items", wanted.items, 1) or ITEMS,
        numbers("--seeds", wanted.seeds, 1) or SEEDS,
    )
    trained = grid.seeds != (1,)
    if trained and 1 in grid.seeds:
        raise ConfigError("--seeds 1 plans a comparison without training: give it alone, or two seeds and more.")
    if trained and "seeds" not in wanted.assumed:
        raise ConfigError(
            "--sd-seeds is missing: assume a standard deviation between training seeds. "
            '"seed sd" of a report is one; 0 says that all trainings are alike.'
        )
    components = Components(**wanted.assumed)
    _check_spread(components, "the --sd-* given")
    if not (components.users or components.items or components.seeds_users or components.residual):
        raise ConfigError(
            "users and items do not vary: give --sd-users, --sd-items or --sd-residual above 0. To take them from a "
            "report, name its comparison with --arm TASK/METHOD."
        )
    return _planning(wanted, ("spread by assumption",), components, grid, trained=int(trained))


def _from_report(report: Report, arm: str | None, against: str | None, wanted: _Wanted) -> Planning:
    from dataclasses import replace

    from mipo_bench.reports.analysis.spread import pair_of, spread_of
    from mipo_bench.reports.records.report_file import run_id

    spread = spread_of(report, *pair_of(report, arm, against))
    components = replace(spread.components, **wanted.assumed)
    name = f"{spread.task}: {spread.method} against {spread.base}"
    _check_spread(components, name)
    d = spread.design
    design = f"{d.users} users, {d.items} items each" if spread.has_users else f"{d.users} items"
    seeds = f", {d.seeds} training seeds" if spread.trained else ""
    given = ", ".join(f"--sd-{part}".replace("_", "-") for part in wanted.assumed)
    assumed = f"; by assumption: {given}" if given else ""
    source = (
        f"{name}, in run {run_id(report)} with model {report.model.name}",
        f"its design: {design}{seeds}{assumed}",
    )
    primary = sum(c.family == "primary" for c in report.comparisons)
    return replace(
        _planning(wanted, source, components, _grid_of(spread, wanted), trained=spread.trained),
        alpha=wanted.alpha or report.alpha,
        comparisons=wanted.comparisons or max(primary, 1),
        unit="users" if spread.has_users else "items",
        estimated_users=None if "users" in wanted.assumed else d.users,
        estimated_seeds=d.seeds if spread.trained and "seeds" not in wanted.assumed else None,
        tokens=spread.tokens,
    )


def _grid_of(spread: Spread, wanted: _Wanted) -> Grid:
    """The grid that is asked for, or the default one with the report's own design; refuses what has no estimate."""
    from mipo_bench.harness.errors import ConfigError
    from mipo_bench.reports.analysis.planning import Grid

    d, items, seeds = spread.design, numbers("--items", wanted.items, 1), numbers("--seeds", wanted.seeds, 2)
    if not spread.trained and seeds:
        raise ConfigError(f"--seeds: {spread.method} and {spread.base} are not trained, so that seeds change nothing.")
    if spread.trained and d.seeds == 1 and "seeds" not in wanted.assumed:
        raise ConfigError(
            f"{spread.task}: {spread.method} was trained under one seed, from which the spread between trainings "
            f"cannot be estimated: assume one with --arm {spread.task}/{spread.method} --sd-seeds, or name a report "
            "with two training seeds or more."
        )
    if not spread.several_items and items and items != (1,):
        why = "has one item for each user: the spread of several is not known" if spread.has_users else "has no users"
        raise ConfigError(f"--items {wanted.items}: {spread.task} {why}. Leave --items out.")
    own = sorted({*SEEDS, *((d.seeds,) if d.seeds > 1 else ())})
    return Grid(
        numbers("--users", wanted.users, 2) or tuple(sorted({*USERS, d.users})),
        (items or tuple(sorted({*ITEMS, d.items}))) if spread.several_items else (1,),
        (seeds or tuple(own)) if spread.trained else (1,),
    )


def _planning(
    wanted: _Wanted, source: tuple[str, ...], components: Components, grid: Grid, *, trained: int
) -> Planning:
    from mipo_bench.reports.analysis.planning import Planning

    return Planning(
        source=source,
        components=components,
        grid=grid,
        alpha=wanted.alpha or 0.05,
        power=wanted.power,
        comparisons=wanted.comparisons or 1,
        wanted=wanted.find,
        trained=trained,
    )


def _check_spread(components: Components, name: str) -> None:
    from mipo_bench.harness.errors import ConfigError

    if not any(asdict(components).values()):
        raise ConfigError(f"{name}: every standard deviation is 0, so that there is nothing to plan with.")


def numbers(option: str, text: str | None, least: int) -> tuple[int, ...]:
    """The whole numbers of a comma-separated option, in order; empty if it was not given. Raises ConfigError."""
    from mipo_bench.harness.errors import ConfigError

    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and least <= int(part) <= LARGEST for part in parts):
        raise ConfigError(
            f"{option} is {text!r}: write whole numbers from {least} to {LARGEST:,}, separated by commas, such as 5,10."
        )
    return tuple(sorted({int(part) for part in parts}))
