"""One run from its configuration to its sealed report. Every check of the input comes before the first computation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mipo_bench.harness.backends.responses import ResponsesFileBackend
from mipo_bench.harness.backends.select import backend_maker, check_backend
from mipo_bench.harness.cluster.engine import cluster_backend_maker
from mipo_bench.harness.cluster.pool import Pool
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import check_writable
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Display
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.exchange.from_responses import ExternalResponses, plan_responses
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.judging.assign import load_judges
from mipo_bench.harness.judging.to_label import unjudged
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.run.environment import prepare_process
from mipo_bench.harness.run.launch import Processes, rank_of_this_process
from mipo_bench.harness.run.on_cluster import check_cluster, check_recipes, hosts_of, run_on_hosts
from mipo_bench.harness.run.publish import REPORT_FILES
from mipo_bench.harness.run.repeat import remember_run, run_key
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.answerers import ResponsesFileAnswerer
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.workers import worker_count, worker_starter
from mipo_bench.harness.startup.check import check_start_once
from mipo_bench.harness.store.claims import SMALLEST_SHARE
from mipo_bench.harness.store.database import has_database
from mipo_bench.harness.store.file_system import check_local
from mipo_bench.harness.store.rescue import open_for_run, stored_memo
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import seal, to_json


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
    check_cluster(config, launched=launched)
    processes = rank if launched else Processes(0, count, 0, count)
    prepare_process(config, processes)
    given = plan_responses(config) if config.source.kind == "responses" else None
    if given is None:
        check_backend(config)  # before the data, which may have to be downloaded
        plan = make_plan(config)
        check_recipes(config, plan)
        return Prepared(config, plan, None, processes, launched, environment)
    return Prepared(config, given.plan, given, processes, launched, environment)


def execute(prepared: Prepared, display: Display, *, compute_only: bool = False) -> Outcome:
    """Compute the responses that the store lacks, together with the other processes, and seal the report.

    With `compute_only` no report is made, and nothing is judged: the store keeps the results for a later run. Raises
    a UserError where the judge, the model or a folder cannot be used.
    """
    check_local(prepared.config.store)  # before a GGUF file is dequantised into it
    with hosts_of(prepared.config, display.say) as hosts:
        return _execute(prepared, display, hosts, compute_only=compute_only)


def _execute(prepared: Prepared, display: Display, hosts: Pool | None, *, compute_only: bool) -> Outcome:
    config, processes = prepared.config, prepared.processes
    alone = processes.count > 1 and not prepared.launched
    with worker_starter(config, processes, prepared.environment) as start_workers:
        early = alone and _has_all_to_do(prepared)
        if early:  # they load the libraries while this process does
            start_workers()
        start = _starter(prepared, hosts)
        key = None if prepared.launched else run_key(config)
        check_writable(config.store)
        check_writable(config.out, REPORT_FILES)
        with closing(open_for_run(config.store)) as store:
            for note in prepared.plan.notes:
                display.say(f"note: {note}")

            def call_help() -> None:
                if not early:
                    start_workers()
                store.claims.processes = processes.count
                display.say(
                    f"{processes.count} processes share the work, and the first one shows its progress"
                    " (--set processes=1 for one)"
                )

            with display.stage("start", "checks"):
                run = start(store, display)
            store.claims.call_help = call_help if alone else None
            together = processes if prepared.launched else Processes()
            report = compute_report(run, together, key, compute_only=compute_only)
    return Outcome(report, unjudged(run.judged_arms.unanswered()) if report else "", len(run.failures.records))


def _has_all_to_do(prepared: Prepared) -> bool:
    """Whether a run has no store to take anything from, and more to compute than one process would claim at once."""
    answers = sum(len(task.items) for task in prepared.plan.tasks)
    return not has_database(prepared.config.store) and answers > SMALLEST_SHARE


def _starter(prepared: Prepared, hosts: Pool | None) -> Callable[[Store, Display], Run]:
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

    found: dict[str, Any] = {}

    def remember(parts: Iterable[object], compute: Callable[[], Any]) -> Any:
        """The check comes before a store is made, so that a run which cannot start leaves none."""
        key = digest(parts)
        found[key] = compute() if (known := stored_memo(config.store, key)) is None else known
        return found[key]

    def examine(folder: Path, where: Placement) -> None:
        notes.extend(check_start_once(folder, where, config, plan, remember))

    make = backend_maker(config, examine) if hosts is None else cluster_backend_maker(config, hosts, examine)

    def start_from_model(store: Store, display: Display) -> Run:
        backend = make(store)
        backend.notes += notes
        for key, value in found.items():
            store.put_memo(key, value)
        for note in notes:
            display.say(f"note: {note}")
        context = RunContext(config, plan, store, backend, display)
        return Run(context, judges) if hosts is None else run_on_hosts(context, judges, hosts)

    return start_from_model


def compute_report(
    run: Run, processes: Processes, key: str | None = None, *, compute_only: bool = False
) -> Report | None:
    """Compute the run together with other processes on the store. Returns the sealed report, which the store keeps.

    `key` is that of `repeat.run_key`. Returns None in a worker process, and with `compute_only`.
    """
    store = run.context.store
    store.claims.processes = processes.count
    store.claims.say = run.context.display.say
    if compute_only or processes.is_worker:
        run.compute_only()
        return None
    report = seal(run.execute())
    keys = [answers.keys for answers in run.reported]
    stored = StoredRun(report.digest, report.created, to_json(report), keys)
    remember_run(store, key, stored, report)
    store.put_run(stored)
    return report
