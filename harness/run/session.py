"""One run from its configuration to its sealed report. Every check of the input comes before the first computation."""

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
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.exchange.from_responses import ExternalResponses, plan_responses
from mipo_bench.harness.judging.assign import load_judges
from mipo_bench.harness.judging.to_label import unjudged
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.run.environment import prepare_process
from mipo_bench.harness.run.launch import Processes, rank_of_this_process
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.answerers import ResponsesFileAnswerer
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.workers import with_workers, worker_count
from mipo_bench.harness.startup.check import check_start
from mipo_bench.harness.store.file_system import check_local
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, seal, to_json
from mipo_bench.reports.render.markdown import to_markdown

REPORT_FILES = (REPORT_FILE, "report.md")
"""The files that a run writes to its output folder."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A planned run that has not begun.

    `processes` is the rank of this process. Where `launched` is False, this process starts the workers, with
    `environment`: the variables that it was started with.
    """

    config: RunConfig
    plan: Plan
    given: ExternalResponses | None
    processes: Processes
    launched: bool
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report, or None if none was made; and the questions that the verdict file lacks, one JSON line each.

    `failed` counts the arms that failed where no report says so.
    """

    report: Report | None
    to_judge: str = ""
    failed: int = 0


def prepare(config: RunConfig) -> Prepared:
    """Plan the run and set up this process. Raises a UserError for a configuration that cannot run."""
    environment = dict(os.environ)
    rank = rank_of_this_process()
    count = worker_count(config)
    launched = rank.count > 1
    if launched and config.train.processes > 1:
        raise ConfigError(
            f"train.processes = {config.train.processes}, but this run was started {rank.count} times (torchrun,"
            " accelerate launch): a run whose trainings take several devices is one process, and starts those of a"
            " training by itself. Start it without a launcher."
        )
    processes = rank if launched else Processes(0, count, 0, count)
    prepare_process(config, processes)
    given = plan_responses(config) if config.source.kind == "responses" else None
    if given is None:
        check_backend(config)  # before the data, which may have to be downloaded
        plan = make_plan(config)
        return Prepared(config, plan, None, processes, launched, environment)
    return Prepared(config, given.plan, given, processes, launched, environment)


def execute(prepared: Prepared, display: Display, *, compute_only: bool = False) -> Outcome:
    """Compute the responses that the store lacks, together with the other processes, and seal the report.

    With `compute_only` no report is made, and nothing is judged: the store keeps the results for a later run. Raises
    a UserError where the judge, the model or a folder cannot be used.
    """
    config, processes = prepared.config, prepared.processes
    check_local(config.store)  # before a GGUF file is dequantised into it
    start = _starter(prepared)
    check_writable(config.store)
    check_writable(config.out, REPORT_FILES)
    with closing(open_for_run(config.store)) as store:
        if processes.count > 1 and not prepared.launched:
            display.say(
                f"{processes.count} processes share the work, and the first one shows its progress"
                " (--set processes=1 for one)"
            )
        for note in prepared.plan.notes:
            display.say(f"note: {note}")
        with nullcontext() if prepared.launched else with_workers(config, processes, prepared.environment):
            with display.stage("start", "checks"):
                run = start(store, display)
            report = compute_report(run, processes, compute_only=compute_only)
    return Outcome(report, unjudged(run.judged_arms.unanswered()) if report else "", len(run.failures.records))


def _starter(prepared: Prepared) -> Callable[[Store, Display], Run]:
    """A function that makes the run once the store is open. Raises ModelError where the model cannot be used."""
    config, plan, given = prepared.config, prepared.plan, prepared.given
    tasks = [task.task for task in plan.tasks]
    judges = load_judges(config, tasks)
    if given is not None:
        counted = config.model_copy(update={"seeds": given.seeds})

        def start_from_file(store: Store, display: Display) -> Run:
            context = RunContext(counted, plan, store, ResponsesFileBackend(given), display)
            return Run(context, judges, ResponsesFileAnswerer(context))

        return start_from_file
    notes: list[str] = []
    make = backend_maker(config, lambda folder, where: notes.extend(check_start(folder, where, config, plan)))

    def start_from_model(store: Store, display: Display) -> Run:
        backend = make(store)
        backend.notes += notes
        for note in notes:
            display.say(f"note: {note}")
        return Run(RunContext(config, plan, store, backend, display), judges)

    return start_from_model


def compute_report(run: Run, processes: Processes, *, compute_only: bool = False) -> Report | None:
    """Compute the run together with other processes on the store. Returns the sealed report, which the store keeps.

    Returns None in a worker process, and with `compute_only`.
    """
    store = run.context.store
    store.claims.processes = processes.count
    store.claims.say = run.context.display.say
    if compute_only or processes.is_worker:
        run.compute_only()
        return None
    report = seal(run.execute())
    keys = [answers.keys for answers in run.reported]
    store.put_run(StoredRun(report.digest, report.created, to_json(report), keys))
    return report


def write(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.md`."""
    for name, text in zip(REPORT_FILES, (to_json(report), to_markdown(report)), strict=True):
        write_atomically(folder / name, text)


def exit_code(report: Report) -> int:
    """1 where an arm or an item failed, else 0."""
    return 1 if report.failures or any(arm.failed for arm in report.arms) else 0
