"""Plans a run: its tasks, and the arms on each of them. Only plugins are loaded, no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.text import all_storable
from mipo_bench.harness.errors import ConfigError, DataError, MissingDataError, PluginError, UserError, unknown
from mipo_bench.harness.planning.grid import recipe_name, variants
from mipo_bench.harness.planning.task_choice import choose_tasks
from mipo_bench.harness.plugins.optional import objective_of, repeats, runs_by_default
from mipo_bench.harness.plugins.registry import Plugins, load_plugins
from mipo_bench.harness.plugins.task_data import data_problems, on_data
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.training.distributed.check import check_objectives
from mipo_bench.harness.types import (
    Baseline,
    ContrastedBaseline,
    Decoding,
    ExternalTask,
    Item,
    Recipe,
    SteppedBaseline,
    Task,
)
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag

ALL = "all"
"""Name for every baseline or recipe that applies, including those that do not run by default."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task with its items, baselines, recipes and decoding settings."""

    task: Task
    items: tuple[Item, ...]
    training_items: tuple[Item, ...]
    reference: str
    baselines: tuple[str, ...]
    recipes: tuple[str, ...]
    decoding: Decoding
    thought_tags: Sequence[ThoughtTag] = THOUGHT_TAGS


@dataclass(frozen=True, slots=True)
class Plan:
    """All tasks and arms, and the plugins that the arms name. `recipes` maps methods to recipes (see `grid`)."""

    tasks: tuple[TaskPlan, ...]
    baselines: Mapping[str, Baseline]
    recipes: Mapping[str, Recipe]
    arms: tuple[Arm, ...]
    prompts_known: bool = True
    """False for a responses file: its responses were produced elsewhere, under prompts that it does not contain."""
    notes: tuple[str, ...] = ()
    """Notes on the choice of the tasks, for the report."""

    def arms_of(self, task: str, *, trained: bool) -> list[Arm]:
        """The arms of a task, on the base model or on checkpoints."""
        return [a for a in self.arms if a.task == task and (a.recipe is not None) == trained]


