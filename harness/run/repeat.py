"""A run whose inputs are those of a finished one: its report is taken from the store, and nothing is computed.

The key of a run covers everything that decides its report: settings, the package's own code and data, the versions of
what it depends on, the model's files, where and in which numbers it is computed, and the items of tasks that read data.
A report with a failure is computed again. So is one of a run with a judge, with a server, or with plugins of others,
whose inputs are not all known here.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from importlib.resources import files
from pathlib import Path

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.file_locks import startup_lock
from mipo_bench.harness.core.files import check_writable
from mipo_bench.harness.core.hashing import digest, file_digest, model_digest
from mipo_bench.harness.core.provenance import hardware
from mipo_bench.harness.errors import DataError, StorageError
from mipo_bench.harness.generators.model_folder import check_model, resolve_model
from mipo_bench.harness.generators.placement import resolve_placement
from mipo_bench.harness.planning.task_choice import choose_tasks
from mipo_bench.harness.plugins.optional import is_judged, uses_data
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.task_data import data_problems, on_data
from mipo_bench.harness.run.environment import prepare_process
from mipo_bench.harness.run.launch import Processes, pop_launcher_rank
from mipo_bench.harness.run.publish import REPORT_FILES
from mipo_bench.harness.run.stages.provenance import provenance
from mipo_bench.harness.run.workers import worker_count
from mipo_bench.harness.store.database import has_database
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.store.upkeep.verify import holds
from mipo_bench.harness.types import ExternalTask, Task
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import SealedReport, parse_report, sealed

REPEAT_VERSION = "repeat-1"
_PARTS = ("harness", "reports", "tasks", "baselines")
_OWN = "mipo-bench "
"""The beginning of the label of the package's own plugins, which is followed by its version."""


def repeated(config: RunConfig) -> SealedReport | None:
    """The report of an unchanged run, with today's date and commit; None where there is something to compute.

    The store keeps it as a run of its own. Every row and checkpoint that the earlier run used is compared with its
    digest, as in any run.
    """
    if pop_launcher_rank(dict(os.environ)).count > 1 or not has_database(config.store):
        return None
    key = run_key(config)
    if key is None:
        return None
    try:
        with startup_lock(config.store), closing(Store(config.store)) as store:
            store.database.check()
            return _repeated(store, key, config)
    except StorageError:
        return None  # a run that computes repairs the store, or says what is wrong


def _repeated(store: Store, key: str, config: RunConfig) -> SealedReport | None:
    name = store.memo(key)
    run = next(iter(store.runs(name)), None) if isinstance(name, str) else None
    if run is None or run.used is None or not holds(store, run.used):
        return None
    check_writable(config.out, REPORT_FILES)
    found = _dated(parse_report(run.report, f"run {run.id}"), config)
    again = StoredRun(found.report.digest, found.report.created, found.text, run.keys, run.used)
    store.put_memo(key, again.id)
    store.put_run(again)
    return found


def remember_run(store: Store, key: str | None, run: StoredRun, report: Report) -> None:
    """Let the next run with this key take the report, unless a part of it failed or had been damaged."""
    failed = report.failures or any(arm.failed for arm in report.arms)
    if key is not None and not failed and not store.damaged:
        store.put_memo(key, run.id)


def run_key(config: RunConfig) -> str | None:
    """The content key of a run; None for a run that is not repeated (see the module)."""
    if config.source.kind != "own" or config.include or config.judge.spec is not None or config.cluster.address:
        return None
    check_model(config.model)
    plugins = load_plugins()
    choice = choose_tasks(config, plugins)
    tasks = list(choice.tasks.values())
    if choice.problems or data_problems(config.data, tasks) or not all(map(_known, tasks)):
        return None
    if not all(origin.label.startswith(_OWN) for origin in plugins.origins.values()):
        return None
    prepare_process(config, Processes(0, count := worker_count(config), 0, count))
    weights, placement = model_digest(resolve_model(config.model, config.store)), resolve_placement(config)
    try:
        data = [part for task in tasks for part in _data(task, config)]
    except DataError:
        return None  # planning names it, together with that of other tasks
    settings = (config.result_hash(), config.skip_missing, weights, *placement.generation_key, placement.thought_tags)
    return digest(["run", REPEAT_VERSION, *settings, *_versions(), *_code(), *data])


def _known(task: Task) -> bool:
    """Whether code and items of the task are all that its scores depend on."""
    return not is_judged(task) and not isinstance(task, ExternalTask)


def _data(task: Task, config: RunConfig) -> Iterator[object]:
    """The items of a task that reads data; those of any other are in its code."""
    if uses_data(task):
        task = on_data(task, config.data)
        yield from (task.name, *task.items("eval"), "|")
        yield from task.items("train") if config.recipes != () else ()


def _versions() -> Iterator[str]:
    """Python and every package that this one requires, each with its metadata, of which the version is a part."""
    yield f"{platform.python_implementation()} {platform.python_version()} {platform.machine()} {platform.system()}"
    for requirement in sorted(requires("mipo-bench") or ()):
        name = requirement.partition(";")[0]
        name = "".join(c if c.isalnum() or c in "-_." else " " for c in name).split()[0]
        try:
            yield f"{name} {distribution(name).read_text('METADATA') or version(name)}"  # unread: parsing takes longer
        except PackageNotFoundError:
            continue  # of an extra that is not installed


def _code() -> Iterator[str]:
    """Every file of the package but the embedded model, which is a model like any other."""
    for part in _PARTS:
        root = Path(str(files(f"mipo_bench.{part}")))
        for file in sorted(root.rglob("*")):
            inside = file.relative_to(root)
            if file.is_file() and "__pycache__" not in inside.parts and inside.parts[:2] != ("embedded", "model"):
                yield from (f"{part}/{inside}", file_digest(file))


def _dated(report: Report, config: RunConfig) -> SealedReport:
    changed: Mapping[str, object] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json", exclude={"store", "out"}),
        "provenance": provenance(config, hardware(report.model.device)),
    }
    return sealed(report.model_copy(update=changed))
