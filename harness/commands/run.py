"""`mipo-bench run`: prints the plan (`--dry-run`), or runs it and writes and prints the report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from mipo_bench.harness.config.loading import preset_notes
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import write_atomically
from mipo_bench.harness.core.progress import SilentDisplay, display_for
from mipo_bench.harness.errors import ConfigError, ReportError
from mipo_bench.harness.judging.assign import check_judge
from mipo_bench.harness.judging.to_label import TO_JUDGE
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.planning.power import planned_power
from mipo_bench.harness.plugins.import_check import check_imports
from mipo_bench.harness.plugins.optional import data_used
from mipo_bench.harness.run.environment import silence_libraries
from mipo_bench.harness.run.interrupt import EXIT_INTERRUPTED, ctrl_c_stops
from mipo_bench.harness.run.session import execute, exit_code, prepare, write
from mipo_bench.harness.startup.cost import planned_judging, planned_tokens
from mipo_bench.harness.startup.gpus import GPUS
from mipo_bench.harness.startup.hours import Cluster, planned_hours
from mipo_bench.reports.pages.report import data_line, report_page
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, load_report, run_id
from mipo_bench.reports.render.print_page import print_page


def run(config: RunConfig, *, dry_run: bool, compute_only: bool, cluster: Cluster | None = None) -> int:
    """Run and return the exit code: 0; 1 if a part failed; 130 if interrupted.

    The plan of a dry run has the hours on the GPUs of `cluster`.
    """
    silence_libraries()
    if config.include:
        check_imports([include.path for include in config.include])
    prepared = prepare(config)
    if dry_run:
        console = Console(highlight=False)
        hours = list(planned_hours(prepared.plan, config, cluster)) if cluster else []
        _print_plan(prepared.plan, config, console)
        for line in hours:
            console.print(Text(line))
        return 0
    check_judge(config, [task.task for task in prepared.plan.tasks])
    console = Console(stderr=True, highlight=False)
    worker = prepared.processes.is_worker
    for note in () if worker else preset_notes(config):
        console.print(note, markup=False, soft_wrap=True)
    try:
        with ctrl_c_stops():
            display = SilentDisplay() if worker else display_for(console)
            outcome = execute(prepared, display, compute_only=compute_only)
    except KeyboardInterrupt:
        console.print("mipo-bench: stopped. The same command goes on from here.", style="bold")
        return EXIT_INTERRUPTED
    if outcome.report is not None:
        return _publish(outcome.report, outcome.to_judge, config.out, console)
    if not worker:
        console.print(Text(f"computed into {config.store}; no report (--compute-only)"))
    return 1 if outcome.failed and not worker else 0


def asked_cluster(gpu: str | None, gpus: int, dry_run: bool) -> Cluster | None:
    """The GPUs of `--gpu` and `--gpus`. Raises ConfigError where they do not go together, or without `--dry-run`."""
    if gpu is None and gpus > 1:
        raise ConfigError(f"--gpus {gpus} needs --gpu, their kind: {', '.join(GPUS)}.")
    if gpu is not None and not dry_run:
        raise ConfigError("--gpu estimates the hours of a plan: add --dry-run. A run takes the GPUs that are there.")
    return None if gpu is None else Cluster(gpu.lower(), gpus)


def _publish(report: Report, to_judge: str, folder: Path, console: Console) -> int:
    """Write the report and print it; returns the exit code."""
    write(report, folder)
    if to_judge:
        write_atomically(folder / TO_JUDGE, to_judge)
        console.print(
            f"{folder / TO_JUDGE} has the comparisons that the file of verdicts lacks: label them and add them there."
        )
    print_page(report_page(report))
    typer.echo(f"\nWritten to {folder / REPORT_FILE} and report.md; run {run_id(report)}.")
    return exit_code(report)


def _former(folder: Path, console: Console) -> Report | None:
    """The report that is in the folder, for its spread; None without one. One that cannot be read is named."""
    if not (folder / REPORT_FILE).is_file():
        return None
    try:
        return load_report(folder)
    except ReportError as error:
        console.print(Text(f"note: the power of this plan is by assumption: {error}"))
        return None


def _print_plan(plan: Plan, config: RunConfig, console: Console) -> None:
    """Print arms, items, trainings and estimated tokens."""
    for note in preset_notes(config):
        console.print(note, markup=False, soft_wrap=True)
    for note in plan.notes:
        console.print(Text(f"note: {note}"))
    trainings = sum(arm.recipe is not None for arm in plan.arms)
    console.print(Text(f"model {config.model}, {len(plan.arms)} arms, {trainings} trainings"))
    for task in plan.tasks:
        prompted = [a.method for a in plan.arms_of(task.task.name, trained=False)]
        console.print(Text(f"{task.task.name}: {len(task.items)} items, {len(task.training_items)} training items"))
        console.print(Text(f"  prompting arms: {', '.join(prompted)} (reference: {task.reference})"))
        seeds = Counter(a.recipe for a in plan.arms_of(task.task.name, trained=True))
        recipes = ", ".join(f"{r} x {seeds[r]} seeds" for r in task.recipes) or "none"
        console.print(Text(f"  trained arms: {recipes}"))
        if data := data_used(task.task):
            console.print(Text(f"  {data_line(task.task.name, data)}"))
    former = _former(config.out, console)
    for line in (*planned_judging(plan, config), *planned_power(plan, config, former)):
        console.print(Text(line))
    read, written = (sum(part) for part in zip(*(planned_tokens(t, plan, config) for t in plan.tasks), strict=True))
    console.print(Text(f"about {read:,} prompt tokens and at most {written:,} new tokens, less those in the store"))