def make_plan(config: RunConfig, plugins: Plugins | None = None) -> Plan:
    """Choose tasks, baselines and recipes from `plugins`, by default those that are installed and included.

    Raises ConfigError with all names that are unknown or do not apply, PluginError for a broken plugin.
    """
    plugins = plugins or load_plugins([include.path for include in config.include])
    baselines, recipes = plugins.baselines, plugins.recipes
    choice = choose_tasks(config, plugins)
    tasks = choice.tasks
    problems = [*choice.problems, *data_problems(config.data, tasks.values())]
    problems += [unknown("task", t, plugins.tasks) for t in config.reference if t not in {*plugins.tasks, *tasks}]
    problems += [unknown("baseline", b, baselines) for b in config.baselines or () if b not in {*baselines, ALL}]
    problems += [unknown("baseline", b, baselines) for b in config.reference.values() if b not in baselines]
    problems += [unknown("recipe", r, recipes) for r in config.recipes or () if r not in {*recipes, ALL}]
    known = {*baselines, *recipes}
    problems += [
        unknown("arm of information.arms", a, known)
        for a in config.information.arms or ()
        if recipe_name(a) not in known
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    if not tasks:
        installed = ", ".join(sorted(plugins.tasks)) or "none"
        raise ConfigError(
            "\n".join(
                [
                    f"suite {config.suite!r} has no task for model {config.model} that runs by default. Installed:"
                    f" {installed}.",
                    *choice.notes,
                ]
            )
        )
    plans, left_out = _plans(list(tasks.values()), config, plugins)
    _check_used(config, plans)
    methods = {m: recipes[recipe_name(m)] for p in plans for m in p.recipes}
    check_objectives(config, ((method, objective_of(recipe)) for method, recipe in methods.items()))
    arms = tuple(a for p in plans for a in _arms(p, config))
    return Plan(plans, baselines, methods, arms, notes=(*choice.notes, *left_out))


def _check_used(config: RunConfig, plans: Sequence[TaskPlan]) -> None:
    """Raise ConfigError if a baseline or recipe that the user named applies to no task of the run."""
    unused = {*(config.baselines or ())} - {b for p in plans for b in p.baselines}
    unused |= {*(config.recipes or ())} - {recipe_name(r) for p in plans for r in p.recipes}
    unused -= {ALL}
    if unused:
        tasks = ", ".join(p.task.name for p in plans)
        bare = [p.task.name for p in plans if config.recipes and not p.training_items]
        untrained = f" Without training items, and so without recipes: {', '.join(bare)}." if bare else ""
        raise ConfigError(f"{', '.join(sorted(unused))}: does not apply to any task of this run ({tasks}).{untrained}")


def _plans(tasks: Sequence[Task], config: RunConfig, plugins: Plugins) -> tuple[tuple[TaskPlan, ...], list[str]]:
    """The plan of every task, and a note on those that are left out, because their data is missing.

    Raises the first error; missing and malformed data of several tasks are one error.
    """
    plans: list[TaskPlan] = []
    missing: dict[str, MissingDataError] = {}
    malformed: list[str] = []
    for task in tasks:
        try:
            plans.append(_guarded(task, config, plugins.baselines, plugins.recipes))
        except MissingDataError as error:
            missing[task.name] = error
        except DataError as error:
            malformed.append(str(error))
    if malformed or (missing and not (config.skip_missing and plans)):
        raise DataError("\n".join([*malformed, *map(str, missing.values()), *_way_out(config, missing, plans)]))
    return tuple(plans), _left_out(missing)


def _left_out(missing: Mapping[str, MissingDataError]) -> list[str]:
    """A note on the tasks that the run leaves out, by reason; none if there are none."""
    by_reason: dict[str, list[str]] = {}
    for name, error in missing.items():
        by_reason.setdefault(error.reason, []).append(name)
    parts = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    return [f"left out, because their data is missing (--skip-missing): {'; '.join(parts)}"] if parts else []


def _way_out(config: RunConfig, missing: Mapping[str, DataError], plans: Sequence[TaskPlan]) -> list[str]:
    """A line on what --skip-missing does, or would do, about missing data."""
    if not missing:
        return []
    if config.skip_missing and not plans:
        return ["--skip-missing: no task is left, because the data of every task is missing."]
    if config.skip_missing or not plans:
        return []
    return [f"To go on without these tasks, give --skip-missing: it runs {', '.join(p.task.name for p in plans)}."]


def _guarded(
    task: Task, config: RunConfig, baselines: Mapping[str, Baseline], recipes: Mapping[str, Recipe]
) -> TaskPlan:
    try:
        return _task_plan(on_data(task, config.data), config, baselines, recipes)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"task {task.name!r} cannot be planned: {type(error).__name__}: {error}") from error


def _task_plan(
    task: Task, config: RunConfig, baselines: Mapping[str, Baseline], recipes: Mapping[str, Recipe]
) -> TaskPlan:
    items = tuple(task.items("eval"))
    training = tuple(task.items("train")) if config.recipes != () else ()  # a data set may lack what no recipe needs
    if not items:
        raise ConfigError(f"task {task.name!r} has no evaluation items.")
    for split in (items, training):
        _check_texts(task.name, split)
    _check_disjoint(task.name, items, training)
    fitting = [n for n, b in sorted(baselines.items()) if b.applies(task, items[0]) and can_ask(b, task, items[0])]
    usable = sorted(recipes.items()) if training else []
    wanted = [r for _, r in usable if r.applies(task, items[0]) and _wanted(r, config.recipes)]
    methods = tuple(method for recipe in wanted for method in variants(recipe, config))
    reference = _reference(task, config, fitting, baselines)
    if methods and items[0].context and not baselines[reference].uses_context:
        raise ConfigError(
            f"the reference {reference!r} of task {task.name!r} does not show the user's context: {', '.join(methods)}"
            " would contrast nothing. Choose another reference, or set recipes to none."
        )
    chosen = tuple(n for n in fitting if n == reference or _wanted(baselines[n], config.baselines))
    limit = config.pairs.limit or (2 * config.limit if config.limit else None)
    return TaskPlan(
        task,
        items[: config.limit],
        training[:limit],
        reference,
        chosen,
        methods,
        decoding_of(task, config),
        config.tags_around_thoughts,
    )


