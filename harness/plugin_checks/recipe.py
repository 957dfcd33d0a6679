"""All checks of `mipo-bench check-recipe`: contrasts, seeds, training items alone, pairs. No model, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, get_args

from mipo_bench.harness.errors import unknown
from mipo_bench.harness.generators.chat_template import chat_of
from mipo_bench.harness.plugin_checks.applied import TaskItems, applied
from mipo_bench.harness.plugin_checks.items import (
    RAISED,
    CheckResult,
    ElsewhereOn,
    Fingerprints,
    call_plugin,
    same_elsewhere,
    short_digest,
)
from mipo_bench.harness.plugin_checks.scripted_model import ScriptedModel
from mipo_bench.harness.plugins.optional import objective_of, several_contrasts, shares_pairs_of
from mipo_bench.harness.plugins.protocol_checks import shown
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.training.pairs import PairSource, contrast_rng, make_pairs
from mipo_bench.harness.types import Baseline, Decoding, Item, Recipe, Similarity, Task

SEEDS = (0, 1, 2)
"""The training seeds that are drawn: those of a run by default."""
SEVERAL = 2
"""Contrasts of each item that `several_contrasts` is asked for, for the first `SOME` items."""
SOME = 40
_REPEATABLE = "take every random number from rng, and sort sets"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The contrasts of all training items of a task for one seed. `random` says whether random numbers were drawn."""

    source: PairSource
    contrasts: Sequence[Item]
    random: bool

    def label(self, item: Item) -> str:
        """An item, its task and the seed, for messages."""
        return f"item {item.id!r} of {self.source.task.name}, seed {self.source.seed}"

    @property
    def pairs(self) -> Iterator[tuple[Item, Item]]:
        """Each item with its contrast."""
        return zip(self.source.items, self.contrasts, strict=True)


def check_recipe(
    recipe: Recipe, tasks: Sequence[Task], plugins: Plugins, elsewhere: ElsewhereOn
) -> Iterator[CheckResult]:
    """Run every check in turn, on the tasks to which the recipe applies; only the first ones if its contrasts fail."""
    baselines = plugins.baselines
    found, check = _applied(recipe, tasks, baselines)
    yield check
    if check.problems:
        return
    problems: list[str] = []
    drawn = _draw_all(recipe, found, baselines, problems)
    count = sum(len(one.contrasts) for one in drawn)
    of = f"{len(found)} task{'' if len(found) == 1 else 's'}"
    yield CheckResult("contrasts", f"{count} for {of} x {len(SEEDS)} seeds", tuple(problems))
    if problems:
        return
    if objective_of(recipe) == "grpo":
        yield CheckResult("pairs", "none: grpo answers the training items itself")
    else:
        yield _different(drawn)
        yield _of_training(drawn, found)
        if several := several_contrasts(recipe):
            yield _several(several, drawn)
        if shares_pairs_of(recipe) != recipe.name:
            yield _shared(recipe, drawn, plugins.recipes)
        yield _pairs(drawn)
    yield _seeds(drawn)
    made = _by_task(drawn)
    yield same_elsewhere(
        lambda: made, partial(elsewhere, [ti.name for ti in found]), "contrasts", "its contrast changes"
    )


def fingerprints(recipe: Recipe, tasks: Sequence[Task], plugins: Plugins) -> dict[str, Fingerprints]:
    """Task and seed -> fingerprint of each contrast. The last seed is drawn first: the order must not matter."""
    found, _ = _applied(recipe, tasks, plugins.baselines)
    return _by_task(_draw_all(recipe, found[::-1], plugins.baselines, [], SEEDS[::-1]))


def _by_task(drawn: Sequence[Drawn]) -> dict[str, Fingerprints]:
    return {
        f"{one.source.task.name}, seed {one.source.seed}": [(item.id, short_digest(c)) for item, c in one.pairs]
        for one in drawn
    }


