"""The plan of a run on a responses file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest, file_digest
from mipo_bench.harness.core.text import storable
from mipo_bench.harness.errors import ModelError, unknown
from mipo_bench.harness.generators.responses_file import ResponseLine, read_responses, refuse
from mipo_bench.harness.planning.plan import Plan, TaskPlan, make_plan
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.types import Response


@dataclass(frozen=True, slots=True)
class ExternalResponses:
    """The plan of a run on given responses, the responses by arm and item (see `response_id`), the file's digest."""

    plan: Plan
    responses: Mapping[str, Response]
    digest: str
    counted: bool
    """Whether the file gives the number of tokens of every response."""

    @property
    def seeds(self) -> int:
        """The most training seeds that an arm has; 1 where nothing is trained."""
        seeds = Counter((arm.task, arm.recipe) for arm in self.plan.arms if arm.recipe)
        return max(seeds.values(), default=1)


def response_id(arm: Arm, item: str) -> str:
    """What identifies one response of the file."""
    return digest([arm.task, arm.recipe, arm.baseline, arm.train_seed, item])


def plan_responses(config: RunConfig, plugins: Plugins | None = None) -> ExternalResponses:
    """Read the file that the configuration names as its model, and hold it against the tasks.

    The tasks are those that the configuration names, else those that the file names. Raises ModelError for lines with
    unknown tasks or items, or an item twice, and where a task's reference is missing.
    """
    file = Path(config.model)
    lines = read_responses(file)
    tasks = config.tasks or tuple(dict.fromkeys(line.task for line in lines if line.task is not None))
    usual = {"tasks": tasks, "recipes": (), "baselines": (), "reference": {}}
    plan = make_plan(config.model_copy(update=usual), plugins)
    lines = _with_tasks(file, lines, [t.task.name for t in plan.tasks])
    found = tuple(_task_plan(file, planned, lines, config) for planned in plan.tasks)
    references = {planned.task.name: planned.reference for planned in found}
    arms = {line: _arm(line, references) for line in lines}
    refuse(file, _misfits(arms, found))
    ordered = sorted(dict.fromkeys(arms.values()), key=lambda arm: arm.recipe is not None)
    responses = {response_id(arm, line.item): _response(line) for line, arm in arms.items()}
    counted = all(line.n_tokens is not None for line in lines)
    return ExternalResponses(Plan(found, {}, {}, tuple(ordered)), responses, file_digest(file), counted)


def _with_tasks(file: Path, lines: Sequence[ResponseLine], tasks: Sequence[str]) -> list[ResponseLine]:
    """The lines with their task, where the file may leave it out. Raises ModelError."""
    problems = [
        f"{line.number}: {unknown('task of this run', line.task, tasks)}"
        for line in lines
        if line.task and line.task not in tasks
    ]
    if len(tasks) > 1:
        problems += [
            f"{line.number}: field 'task' is missing; this run has {len(tasks)} tasks."
            for line in lines
            if line.task is None
        ]
    refuse(file, problems)
    return [replace(line, task=line.task or tasks[0]) for line in lines]


def _task_plan(file: Path, planned: TaskPlan, lines: Sequence[ResponseLine], config: RunConfig) -> TaskPlan:
    """The task with the arms that the file has for it. Raises ModelError where the reference is not among them."""
    name = planned.task.name
    own = [line for line in lines if line.task == name]
    prompted = list(dict.fromkeys(line.arm for line in own if line.train_seed is None))
    trained = list(dict.fromkeys(line.arm for line in own if line.train_seed is not None))
    reference = config.reference.get(name, planned.task.reference)
    if reference not in prompted:
        raise ModelError(
            f"{file} has no arm {reference!r} without a train_seed for task {name!r}: the reference that others"
            f" are compared with. It has {', '.join(prompted) or 'none'}; add the arm, or choose another reference with"
            f" --set reference.{name}=ARM."
        )
    return replace(planned, training_items=(), reference=reference, baselines=tuple(prompted), recipes=tuple(trained))


def _arm(line: ResponseLine, references: Mapping[str, str]) -> Arm:
    task = str(line.task)
    if line.train_seed is None:
        return Arm(task, line.arm)
    return Arm(task, references[task], recipe=line.arm, train_seed=line.train_seed)


def _misfits(arms: Mapping[ResponseLine, Arm], plans: Sequence[TaskPlan]) -> Iterator[str]:
    """Lines with an unknown item, an item that the arm has already, or an arm that is trained only at times."""
    items = {p.task.name: {item.id for item in p.task.items("eval")} for p in plans}
    both = {(p.task.name, arm) for p in plans for arm in {*p.baselines} & {*p.recipes}}
    first: dict[str, int] = {}
    for line, arm in arms.items():
        again = first.setdefault(response_id(arm, line.item), line.number)
        if line.item not in items[arm.task]:
            yield f"{line.number}: task {arm.task!r} has no evaluation item {line.item!r}."
        elif again != line.number:
            yield f"{line.number}: arm {line.arm!r} answers item {line.item!r} again, first in line {again}."
        elif (arm.task, line.arm) in both:
            yield f"{line.number}: arm {line.arm!r} is here with a train_seed and there without one."


def _response(line: ResponseLine) -> Response:
    words = len(line.response.split())
    return Response(storable(line.response), 0, words if line.n_tokens is None else line.n_tokens, "stop")
