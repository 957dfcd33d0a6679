"""Plans a run on a responses file (`--model RESPONSES.jsonl`): its arms are those of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.text import storable
from mipo_bench.harness.errors import ModelError, unknown
from mipo_bench.harness.exchange.match_documents import with_items
from mipo_bench.harness.exchange.responses_file import ResponseLine, read_responses, refuse
from mipo_bench.harness.planning.plan import Plan, TaskPlan, make_plan
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.protocols import AA_TWIN, Arm
from mipo_bench.harness.types import Item, Response


@dataclass(frozen=True)
class ExternalResponses:
    """The plan of a run on a responses file, the responses by `response_id`, and the notes on the file."""

    plan: Plan
    responses: Mapping[str, Response]
    counted: bool
    """Whether the file has the number of tokens of every response."""
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Digest of all responses: a file with other responses counts as another model."""
        given = sorted(self.responses.items())
        parts = ((name, r.text, r.n_tokens, r.finish, r.option_logprobs) for name, r in given)
        return digest(["responses", *(part for row in parts for part in row)])

    @property
    def seeds(self) -> int:
        """The largest number of training seeds of an arm; 1 if nothing is trained."""
        seeds = Counter((arm.task, arm.recipe) for arm in self.plan.arms if arm.recipe)
        return max(seeds.values(), default=1)


def response_id(arm: Arm, item: str) -> str:
    """The id of one response of the file: a digest of its arm and item."""
    twin = [AA_TWIN] if arm.aa_twin else []
    return digest([arm.task, arm.recipe, arm.baseline, arm.train_seed, item, *twin])


def plan_responses(config: RunConfig, plugins: Plugins | None = None) -> ExternalResponses:
    """Read the file that the configuration names as its model, and check it against the tasks.

    The tasks are those that the configuration names, else those that the file names. Raises ModelError for an unknown
    task or item, an item that occurs twice in an arm, and a task whose reference is missing.
    """
    file = Path(config.model)
    read = read_responses(file)
    tasks = config.tasks or tuple(dict.fromkeys(line.task for line in read.lines if line.task is not None))
    if not tasks:
        refuse(file, [f"{read.lines[0].number}: field 'task' is missing. Add it, or name the task with --task."])
    usual = {"tasks": tasks, "recipes": (), "baselines": (), "reference": {}}
    plan = make_plan(config.model_copy(update=usual), plugins)
    planned = [replace(p, reference=config.reference.get(p.task.name, p.reference)) for p in plan.tasks]
    lines = with_items(file, _with_tasks(file, read.lines, [p.task.name for p in planned]), planned)
    found = tuple(_task_plan(file, p, lines) for p in planned)
    references = {p.task.name: p.reference for p in found}
    arms = {line: _arm(line, references) for line in lines}
    refuse(file, _misfits(arms, found))
    ordered = sorted(dict.fromkeys(arms.values()), key=lambda arm: arm.recipe is not None)
    responses = {response_id(arm, line.item): _response(line) for line, arm in arms.items()}
    counted = all(line.n_tokens is not None for line in lines)
    plan = Plan(found, {}, {}, tuple(ordered), prompts_known=False, notes=plan.notes)
    return ExternalResponses(plan, responses, counted, tuple(read.notes(file)))


def _with_tasks(file: Path, lines: Sequence[ResponseLine], tasks: Sequence[str]) -> list[ResponseLine]:
    """The lines with their task, which the file of a single task may leave out. Raises ModelError."""
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


def _task_plan(file: Path, planned: TaskPlan, lines: Sequence[ResponseLine]) -> TaskPlan:
    """The task with its arms in the file. Raises ModelError if the reference is not one of them."""
    name = planned.task.name
    own = [line for line in lines if line.task == name]
    prompted = list(dict.fromkeys(line.arm for line in own if line.train_seed is None))
    prompted = [arm for arm in prompted if not arm.endswith(AA_TWIN)]
    trained = list(dict.fromkeys(line.arm for line in own if line.train_seed is not None))
    reference = planned.reference
    if reference not in prompted:
        raise ModelError(
            f"{file} has no arm {reference!r} without a train_seed for task {name!r}: the reference that others"
            f" are compared with. It has {', '.join(prompted) or 'none'}; add the arm, or choose another reference with"
            f" --set reference.{name}=ARM."
        )
    return replace(planned, training_items=(), baselines=tuple(prompted), recipes=tuple(trained))


def _arm(line: ResponseLine, references: Mapping[str, str]) -> Arm:
    task = str(line.task)
    if line.train_seed is None:
        return Arm(task, line.arm.removesuffix(AA_TWIN), aa_twin=line.arm.endswith(AA_TWIN))
    return Arm(task, references[task], recipe=line.arm, train_seed=line.train_seed)


def _misfits(arms: Mapping[ResponseLine, Arm], plans: Sequence[TaskPlan]) -> Iterator[str]:
    """A problem for each unknown or repeated item, and each arm with a train_seed or logprobs in some lines only."""
    items = {p.task.name: {item.id: item for item in p.task.items("eval")} for p in plans}
    both = {(p.task.name, arm) for p in plans for arm in {*p.baselines} & {*p.recipes}}
    first: dict[str, int] = {}
    chosen = {arm for line, arm in arms.items() if line.option_logprobs is not None}
    for line, arm in arms.items():
        earlier = first.setdefault(response_id(arm, line.item), line.number)
        if line.item not in items[arm.task]:
            yield f"{line.number}: task {arm.task!r} has no evaluation item {line.item!r}."
        elif earlier != line.number:
            yield f"{line.number}: arm {line.arm!r} answers item {line.item!r} again, first in line {earlier}."
        elif line.option_logprobs is not None and len(line.option_logprobs) != _asked(items[arm.task][line.item]):
            given, options = len(line.option_logprobs), _asked(items[arm.task][line.item])
            yield f"{line.number}: option_logprobs has {given} numbers; item {line.item!r} has {options} options."
        elif line.option_logprobs is None and arm in chosen and _asked(items[arm.task][line.item]):
            yield f"{line.number}: arm {line.arm!r} has option_logprobs in other lines, but not here."
        elif (arm.task, line.arm) in both:
            yield f"{line.number}: arm {line.arm!r} has a train_seed here, but not in other lines."


def _asked(item: Item) -> int:
    """The number of texts whose log-probabilities the item asks for."""
    return len(item.continuations or item.options)


def _response(line: ResponseLine) -> Response:
    words = len(line.response.split())
    n_tokens = words if line.n_tokens is None else line.n_tokens
    return Response(storable(line.response), 0, n_tokens, line.finish, line.option_logprobs)
