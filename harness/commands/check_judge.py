"""`mipo-bench check-judge`: compares a judge with labels, and prints and writes the agreement."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import check_writable, write_atomically
from mipo_bench.harness.core.progress import display_for
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.judging.assign import AssignedJudge, load_judge, load_judges
from mipo_bench.harness.judging.validation import Labels, check, labels_in, labels_of
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.optional import is_judged
from mipo_bench.harness.run.environment import prepare_process, silence_libraries
from mipo_bench.harness.run.interrupt import EXIT_INTERRUPTED
from mipo_bench.harness.run.launch import rank_of_this_process
from mipo_bench.harness.store.rescue import open_for_run
from mipo_bench.reports.pages.judges import checks
from mipo_bench.reports.pages.page import Page, Section
from mipo_bench.reports.records.judges import JudgeRecord, ValidationFile
from mipo_bench.reports.render.print_page import print_page


def run_check(config: RunConfig, labels: Path | None, write: Path) -> int:
    """Check the judge. Exit code 0; 1 if it was not shown to be better than chance; 130 if interrupted."""
    silence_libraries()
    prepare_process(config, rank_of_this_process())
    _one_judge(config)
    data, assigned = _on_file(config, labels) if labels else _on_task(config)
    for folder in (config.store, write.absolute().parent):
        check_writable(folder)
    console = Console(stderr=True, highlight=False)
    try:
        with closing(open_for_run(config.store)) as store:
            store.claims.join()
            with display_for(console).stage(f"{data.name}: judging", "verdicts") as stage:
                found = check(assigned, data, config.judge, store, stage)
    except KeyboardInterrupt:
        console.print("mipo-bench: stopped. The same command goes on from here.", style="bold")
        return EXIT_INTERRUPTED
    write_atomically(write, _file(found))
    better = _better_than_chance(found)
    print_page(_page(found, assigned, better=better))
    sys.stdout.write(f"\nWritten to {write}; `mipo-bench run --set judge.validation_file={write}` takes it.\n")
    return 0 if better else 1


def _one_judge(config: RunConfig) -> None:
    """Raise ConfigError if several judges are named."""
    if config.judge.others:
        named = ", ".join(config.judge.names)
        raise ConfigError(f"check-judge checks one judge at a time, not {named}: run it for each.")


def _on_task(config: RunConfig) -> tuple[Labels, AssignedJudge]:
    """The labels of the one judged task that is named, and its judge. Raises ConfigError for any other task."""
    if len(config.tasks) != 1:
        raise ConfigError("name one judged task with --task, or a file of labelled comparisons with --labels.")
    untrained = config.model_copy(update={"recipes": (), "judge": _unvalidated(config)})
    task = make_plan(untrained).tasks[0].task
    if not is_judged(task):
        raise ConfigError(f"task {task.name!r} has its own score and needs no judge.")
    return labels_of(task, config.limit), load_judges(untrained, [task])[task.name]


def _on_file(config: RunConfig, labels: Path) -> tuple[Labels, AssignedJudge]:
    if config.tasks:
        raise ConfigError("--task and --labels exclude each other: a judge is compared with one or the other.")
    if config.judge.spec is None:
        raise ConfigError("--labels needs a judge: name one with --judge.")
    return labels_in(labels, config.limit), load_judge(config.judge.spec, config)


def _unvalidated(config: RunConfig) -> object:
    """The judge settings without an earlier validation, which says nothing about this one."""
    return config.judge.model_copy(update={"validation_file": None})


def _better_than_chance(found: JudgeRecord) -> bool:
    """Whether kappa's interval is above 0; perfect agreement has no interval."""
    v = found.validation
    if v is None or v.kappa is None:
        return False
    return v.kappa == 1 if v.kappa_low is None else v.kappa_low > 0


def _page(found: JudgeRecord, assigned: AssignedJudge, *, better: bool) -> Page:
    head = [f"judge {found.name} ({found.kind}, {found.digest[:10]}), {found.protocol}, on the labels of {found.task}"]
    head += [f"! {note}" for note in (*assigned.notes, *(warning.message for warning in found.warnings))]
    answer = "The judge agrees with the labels better than chance would."
    if not better:
        answer = "The judge was not shown to agree with the labels better than chance would."
    return Page("check-judge", tuple(head), (Section(found.task, (checks(found),)),), conclusions=(answer,))


def _file(found: JudgeRecord) -> str:
    if found.validation is None:
        raise ValueError("a check always has a validation")
    file = ValidationFile(
        format="mipo-bench judge validation 1",
        name=found.name,
        digest=found.digest,
        protocol=found.protocol,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        validation=found.validation,
    )
    return file.model_dump_json(indent=1) + "\n"
