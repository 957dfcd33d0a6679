"""One run from its configuration to its sealed report. Everything that can be refused is refused before work begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from mipo_bench.harness.backends.responses import ResponsesFileBackend
from mipo_bench.harness.backends.select import backend_maker, check_backend
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import check_writable, write_atomically
from mipo_bench.harness.core.progress import Display
from mipo_bench.harness.judging.assign import load_judges
from mipo_bench.harness.judging.to_label import unjudged
from mipo_bench.harness.planning.from_responses import ExternalResponses, plan_responses
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.run.environment import prepare_process
from mipo_bench.harness.run.launch import Processes, rank_of_this_process
from mipo_bench.harness.run.responses_run import ResponsesFileRun
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.workers import with_workers, worker_count
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, seal, to_json
from mipo_bench.reports.render.markdown import to_markdown


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is planned and not begun.

    `processes` is this process among those of the run; where `launched` is False, it starts the others itself, with
    `environment`, the variables that it was started with.
    """

    config: RunConfig
    plan: Plan
    given: ExternalResponses | None
    processes: Processes
    launched: bool
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report, None in a worker; and the questions that the file of verdicts lacks, a JSON line each."""

    report: Report | None
    to_judge: str = ""


def prepare(config: RunConfig) -> Prepared:
    """Plan the run and set up this process. Raises a UserError for anything that cannot be run."""
    environment = dict(os.environ)
    found = rank_of_this_process()
    count = worker_count(config)
    launched = found.count > 1
    processes = found if launched else Processes(0, count, 0, count)
    prepare_process(config, processes)
    given = plan_responses(config) if config.source.kind == "responses" else None
    if given is None:
        plan = make_plan(config)
        check_backend(config)
        return Prepared(config, plan, None, processes, launched, environment)
    return Prepared(config, given.plan, given, processes, launched, environment)


def execute(prepared: Prepared, display: Display) -> Outcome:
    """Compute whatever the store lacks, together with the other processes, and seal the report.

    Raises a UserError where the judge, the model or a folder cannot be used.
    """
    config, processes = prepared.config, prepared.processes
    start = _starter(prepared)
    for folder in (config.store, config.out):
        check_writable(folder)
    with closing(open_for_run(config.store)) as store:
        if processes.count > 1 and not prepared.launched:
            display.say(
                f"{processes.count} processes share the work; shown is that of the first (--set processes=1 for one)"
            )
        with nullcontext() if prepared.launched else with_workers(config, processes, prepared.environment):
            run = start(store, display)
            report = compute_report(run, processes)
    return Outcome(report, unjudged(run.judged_arms.unanswered()) if report else "")


def _starter(prepared: Prepared) -> Callable[[Store, Display], Run]:
    """A function that makes the run once the store is open. Raises ModelError for a model that cannot be used."""
    config, plan, given = prepared.config, prepared.plan, prepared.given
    tasks = [task.task for task in plan.tasks]
    judges = load_judges(config, tasks)
    if given is not None:
        counted = config.model_copy(update={"seeds": given.seeds})
        return lambda store, display: ResponsesFileRun(
            counted, plan, store, ResponsesFileBackend(given), display, judges
        )
    make = backend_maker(config)
    return lambda store, display: Run(config, plan, store, make(store), display, judges)


def compute_report(run: Run, processes: Processes) -> Report | None:
    """Compute, together with other processes on the store; the sealed report, which the store remembers.

    None in a process that only helps.
    """
    store = run.store
    store.claims.processes = processes.count
    if processes.is_worker:
        run.compute_only()
        return None
    report = seal(run.execute())
    keys = [done.keys for done in run.evaluated]
    store.put_run(StoredRun(report.digest, report.created, to_json(report), keys))
    return report


def write(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.md`."""
    write_atomically(folder / REPORT_FILE, to_json(report))
    write_atomically(folder / "report.md", to_markdown(report))


def exit_code(report: Report) -> int:
    """1 where an arm or an item failed, else 0."""
    return 1 if report.failures or any(arm.failed for arm in report.arms) else 0