def _applied(
    recipe: Recipe, tasks: Sequence[Task], baselines: Mapping[str, Baseline]
) -> tuple[list[TaskItems], CheckResult]:
    """As `applied`, for the tasks that have training items; each must have its reference, which prompts them."""
    fitting, check = applied(recipe, tasks)
    found = [ti for ti in fitting if ti.items.splits["train"]]
    problems = [
        f"task {ti.name!r}: its reference {ti.task.reference!r} is no baseline: name its file with --include"
        for ti in found
        if ti.task.reference not in baselines
    ]
    if fitting and not found:
        problems.append(f"{', '.join(ti.name for ti in fitting)}: without training items")
    bare = [ti.name for ti in fitting if ti not in found]
    done = check.done + (f"; without training items: {', '.join(bare)}" if bare else "")
    return found, CheckResult(check.name, done, (*check.problems, *problems))


def _draw_all(
    recipe: Recipe,
    found: Sequence[TaskItems],
    baselines: Mapping[str, Baseline],
    problems: list[str],
    seeds: Sequence[int] = SEEDS,
) -> list[Drawn]:
    sources = [_source(recipe, ti, baselines, seed) for ti in found for seed in seeds]
    return [one for source in sources if (one := _draw(source, problems))]


def _source(recipe: Recipe, found: TaskItems, baselines: Mapping[str, Baseline], seed: int) -> PairSource:
    items, decoding = found.items.splits["train"], Decoding(max(found.task.max_new_tokens, 1), 1.0)
    return PairSource(found.task, tuple(items), baselines[found.task.reference], recipe, decoding, seed)


def _draw(source: PairSource, problems: list[str]) -> Drawn | None:
    """The contrasts of one seed, drawn as a training does; None if they cannot be used."""
    rng = contrast_rng(source)
    before = rng.getstate()
    action = f"{source.task.name}, seed {source.seed}: contrasts()"
    contrasts = call_plugin(action, partial(source.recipe.contrasts, source.items, rng), problems)
    if contrasts is RAISED:
        return None
    if problem := _form_problem(contrasts, len(source.items)):
        problems.append(f"{action} {problem}")
        return None
    return Drawn(source, tuple(contrasts), rng.getstate() != before)


def _form_problem(contrasts: Any, number: int) -> str | None:
    """The problem of a sequence that must have so many items; None if there is none."""
    if not isinstance(contrasts, Sequence) or not all(map(_is_usable, contrasts)):
        return f"gives {shown(contrasts)}, not a list of Items with texts"
    if len(contrasts) != number:
        return f"gives {len(contrasts)} contrasts for {number} items: give one for each, in their order"
    return None


def _is_usable(contrast: Any) -> bool:
    return isinstance(contrast, Item) and isinstance(contrast.prompt, str) and isinstance(contrast.context, str | None)


def _different(drawn: Sequence[Drawn]) -> CheckResult:
    """Check that no contrast has the prompt of its item, under the reference baseline."""
    problems = [
        f"{one.label(item)}: {problem}"
        for one in drawn
        for item, contrast in one.pairs
        if (problem := _same_prompt(one.source, item, contrast))
    ]
    return CheckResult("different", "no contrast has the prompt of its item", tuple(problems))


def _same_prompt(source: PairSource, item: Item, contrast: Item) -> str | None:
    if contrast == item:
        return "its contrast is the item itself: give it another context or prompt (see Item.asked_by)"
    problems: list[str] = []
    chats = [
        call_plugin(f"its reference {source.baseline.name!r}", partial(chat_of, source.baseline, each), problems)
        for each in (item, contrast)
    ]
    if problems:
        return problems[0]
    if chats[0].messages != chats[1].messages:
        return None
    changed = ", ".join(f.name for f in fields(Item) if getattr(item, f.name) != getattr(contrast, f.name))
    return f"its contrast differs in {changed} alone, which the reference {source.baseline.name!r} does not show"


def _of_training(drawn: Sequence[Drawn], found: Sequence[TaskItems]) -> CheckResult:
    """Check that no contrast shows a prompt, a context or a user of the evaluation."""
    problems: list[str] = []
    items = {ti.name: ti.items.splits for ti in found}
    for name in ("prompt", "context", "user_id"):
        for one in drawn:
            splits = items[one.source.task.name]
            trained = {getattr(item, name) for item in splits["train"]}
            held_out = {getattr(item, name) for item in splits["eval"]} - trained - {None}
            problems += [
                f"{one.label(item)}: its contrast has the {name} {shown(getattr(contrast, name))} of the evaluation:"
                " draw from the items that contrasts() is given"
                for item, contrast in one.pairs
                if getattr(contrast, name) in held_out
            ]
    return CheckResult("training", "no contrast has a prompt, context or user of the evaluation", tuple(problems))


