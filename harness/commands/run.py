"""`mipo-bench run`: prints the plan (`--dry-run`), or runs it and writes and prints the report.

A run that computes imports what it needs only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from mipo_bench.harness.config.loading import preset_notes
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import write_atomically
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.run.environment import silence_libraries
from mipo_bench.harness.run.interrupt import EXIT_INTERRUPTED, STOPPED, ctrl_c_stops
from mipo_bench.harness.run.publish import exit_code, write
from mipo_bench.harness.run.repeat import repeated
from mipo_bench.harness.startup.gpus import GPUS, Cluster
from mipo_bench.reports.pages.report import report_page
from mipo_bench.reports.records.report_file import REPORT_FILE, SealedReport, run_id, sealed
from mipo_bench.reports.render.print_page import print_page

if TYPE_CHECKING:
    from mipo_bench.harness.core.progress import Display
    from mipo_bench.harness.run.session import Prepared


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `run` that are no settings. The plan of a dry run has the hours on the GPUs of `cluster`."""

    dry_run: bool = False
    compute_only: bool = False
    cluster: Cluster | None = None


def run(config: RunConfig, asked: Asked, *, profile: bool = False) -> int:
    """Run and return the exit code: 0; 1 if a part failed; 130 if interrupted. `profile` says where the time went."""
    silence_libraries()
    console = Console(stderr=True, highlight=False)
    if not profile:
        return _run(config, asked, console)
    from mipo_bench.harness.core.progress import display_for
    from mipo_bench.harness.run.stages.profile import Profiler

    with Profiler(display_for(console)) as profiler:
        code = _run(config, asked, console, profiler)
    for line in profiler.lines():
        console.print(line, markup=False, soft_wrap=True)
    return code


def _run(config: RunConfig, asked: Asked, console: Console, display: Display | None = None) -> int:
    if not (asked.dry_run or asked.compute_only) and (found := repeated(config)) is not None:
        console.print("nothing has changed since an earlier run: its report holds", markup=False)
        return _publish(found, "", config.out, console)
    from mipo_bench.harness.core.progress import display_for
    from mipo_bench.harness.run.session import prepare

    if config.include:
        from mipo_bench.harness.plugins.import_check import check_imports

        check_imports([include.path for include in config.include])
    prepared = prepare(config)
    if asked.dry_run:
        from mipo_bench.harness.commands.plan_text import print_plan

        print_plan(prepared.plan, config, Console(highlight=False), asked.cluster)
        return 0
    return _computed(prepared, console, display or display_for(console), compute_only=asked.compute_only)


def _computed(prepared: Prepared, console: Console, display: Display, *, compute_only: bool) -> int:
    """Compute the run, publish its report and return the exit code."""
    from mipo_bench.harness.core.progress import SilentDisplay
    from mipo_bench.harness.judging.assign import check_judge
    from mipo_bench.harness.run.session import execute

    config = prepared.config
    check_judge(config, [task.task for task in prepared.plan.tasks])
    worker = prepared.processes.is_worker
    for note in () if worker else preset_notes(config):
        console.print(note, markup=False, soft_wrap=True)
    try:
        with ctrl_c_stops():
            outcome = execute(prepared, SilentDisplay() if worker else display, compute_only=compute_only)
    except KeyboardInterrupt:
        console.print(STOPPED, style="bold")
        return EXIT_INTERRUPTED
    if outcome.report is not None:
        return _publish(sealed(outcome.report), outcome.to_judge, config.out, console)
    if not worker:
        console.print(f"computed into {config.store}; no report (--compute-only)", markup=False)
    return 1 if outcome.failed and not worker else 0


def asked_cluster(gpu: str | None, gpus: int, dry_run: bool) -> Cluster | None:
    """The GPUs of `--gpu` and `--gpus`. Raises ConfigError where they do not go together, or without `--dry-run`."""
    if gpu is None and gpus > 1:
        raise ConfigError(f"--gpus {gpus} needs --gpu, their kind: {', '.join(GPUS)}.")
    if gpu is not None and not dry_run:
        raise ConfigError("--gpu estimates the hours of a plan: add --dry-run. A run takes the GPUs that are there.")
    return None if gpu is None else Cluster(gpu.lower(), gpus)


def _publish(found: SealedReport, to_judge: str, folder: Path, console: Console) -> int:
    """Write the report and print it; returns the exit code."""
    report = found.report
    write(found, folder)
    if to_judge:
        from mipo_bench.harness.judging.to_label import TO_JUDGE

        write_atomically(folder / TO_JUDGE, to_judge)
        console.print(
            f"{folder / TO_JUDGE} has the comparisons that the file of verdicts lacks: label them and add them there."
        )
    print_page(report_page(report))
    typer.echo(f"\nWritten to {folder / REPORT_FILE} and report.md; run {run_id(report)}.")
    return exit_code(report)