def can_ask(baseline: Baseline, task: Task, item: Item) -> bool:
    """Whether a baseline can ask all that an item asks for: several samples and scored texts need a single prompt."""
    several = repeats(task) > 1 or bool(item.continuations)
    return not several or not isinstance(baseline, SteppedBaseline | ContrastedBaseline)


def decoding_of(task: Task, config: RunConfig) -> Decoding:
    """The run's decoding settings, or an external task's own; a token limit of the user applies to both."""
    wanted = config.decoding
    if not isinstance(task, ExternalTask):
        return Decoding(wanted.max_new_tokens or task.max_new_tokens, wanted.temperature, wanted.top_p)
    limit = wanted.max_new_tokens if wanted.max_new_tokens and task.decoding.max_new_tokens else None
    return replace(task.decoding, max_new_tokens=limit) if limit else task.decoding


def _reference(task: Task, config: RunConfig, fitting: Sequence[str], baselines: Mapping[str, Baseline]) -> str:
    reference = config.reference.get(task.name, task.reference)
    if reference not in fitting:
        these = ", ".join(fitting) or "none"
        raise ConfigError(f"the reference {reference!r} of task {task.name!r} does not apply to it. Allowed: {these}.")
    if isinstance(baselines[reference], SteppedBaseline | ContrastedBaseline):
        raise ConfigError(
            f"the reference {reference!r} of task {task.name!r} uses several prompts, but pairs are made of one prompt"
            " and its response. Choose a baseline with one prompt."
        )
    return reference


def _wanted(plugin: Baseline | Recipe, names: Sequence[str] | None) -> bool:
    """Whether the plugin runs: it is named, all are requested, or none is named and it runs by default."""
    if names is None:
        return runs_by_default(plugin)
    return plugin.name in names or ALL in names


def _check_texts(task: str, items: Sequence[Item]) -> None:
    """Raise PluginError if two items share an id, a prompt is no text, or a text cannot be encoded in UTF-8."""
    no_text = [item.id for item in items if not isinstance(item.prompt, str)]
    twice = [name for name, n in Counter(item.id for item in items).items() if n > 1]
    broken = [item.id for item in items if not all_storable(item)]
    for names, problem in (
        (no_text, "its prompt is no text"),
        (twice, "more than one item has this id"),
        (broken, "holds half a character (a lone surrogate)"),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise PluginError(f"task {task!r}: item {names[0]!r}{more}: {problem}. `mipo-bench check-task` shows all.")


def _check_disjoint(task: str, items: Sequence[Item], training: Sequence[Item]) -> None:
    """Raise ConfigError if a user or prompt of the evaluation is in the training items too."""
    users = {i.user_id for i in items if i.user_id} & {i.user_id for i in training}
    prompts = {i.prompt for i in items} & {i.prompt for i in training}
    for kind, shared in (("users", users), ("prompts", prompts)):
        if shared:
            some = ", ".join(repr(s) for s in sorted(map(str, shared))[:3])
            raise ConfigError(f"task {task!r} trains on {len(shared)} of its evaluation {kind}: {some}. Split them.")


def _arms(plan: TaskPlan, config: RunConfig) -> list[Arm]:
    """The prompting arms, the A/A twin of the reference, and one arm for each recipe and training seed."""
    name, seed = plan.task.name, config.decoding.seed
    arms = [Arm(name, b, sample_seed=seed) for b in plan.baselines]
    if config.noise_floor and plan.decoding.temperature > 0:
        arms.append(Arm(name, plan.reference, sample_seed=seed + 1, aa_twin=True))
    arms += [
        Arm(name, plan.reference, recipe=r, train_seed=s, sample_seed=seed)
        for r in plan.recipes
        for s in range(config.first_seed, config.first_seed + config.seeds)
    ]
    return arms