def _several(several: Callable[..., object], drawn: Sequence[Drawn]) -> CheckResult:
    """Check `several_contrasts`: so many for each item, none with the prompt of its item."""
    problems: list[str] = []
    for one in (one for one in drawn if one.source.seed == SEEDS[0]):
        items = one.source.items[:SOME]
        for similarity in get_args(Similarity):
            action = f"{one.source.task.name}: several_contrasts() with {SEVERAL} {similarity} negatives"
            rows = call_plugin(action, partial(several, items, contrast_rng(one.source), SEVERAL, similarity), problems)
            problems += [] if rows is RAISED else [f"{action} {p}" for p in _row_problems(one, items, rows)]
    return CheckResult("several", f"{SEVERAL} for each item: {', '.join(get_args(Similarity))}", tuple(problems))


def _row_problems(one: Drawn, items: Sequence[Item], rows: Any) -> Iterator[str]:
    if not isinstance(rows, Sequence) or len(rows) != len(items):
        yield f"gives {shown(rows)}, not a list for each of {len(items)} items"
        return
    for item, row in zip(items, rows, strict=True):
        if problem := _form_problem(row, SEVERAL):
            yield f"{problem} (item {item.id!r})"
            return
        yield from (f"item {item.id!r}: {p}" for contrast in row if (p := _same_prompt(one.source, item, contrast)))


def _shared(recipe: Recipe, drawn: Sequence[Drawn], recipes: Mapping[str, Recipe]) -> CheckResult:
    """Check that a recipe draws the contrasts of the one whose pairs it shares."""
    problems, name = list[str](), shares_pairs_of(recipe)
    if name not in recipes:
        return CheckResult("shared", "", (f"shares_pairs_of: {unknown('recipe', name, recipes)}",))
    for one in drawn:
        if other := _draw(replace(one.source, recipe=recipes[name]), problems):
            pairs = zip(one.source.items, one.contrasts, other.contrasts, strict=True)
            problems += [f"{one.label(item)}: its contrast is not that of {name}" for item, c, d in pairs if c != d]
    return CheckResult("shared", f"the contrasts of {name}", tuple(problems))


def _pairs(drawn: Sequence[Drawn]) -> CheckResult:
    """Make the pairs of a training, with scripted responses, and count them."""
    problems, lines, model = list[str](), list[str](), ScriptedModel()
    for source in (one.source for one in drawn if one.source.seed == SEEDS[0]):
        name = source.task.name
        found = call_plugin(f"{name}: making the pairs", partial(make_pairs, source, model, model.answers), problems)
        lines += [] if found is RAISED else [f"{name}: {len(found.pairs)} pairs of {len(source.items)} items"]
    return CheckResult("pairs", "\n".join(lines), tuple(problems))


def _seeds(drawn: Sequence[Drawn]) -> CheckResult:
    """Check that a seed draws the same contrasts again, and that seeds differ where random numbers are drawn."""
    problems: list[str] = []
    tasks: dict[str, list[Drawn]] = {}
    for one in drawn:
        tasks.setdefault(one.source.task.name, []).append(one)
        if again := _draw(one.source, problems):
            changed = (
                item for item, c, d in zip(one.source.items, one.contrasts, again.contrasts, strict=True) if c != d
            )
            problems += [f"{one.label(item)}: another contrast when drawn again: {_REPEATABLE}" for item in changed]
    fixed = [name for name, rows in tasks.items() if all(one.contrasts == rows[0].contrasts for one in rows)]
    problems += [
        f"{name}: seeds {', '.join(map(str, SEEDS))} give the same contrasts, though random numbers are drawn:"
        " seed nothing by a constant"
        for name in fixed
        if tasks[name][0].random and len(tasks[name][0].contrasts) > 1
    ]
    kinds = {"others for each seed": [name for name in tasks if name not in fixed], "the same for every seed": fixed}
    done = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    return CheckResult("seeds", done, tuple(problems))
