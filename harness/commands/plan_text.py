"""The text of `mipo-bench run --dry-run`: the plan of a run, its cost and its power."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mipo_bench.harness.config.loading import preset_notes
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ReportError
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.planning.power import planned_power
from mipo_bench.harness.plugins.optional import data_used
from mipo_bench.harness.startup.cost import planned_judging, planned_tokens
from mipo_bench.harness.startup.gpus import Cluster
from mipo_bench.harness.startup.hours import planned_hours
from mipo_bench.reports.pages.report import data_line
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, load_report


def print_plan(plan: Plan, config: RunConfig, console: Console, cluster: Cluster | None = None) -> None:
    """Print arms, items, trainings and estimated tokens, and the hours on the GPUs of `cluster`.

    Raises ConfigError or ModelError, before it prints anything, where these hours cannot be estimated.
    """
    hours = list(planned_hours(plan, config, cluster)) if cluster else []
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
    for line in hours:
        console.print(Text(line))


def _former(folder: Path, console: Console) -> Report | None:
    """The report that is in the folder, for its spread; None without one. One that cannot be read is named."""
    if not (folder / REPORT_FILE).is_file():
        return None
    try:
        return load_report(folder)
    except ReportError as error:
        console.print(Text(f"note: the power of this plan is by assumption: {error}"))
        return None
