"""`mipo-bench run`: prepare, run, write and print. Everything that can be refused is refused before work begins."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from mipo_bench.harness.backends.select import check_backend, engine_maker
from mipo_bench.harness.config.schema import RunConfig, preset_notes
from mipo_bench.harness.core.progress import Display, SilentDisplay, display_for
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.evaluation.strategies import cost
from mipo_bench.harness.generators.responses_file import is_responses
from mipo_bench.harness.judging.assign import Assigned, check_judge, load_judges
from mipo_bench.harness.judging.to_label import TO_JUDGE, planned_judging, unjudged
from mipo_bench.harness.planning.plan import Plan, TaskPlan, make_plan
from mipo_bench.harness.plugins.task_data import data_used
from mipo_bench.harness.run.interrupt import STOPPED, stoppable
from mipo_bench.harness.run.launch import Processes, choose_gpu, of_environment, threads_each
from mipo_bench.harness.run.responses_run import Given, GivenEngine, GivenRun, plan_given
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.workers import helped, wanted
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.harness.store.run_store import Store, StoredRun
from mipo_bench.reports.pages.report import data_line
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import REPORT_FILE, run_id, seal, to_json, write_atomically
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.reports.render.terminal import show_terminal

_FREE = 200 * 1024 * 1024
"""Bytes that the store and the report should find free."""
_CHARACTERS_PER_TOKEN = 4


def run(config: RunConfig, *, dry_run: bool) -> int:
    """Run and return the exit code: 0, or 1 where a part failed."""
    environment = dict(os.environ)
    launched = of_environment()
    count = launched.count if launched.count > 1 else wanted(config)
    processes = launched if launched.count > 1 else Processes(0, count, 0, count)
    quiet(config, processes)
    given = plan_given(config) if is_responses(config.model) else None
    plan = given.plan if given else make_plan(config)
    if given is None:
        check_backend(config)
    tasks = [task.task for task in plan.tasks]
    if dry_run:
        _print_plan(plan, config, Console(highlight=False))
        return 0
    check_judge(config, tasks)
    console = Console(stderr=True, highlight=False)
    for note in preset_notes(config) if not processes.helps else ():
        console.print(note, markup=False, soft_wrap=True)
    try:
        with stoppable():
            start = _starter(config, plan, given, load_judges(config, tasks))
            for folder in (config.store, config.out):
                check_writable(folder)
            with closing(open_for_run(config.store)) as store:
                display = SilentDisplay() if processes.helps else display_for(console)
                if count > launched.count:
                    display.say(
                        f"{count} processes share the work; shown is that of the first (--set processes=1 for one)"
                    )
                with helped(config, processes, environment) if launched.count == 1 else nullcontext():
                    started = start(store, display)
                    report = conduct(started, processes)
    except KeyboardInterrupt:
        console.print("mipo-bench: stopped. The same command goes on from here.", style="bold")
        return STOPPED
    if report is None:
        return 0
    write(report, config.out)
    if lines := unjudged(started.jury.unanswered()):
        write_atomically(config.out / TO_JUDGE, lines)
        console.print(f"{config.out / TO_JUDGE} holds what the file of verdicts lacks: label it and add it there.")
    show_terminal(report, Console(highlight=False))
    typer.echo(f"\nWritten to {config.out / REPORT_FILE} and report.md; run {run_id(report)}.")
    return exit_code(report)


def conduct(started: Run, processes: Processes) -> Report | None:
    """Compute, together with other processes on the store; the sealed report, which the store remembers.

    None in a process that only helps.
    """
    store = started.store
    store.claims.processes = processes.count
    if processes.helps:
        started.help()
        return None
    report = seal(started.execute())
    keys = [done.keys for done in started.evaluated]
    store.put_run(StoredRun(report.digest, report.created, to_json(report), keys))
    return report


def write(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.md`."""
    write_atomically(folder / REPORT_FILE, to_json(report))
    write_atomically(folder / "report.md", to_markdown(report))


def _starter(
    config: RunConfig, plan: Plan, given: Given | None, judges: Mapping[str, Assigned]
) -> Callable[[Store, Display], Run]:
    """What makes the run, once the store is open. Raises ModelError for a model that cannot be used."""
    if given is not None:
        counted = config.model_copy(update={"seeds": given.seeds})
        return lambda store, display: GivenRun(counted, given.plan, store, GivenEngine(given), display, judges)
    make = engine_maker(config)
    return lambda store, display: Run(config, plan, store, make(store), display, judges)


def exit_code(report: Report) -> int:
    """1 where an arm or an item failed, else 0."""
    return 1 if report.holes or any(arm.failed for arm in report.arms) else 0


def check_writable(folder: Path) -> None:
    """Raise StorageError where `folder` cannot be created or written to, or its disk is nearly full.

    The folder itself is not created: a run that is refused leaves nothing behind.
    """
    where = folder.absolute()
    while not os.path.lexists(where):
        where = where.parent
    try:
        if not where.is_dir():
            raise NotADirectoryError(f"{where} is not a folder")
        with tempfile.TemporaryFile(dir=where):
            free = shutil.disk_usage(where).free
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error}. Choose another with --out or --set store=DIR."
        ) from error
    if free < _FREE:
        raise StorageError(f"{folder}: only {free >> 20} MB are free on its disk, {_FREE >> 20} MB are needed.")


def quiet(config: RunConfig, processes: Processes) -> None:
    """Keep the libraries' own bars and notices off the screen, and the GPU and the thread count ours."""
    if config.device in ("auto", "cuda") and config.device_map is None:
        choose_gpu(processes, os.environ)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may round the same training otherwise
    os.environ.setdefault("OMP_NUM_THREADS", str(threads_each(processes, config.threads, usable_cores())))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin while they wait are slow beside others
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)


def _print_plan(plan: Plan, config: RunConfig, console: Console) -> None:
    """Arms, items, trainings and estimated tokens."""
    for note in preset_notes(config):
        console.print(note, markup=False, soft_wrap=True)
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
    for line in planned_judging(plan, config):
        console.print(Text(line))
    read, written = (sum(part) for part in zip(*(_tokens(t, plan, config) for t in plan.tasks), strict=True))
    console.print(Text(f"about {read:,} prompt tokens and at most {written:,} new tokens, less what the store has"))


def _tokens(task: TaskPlan, plan: Plan, config: RunConfig) -> tuple[int, int]:
    """Estimated prompt tokens (four characters each) and the most new tokens of a task's evaluation and pairs."""
    characters = answers = 0
    for arm in plan.arms:
        if arm.task == task.task.name and arm.baseline in plan.baselines:
            baseline = plan.baselines[arm.baseline]
            asked = cost(baseline, config.asking)
            characters += asked * sum(len(m.content) for item in task.items for m in baseline.messages(item))
            answers += asked * len(task.items)
    pairs = 2 * len(task.recipes) * config.seeds if task.training_items else 0
    if pairs:
        reference = plan.baselines[task.reference]
        characters += pairs * sum(len(m.content) for i in task.training_items for m in reference.messages(i))
    answers += pairs * len(task.training_items)
    return characters // _CHARACTERS_PER_TOKEN, answers * task.decoding.max_new_tokens
