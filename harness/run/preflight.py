"""Preflight (`mipo-bench doctor`): checks before a run. They download, train and write nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from mipo_bench.harness.backends.select import backend_maker, check_backend
from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import check_writable
from mipo_bench.harness.core.git import git_state
from mipo_bench.harness.core.provenance import package_versions, usable_cores
from mipo_bench.harness.errors import UserError
from mipo_bench.harness.exchange.from_responses import plan_responses
from mipo_bench.harness.generators.model_folder import parameters
from mipo_bench.harness.generators.placement import Placement, resolve_placement
from mipo_bench.harness.judging.assign import check_judge, load_judge
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.planning.task_choice import choose_tasks
from mipo_bench.harness.plugins.import_check import check_imports
from mipo_bench.harness.plugins.optional import data_state, is_judged, uses_data
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.task_data import data_name, on_data
from mipo_bench.harness.run.on_cluster import examine_cluster
from mipo_bench.harness.run.preflight_model import build_model, find_model
from mipo_bench.harness.run.publish import REPORT_FILES
from mipo_bench.harness.startup.check import examine_start
from mipo_bench.harness.startup.cost import planned_judging
from mipo_bench.harness.startup.findings import Finding, State
from mipo_bench.harness.store.file_system import check_local
from mipo_bench.harness.types import DataState, Task

_FOUR_BYTES, _TWO_BYTES = 4, 2


def examine(config: RunConfig) -> Iterator[Finding]:
    """Check packages, cluster, device, model, tasks with their data, disk and git, in this order."""
    yield from _packages()
    try:
        check_imports([include.path for include in config.include])
    except UserError as error:
        yield Finding("tasks", "fail", str(error))
        return
    if config.cluster.address is not None:
        yield from _guarded("cluster", lambda: examine_cluster(config))
    if not config.source.has_weights:
        plan = yield from _external_source(config)
        yield from _disk(config, plan, None)
        yield _git(config)
        return
    placement = None
    try:
        placement = resolve_placement(config)
        yield _device(placement, config)
    except UserError as error:
        yield _no_device(config, error)
    with tempfile.TemporaryDirectory() as scratch:
        folder = yield from find_model(config, Path(scratch))
        plan = yield from _tasks(config)
        if folder and placement:
            yield from _guarded("model", lambda: build_model(folder, placement, config))
            yield from examine_start(folder, placement, config, plan)
        yield from _disk(config, plan, folder, placement)
    yield _git(config)


def _external_source(config: RunConfig) -> Generator[Finding, None, Plan | None]:
    """Check a responses file or a server. Returns the plan as the generator's value, None where there is no plan."""
    if config.source.kind == "responses":
        try:
            plan = plan_responses(config).plan
        except UserError as error:
            yield from (Finding("model", "fail", line) for line in str(error).splitlines())
            return None
        yield Finding("model", "ok", f"{config.model} has responses of {len(plan.arms)} arms; the run loads no model")
        return plan
    try:
        check_backend(config)
        backend_maker(config)
        yield Finding("model", "ok", f"backend {config.backend} for {config.model}: its checks pass")
    except UserError as error:
        yield Finding("model", "fail", str(error))
    return (yield from _tasks(config))


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    versions = package_versions()
    yield Finding("packages", "ok", ", ".join(f"{name} {number}" for name, number in versions.items()))
    for text in requires("mipo-bench") or ():
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield Finding("packages", "fail", f"{requirement.name} is not installed: pip install '{text}'")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield Finding("packages", "fail", f"{requirement.name} {installed} is not supported: pip install '{text}'")


def _device(placement: Placement, config: RunConfig) -> Finding:
    import torch

    name = torch.cuda.get_device_name(placement.device) if placement.device.startswith("cuda") else placement.device
    threads = "" if placement.device.startswith("cuda") else f", {config.threads or usable_cores()} threads"
    return Finding(
        "device", "ok", f"{name}{threads}, {placement.dtype}, batch size {placement.batch_size or 'automatic'}"
    )


def _no_device(config: RunConfig, error: UserError) -> Finding:
    if config.cluster.address is None:
        return Finding("device", "fail", str(error))
    return Finding("device", "warn", f"{error} That is said of this machine; the hosts of the cluster compute")


