"""`mipo-bench diff`: two reports, paired and tested; gates for CI."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipo_bench.harness.commands.options import FORMAT, DataOption, IncludeOption, PathOption, StoreOption
from mipo_bench.harness.core.default_paths import DEFAULT_STORE
from mipo_bench.harness.core.text import without_control_characters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mipo_bench.harness.history.find_report import ReportSearch
    from mipo_bench.harness.history.rescore import ArmTexts
    from mipo_bench.reports.diff.gate import Gate, GateResult
    from mipo_bench.reports.diff.records import ReportDiff, Side
    from mipo_bench.reports.records.report import Report


@dataclass(frozen=True, slots=True)
class _DiffOptions:
    """The options of one call."""

    search: ReportSearch
    form: Literal["terminal", "markdown", "json", "html"]
    gate: Literal["regression", "noninferior"] | None
    margins: tuple[str, ...]
    arms: tuple[str, ...]
    items: int
    rescore: bool


def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="Report file, run id or git revision to compare against.")
    ] = "HEAD",
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="The same, to compare; the working tree if left out.")
    ] = None,
    *,
    path: PathOption = None,
    store: StoreOption = DEFAULT_STORE,
    format_: Annotated[Literal["terminal", "markdown", "json", "html"], FORMAT] = "terminal",
    gate: Annotated[
        Literal["regression", "noninferior"] | None,
        typer.Option(help="Fail on a significant loss, or unless a loss beyond the margin is ruled out."),
    ] = None,
    margin: Annotated[
        list[str] | None, typer.Option(help="Loss that counts as none: TASK=0.02, or 0.02 for every task.")
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Compare only arms TASK/METHOD that match, such as 'persona/mipo-*'.")
    ] = None,
    items: Annotated[bool, typer.Option("--items", help="List improved and regressed items with responses.")] = False,
    max_items: Annotated[int, typer.Option(min=1, help="Items to list for each arm and direction.")] = 10,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the stored responses of both sides again before comparing.")
    ] = False,
    include: IncludeOption = None,
    data: DataOption = None,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="Inject regressions into a copy of A and show that the gate fails.")
    ] = False,
) -> None:
    """Compare two reports item by item: B - A, with Holm over all arms.

    Exit codes: 0 fine; 2 bad input; with --gate also 1 regression, 3 loss
    not ruled out (noninferior), 4 not comparable.
    """
    from mipo_bench.harness.history.find_report import ReportSearch
    from mipo_bench.harness.plugins.task_data import given_folders

    options = _DiffOptions(
        ReportSearch(store, path, tuple(include or ()), given_folders(data or ())),
        format_,
        gate,
        tuple(margin or ()),
        tuple(arm or ()),
        max_items if items else 0,
        rescore,
    )
    raise typer.Exit(_selftest(a, b, options) if selftest else _gated(a, b, options))


def _gated(a: str, b: str | None, options: _DiffOptions) -> int:
    """The exit code of the diff. With a gate, it is 4 for reports that cannot be compared."""
    from mipo_bench.harness.errors import NotComparableError
    from mipo_bench.reports.diff.gate import NOT_COMPARABLE

    try:
        return _diff(a, b, options)
    except NotComparableError as error:
        if options.gate is None:
            raise
        _say([*str(error).splitlines(), f"gate {options.gate}: not comparable"])
        return NOT_COMPARABLE


def _say(lines: Iterable[str]) -> None:
    """Print to stderr, without the control characters that names from reports may hold."""
    sys.stderr.writelines(f"mipo-bench: {without_control_characters(line)}\n" for line in lines)


def _diff(a: str, b: str | None, options: _DiffOptions) -> int:
    from mipo_bench.harness.commands.postponed import postpone_numpy_modules
    from mipo_bench.harness.history.find_report import find_side, working_tree
    from mipo_bench.reports.diff.diff_reports import diff_reports
    from mipo_bench.reports.diff.gate import PASSED, apply_gate
    from mipo_bench.reports.diff.margins import gate_of, read_margins
    from mipo_bench.reports.diff.records import DiffOptions

    postpone_numpy_modules()
    left = find_side(a, options.search)
    right = find_side(b, options.search) if b is not None else working_tree(a, options.search)
    texts = None
    if options.items or options.rescore:
        from mipo_bench.harness.history.rescore import rescored, texts_of

        texts = texts_of(left, right, options.search) if options.items else None
        if options.rescore:
            left, right = rescored(left, options.search), rescored(right, options.search)
    margins = read_margins(options.margins, [task.name for task in right.report.tasks])
    in_both = [name for name in _compared_tasks(left.report, options.arms) if right.report.task(name)]
    gate = gate_of(options.gate, margins, in_both)
    found = diff_reports(left, right, DiffOptions(margins, options.arms))
    gate_result = apply_gate(found, gate) if gate else None
    if gate and gate_result and gate_result.code == PASSED and not options.rescore:
        from mipo_bench.harness.history.former_runs import stored_reports
        from mipo_bench.reports.diff.retries import earlier_failures

        former = stored_reports(options.search.store, right.report.model.digest)
        failures = earlier_failures(left, right, gate, DiffOptions(margins, options.arms), former)
        gate_result = replace(gate_result, earlier_failures=tuple(failures))
    _print(found, gate, gate_result, options, texts)
    return gate_result.code if gate_result else 0


def _compared_tasks(report: Report, arms: Sequence[str]) -> list[str]:
    """The tasks of the report that have an arm which is compared."""
    from mipo_bench.reports.diff.diff_reports import is_wanted

    compared = {arm.task for arm in report.arms if is_wanted(f"{arm.task}/{arm.method}", arms)}
    return [task.name for task in report.tasks if task.name in compared]


def _print(
    found: ReportDiff, gate: Gate | None, gate_result: GateResult | None, options: _DiffOptions, texts: ArmTexts | None
) -> None:
    from mipo_bench.reports.diff.page import ItemLists, diff_page
    from mipo_bench.reports.render.print_page import print_page

    items = ItemLists(options.items, texts) if texts else None
    if options.form == "json":
        from mipo_bench.reports.diff.to_json import diff_to_json

        sys.stdout.write(diff_to_json(found, gate, gate_result, items))
        return
    page = diff_page(found, gate, gate_result, items)
    if options.form == "html":
        from mipo_bench.harness.history.diff_texts import diff_texts
        from mipo_bench.reports.diff.to_html import diff_to_html

        sys.stdout.write(diff_to_html(found, page, diff_texts(found, texts, options.items) if texts else ()))
    else:
        print_page(page, options.form)


def _selftest(a: str, b: str | None, options: _DiffOptions) -> int:
    from mipo_bench.harness.errors import ConfigError
    from mipo_bench.harness.history.find_report import find_side, working_tree
    from mipo_bench.reports.diff.gate import Gate
    from mipo_bench.reports.diff.margins import gate_of, read_margins
    from mipo_bench.reports.diff.selftest import selftest, selftest_page
    from mipo_bench.reports.render.print_page import print_page

    if b is not None or options.form not in ("terminal", "markdown") or options.items or options.rescore:
        raise ConfigError(
            "--selftest compares A with copies of itself: it takes no B, and of the other options only --gate, "
            "--margin, --arm, --format markdown and those that say where A is."
        )
    side: Side = working_tree(a, options.search) if a == "HEAD" else find_side(a, options.search)
    tasks = _compared_tasks(side.report, options.arms)
    margins = read_margins(options.margins, [task.name for task in side.report.tasks])
    found = selftest(side, gate_of(options.gate, margins, tasks) or Gate("regression", margins), options.arms)
    print_page(selftest_page(side, found), options.form)
    return 0 if found.passed else 1
