"""Runs on responses that were produced elsewhere (`--model RESPONSES.jsonl`): scored and compared, nothing is loaded.

The arms are the file's. Those with a training seed are trained: they form the primary family against the task's
reference, which must be one of the file's arms; all others are prompting arms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mipo_bench.harness.backends.hf import Trained
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.provenance import digest, file_digest
from mipo_bench.harness.core.text import storable
from mipo_bench.harness.errors import ModelError, unknown
from mipo_bench.harness.evaluation.arm_answers import Evaluated, Weights
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.generators.responses_file import Line, read_responses, refuse
from mipo_bench.harness.planning.plan import Plan, TaskPlan, make_plan
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Arm, Continuations, Generator, Likelihood, Message, Prompt, Request, Response


@dataclass(frozen=True, slots=True)
class Given:
    """The plan of a run on given responses, the responses by arm and item (see `key`), and the file's digest."""

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


def key(arm: Arm, item: str) -> str:
    """What identifies one response of the file."""
    return digest([arm.task, arm.recipe, arm.baseline, arm.train_seed, item])


def plan_given(config: RunConfig, plugins: Plugins | None = None) -> Given:
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
    responses = {key(arm, line.item): _response(line) for line, arm in arms.items()}
    counted = all(line.n_tokens is not None for line in lines)
    return Given(Plan(found, {}, {}, tuple(ordered)), responses, file_digest(file), counted)


def _with_tasks(file: Path, lines: Sequence[Line], tasks: Sequence[str]) -> list[Line]:
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


def _task_plan(file: Path, planned: TaskPlan, lines: Sequence[Line], config: RunConfig) -> TaskPlan:
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


def _arm(line: Line, references: Mapping[str, str]) -> Arm:
    task = str(line.task)
    if line.train_seed is None:
        return Arm(task, line.arm)
    return Arm(task, references[task], recipe=line.arm, train_seed=line.train_seed)


def _misfits(arms: Mapping[Line, Arm], plans: Sequence[TaskPlan]) -> Iterator[str]:
    """Lines with an unknown item, an item that the arm has already, or an arm that is trained only at times."""
    items = {p.task.name: {item.id for item in p.task.items("eval")} for p in plans}
    both = {(p.task.name, arm) for p in plans for arm in {*p.baselines} & {*p.recipes}}
    first: dict[str, int] = {}
    for line, arm in arms.items():
        again = first.setdefault(key(arm, line.item), line.number)
        if line.item not in items[arm.task]:
            yield f"{line.number}: task {arm.task!r} has no evaluation item {line.item!r}."
        elif again != line.number:
            yield f"{line.number}: arm {line.arm!r} answers item {line.item!r} again, first in line {again}."
        elif (arm.task, line.arm) in both:
            yield f"{line.number}: arm {line.arm!r} is here with a train_seed and there without one."


def _response(line: Line) -> Response:
    words = len(line.response.split())
    return Response(storable(line.response), 0, words if line.n_tokens is None else line.n_tokens, "stop")


class GivenGenerator:
    """Answers with what the file has under the request's prompt, which is the `key` of arm and item."""

    def __init__(self, given: Given) -> None:
        """Its digest is the file's: other responses are another model."""
        self.given = given
        self.digest = given.digest

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:  # noqa: ARG002 - no model, no template
        """The chat as it is."""
        return Prompt(tuple(messages), "\n".join(m.content for m in messages))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        missing = Response("the file has no response", 0, 0, "failed")
        for position, request in enumerate(requests):
            yield position, self.given.responses.get(request.prompt, missing)

    def likelihoods(self, asked: Sequence[Continuations]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Nothing can be asked of a file. Raises ModelError."""
        raise ModelError(f"{len(asked)} likelihoods are wanted of a file of responses; give a model.")


class GivenEngine:
    """Stands where a model would. It trains nothing."""

    backend = "responses"
    device = "none"
    dtype = "none"

    def __init__(self, given: Given) -> None:
        """Remember the responses."""
        self.model_digest = given.digest
        self._generator = GivenGenerator(given)
        counted = [] if given.counted else ["lengths are counted in words where the file gives no n_tokens"]
        self.notes = [*counted, "the responses were produced elsewhere: prompts and decoding are not known"]

    @property
    def base(self) -> Generator:
        """The file as a generator."""
        return self._generator

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> Trained:  # noqa: ARG002
        """Raise ModelError: a file cannot be trained."""
        raise ModelError(f"{arm.recipe}: a file of responses cannot be trained; give a model.")

    def unload(self) -> None:
        """Nothing is loaded here."""


class GivenRun(Run):
    """A run whose arms, trained ones too, are answered by the file."""

    def _ahead(self) -> None:
        """Nothing: a file answers each arm at once."""

    def _trained(self, task: TaskPlan, arm: Arm) -> None:
        self._evaluate(task, arm, self.engine.base, self.engine.model_digest)

    def _evaluate(self, task: TaskPlan, arm: Arm, generator: Generator, weights: str) -> None:
        with self._stage(arm, "evaluation", "responses") as stage:
            requests = {item.id: Request(key(arm, item.id), 0, task.decoding) for item in task.items}
            done = Evaluated(task, arm, Weights(generator, weights), requests, {})
            done.settle(answer(generator, list(requests.values()), self.store, stage))
            self.evaluated.append(done)