def _tasks(config: RunConfig) -> Generator[Finding, None, Plan | None]:
    """Check tasks, data and judge. Returns the plan of the tasks with data as the generator's value, or None."""
    try:
        plugins = load_plugins([include.path for include in config.include])
        choice = choose_tasks(config, plugins)
        absent = yield from _data(config, [on_data(task, config.data) for task in choice.tasks.values()])
        if absent and not choice.problems and len(absent) == len(choice.tasks):
            return None
        plan = make_plan(_without(config, absent, choice.tasks) if absent else config, plugins)
        yield from (Finding("tasks", "warn", note) for note in dict.fromkeys((*choice.notes, *plan.notes)))
    except UserError as error:
        for line in str(error).splitlines():
            yield Finding("tasks", "fail", line)
        return None
    for task in plan.tasks:
        trained = f", {len(task.training_items)} training items for {', '.join(task.recipes)}" if task.recipes else ""
        yield Finding("tasks", "ok", f"{task.task.name}: {len(task.items)} items{trained}")
    if any(is_judged(task.task) for task in plan.tasks):
        yield from _guarded("judge", lambda: _judge(config, plan))
    return plan


def _judge(config: RunConfig, plan: Plan) -> Finding:
    """Check that every judged task has a judge, and that a judge on a server can be reached."""
    check_judge(config, [task.task for task in plan.tasks])
    for spec in map(JudgeSpec.parse, config.judge.names):
        if spec.kind == "server":
            load_judge(spec, config)
    return Finding("judge", "ok", "; ".join(planned_judging(plan, config)))


def _data(config: RunConfig, tasks: Sequence[Task]) -> Generator[Finding, None, set[str]]:
    """Check that data sets are on this machine. Returns the tasks without data as the generator's value."""
    absent: dict[str, DataState] = {}
    for task in tasks:
        if state_and_text := data_state(task):
            state, text = state_and_text
            if state != "ok":
                absent[task.name] = state
            skipped = state == "missing" and config.skip_missing
            found: State = "warn" if skipped else "fail" if state == "missing" else state
            yield Finding("data", found, f"{task.name}: {'left out (--skip-missing): ' if skipped else ''}{text}")
    if config.skip_missing and len(absent) == len(tasks) and set(absent.values()) == {"missing"}:
        yield Finding("tasks", "fail", "--skip-missing: no task is left, because the data of every task is missing.")
    return set(absent)


def _without(config: RunConfig, absent: set[str], chosen: Mapping[str, Task]) -> RunConfig:
    """The configuration without some tasks, and without data folders that no other task reads."""
    names = [name for name in config.tasks or chosen if name not in absent]
    reading = {data_name(chosen[name], config.data) for name in names if name in chosen and uses_data(chosen[name])}
    data = {name: folder for name, folder in config.data.items() if name in reading}
    return config.model_copy(update={"tasks": tuple(names), "data": data})


def _guarded(what: str, check: Callable[[], Finding]) -> Iterator[Finding]:
    """Run a check; a user error of it is a finding."""
    try:
        yield check()
    except UserError as error:
        yield Finding(what, "fail", str(error))


def _disk(
    config: RunConfig, plan: Plan | None, folder: Path | None, placement: Placement | None = None
) -> Iterator[Finding]:
    needs = _disk_needs(plan, folder, placement) if folder and placement else {}
    for where in (config.store, config.out):
        try:
            check_writable(where, REPORT_FILES if where == config.out else ())
            if where == config.store:
                check_local(where)
        except UserError as error:
            yield Finding("disk", "fail", str(error))
            continue
        free = shutil.disk_usage(_existing(where)).free
        wanted = sum(needs.values()) if where == config.store else 0
        text = f"{where}: {free / 1e9:.0f} GB free"
        text += f", about {wanted / 1e9:.1f} GB for {' and '.join(needs)}" if wanted else ""
        yield Finding("disk", "fail" if free < wanted else "ok", text)


def _disk_needs(plan: Plan | None, folder: Path, placement: Placement) -> dict[str, int]:
    """The things that the run adds to its store, with their bytes."""
    trainings = sum(arm.recipe is not None for arm in plan.arms) if plan else 0
    needs = {f"{trainings} checkpoints": trainings * _checkpoint_bytes(folder, placement)} if trainings else {}
    undone = not any(folder.glob("*.safetensors"))
    return needs | ({"the dequantised model": parameters(folder) * _FOUR_BYTES} if undone else {})


def _checkpoint_bytes(folder: Path, placement: Placement) -> int:
    """Size of a checkpoint: the store keeps it in the number format of inference."""
    return parameters(folder) * (_FOUR_BYTES if placement.dtype == "float32" else _TWO_BYTES)


def _existing(folder: Path) -> Path:
    return next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())


def _git(config: RunConfig) -> Finding:
    state = git_state(Path.cwd(), (config.out, config.store))
    if state is None:
        return Finding("git", "warn", "no git commit here: the report names none, and `diff` cannot find it by commit")
    if state.dirty:
        return Finding("git", "warn", f"commit {state.commit[:10]} with uncommitted changes: the report records them")
    return Finding("git", "ok", f"commit {state.commit[:10]}, clean")


def can_start(findings: Sequence[Finding]) -> bool:
    """Whether no check failed."""
    return all(finding.state != "fail" for finding in findings)
