"""`check-recipe` finds the problems of a training recipe and names the item; good recipes pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.plugin_checks.items import CheckResult
from mipo_bench.harness.plugin_checks.recipe import check_recipe, fingerprints
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Item, Objective, Recipe, Split, Task
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.embedded.persona import Persona

PLUGINS = load_plugins()


class Users(Persona):
    """Four users of each split."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(super().items(split))[:12]


class Sums(Arithmetic):
    """A few word problems."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(super().items(split))[:6]


class Evaluated(Users):
    """A task that cannot be trained on."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return super().items(split) if split == "eval" else ()


TASKS: Sequence[Task] = (Users(), Sums())
FIRST, *_, LAST = Users().items("train")
HELD_OUT = Users().items("eval")[0]


class OtherUser:
    """A good recipe; each test breaks one thing."""

    name = "other-user"
    description = "The request of a random other user."

    def applies(self, task: Task, item: Item) -> Any:
        return item.context is not None

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> Any:
        return [item.asked_by(rng.choice([i for i in items if i.context != item.context])) for item in items]


def checks(recipe: Recipe, tasks: Sequence[Task] = TASKS) -> dict[str, CheckResult]:
    again = partial(fingerprints, recipe, tasks, PLUGINS)
    return {check.name: check for check in check_recipe(recipe, tasks, PLUGINS, lambda _: again())}


def problems(recipe: Recipe, tasks: Sequence[Task] = TASKS) -> dict[str, tuple[str, ...]]:
    return {name: check.problems for name, check in checks(recipe, tasks).items() if check.problems}


def broken(**changes: Any) -> Recipe:
    recipe: Recipe = type("Broken", (OtherUser,), changes)()
    return recipe


def each(change: Callable[[Item, random.Random], object]) -> Any:
    """A method `contrasts` that changes every item so."""
    return lambda _, items, rng: [change(item, rng) for item in items]


@pytest.mark.parametrize("name", [*PLUGINS.recipes, "other-user"])
def test_good_recipes_pass(name: str) -> None:
    assert problems(PLUGINS.recipes.get(name, OtherUser())) == {}


def fail(*_: object) -> Any:
    raise ValueError("it needs two users")


def few(_: object, items: Sequence[Item], rng: random.Random, k: int, similarity: str) -> Any:
    return [[item.asked_by(LAST)] * (1 if similarity == "near" else k) for item in items]


NAMED = f"item {FIRST.id!r} of persona, seed 0"
LAST_CONTEXT = "another context altogether"
PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"applies": lambda *_: None}, "applies", "task 'persona': applies() gives None, not True or False"),
    ({"applies": lambda *_: False}, "applies", "it applies to no task (persona, arithmetic): repair applies(), or"),
    (
        {"contrasts": fail},
        "contrasts",
        "persona, seed 0: contrasts() raises ValueError: it needs two users (test_check",
    ),
    ({"contrasts": lambda *_: None}, "contrasts", "persona, seed 0: contrasts() gives None, not a list of Items"),
    ({"contrasts": lambda *_: ["a"]}, "contrasts", "persona, seed 0: contrasts() gives ['a'], not a list of Items"),
    (
        {"contrasts": lambda _, items, rng: items[1:]},
        "contrasts",
        "persona, seed 0: contrasts() gives 11 contrasts for 12 items: give one for each, in their order",
    ),
    ({"contrasts": each(lambda item, _: item)}, "different", f"{NAMED}: its contrast is the item itself: give it"),
    (
        {"contrasts": each(lambda item, _: replace(item, demonstrations=(), target="?"))},
        "different",
        f"{NAMED}: its contrast differs in target, demonstrations alone, which the reference 'profile' does not show",
    ),
    (
        {"contrasts": each(lambda item, _: replace(item, context=17))},  # type: ignore[arg-type]
        "contrasts",
        "gives [Item(id='train-user-000-0', ",
    ),
    (
        {"contrasts": each(lambda item, _: replace(item, prompt=None))},  # type: ignore[arg-type]
        "contrasts",
        "..., not a list of Items with texts",
    ),
    (
        {"contrasts": each(lambda item, _: replace(item, prompt=HELD_OUT.prompt))},
        "training",
        f"{NAMED}: its contrast has the prompt {HELD_OUT.prompt!r} of the evaluation: draw from the items that",
    ),
    (
        {"contrasts": each(lambda item, _: replace(item, context=HELD_OUT.context))},
        "training",
        f"{NAMED}: its contrast has the context {HELD_OUT.context!r} of the evaluation",
    ),
    ({"several_contrasts": fail}, "several", "persona: several_contrasts() with 2 random negatives raises ValueError"),
    (
        {"several_contrasts": lambda *_: []},
        "several",
        "persona: several_contrasts() with 2 random negatives gives [], not a list for each of 12 items",
    ),
    (
        {"several_contrasts": few},
        "several",
        "persona: several_contrasts() with 2 near negatives gives 1 contrasts for 2 items: give one for each",
    ),
    (
        {"contrasts": each(lambda item, _: replace(item, context=f"{random.random()}"))},
        "seeds",
        f"{NAMED}: another contrast when drawn again: take every random number from rng, and sort sets",
    ),
    (
        {"contrasts": each(lambda item, rng: (rng.random(), replace(item, context=LAST_CONTEXT))[1])},
        "seeds",
        "persona: seeds 0, 1, 2 give the same contrasts, though random numbers are drawn: seed nothing by a constant",
    ),
    (
        {"contrasts": lambda _, items, rng: [items[0], *(item.asked_by(LAST) for item in items[1:])]},
        "different",
        f"{NAMED}: its contrast is the item itself",
    ),
]


@pytest.mark.parametrize(("changes", "check", "problem"), PROBLEMS)
def test_a_problem_is_named_with_its_item(changes: dict[str, Any], check: str, problem: str) -> None:
    found = problems(broken(**changes))
    assert any(problem in line for line in found[check]), found


def test_too_few_pairs_are_named_with_the_reasons() -> None:
    same = broken(contrasts=each(lambda item, _: replace(item, demonstrations=())))
    line = "persona: making the pairs raises PairsError: 0 usable preference pairs of 12; left out: {'same prompt': 12}"
    assert problems(same)["pairs"] == (line,)


class Crashing(Users):
    """Its reference raises on other users' items."""

    reference = "crashing"


def test_a_reference_that_raises_is_a_problem_of_the_items_and_of_the_pairs() -> None:
    crashing = type("CrashingBaseline", (Profile,), {"name": "crashing", "messages": fail})()
    plugins = replace(PLUGINS, baselines={"crashing": crashing})
    again = partial(fingerprints, OtherUser(), [Crashing()], plugins)
    checked = check_recipe(OtherUser(), [Crashing()], plugins, lambda _: again())
    found = {check.name: check.problems for check in checked if check.problems}
    assert found["different"][0].startswith(f"{NAMED}: its reference 'crashing' raises ValueError: it needs two users")
    assert found["pairs"][0].startswith("persona: making the pairs raises ValueError: it needs two users")


def test_a_contrast_that_depends_on_earlier_draws_differs_in_the_second_process() -> None:
    numbers = count()
    counting = broken(contrasts=each(lambda item, _: replace(item, context=f"user {next(numbers)}")))
    line = f"item {FIRST.id!r} of persona, seed 0 differs in a second process: its contrast changes"
    assert problems(counting)["processes"][0] == line


def test_a_recipe_that_shares_pairs_draws_those_contrasts() -> None:
    shared = checks(PLUGINS.recipes["sft-self"])["shared"]
    assert (shared.done, shared.problems) == ("the contrasts of mipo-random", ())
    other = problems(broken(shares_pairs_of="mipo-missing"))["shared"]
    assert other[0] == f"{NAMED}: its contrast is not that of mipo-missing"
    (line,) = problems(broken(shares_pairs_of="mipo-randm"))["shared"]
    assert line.startswith("shares_pairs_of: unknown recipe 'mipo-randm'. Did you mean 'mipo-random'")


def test_a_recipe_gets_a_tuple_as_in_a_run() -> None:
    shuffling = broken(contrasts=lambda _, items, rng: (rng.shuffle(items), items)[1])
    assert "raises TypeError" in problems(shuffling)["contrasts"][0]


def test_a_recipe_without_pairs_has_no_checks_of_them() -> None:
    objective: Objective = "grpo"
    found = checks(broken(objective=objective, contrasts=lambda _, items, rng: items))
    assert {name for name, check in found.items() if not check.problems} == set(found)
    assert found["pairs"].done == "none: grpo answers the training items itself"
    assert "different" not in found


def test_a_task_without_training_items_is_left_out_and_a_recipe_without_any_fails() -> None:
    found = checks(OtherUser(), [Evaluated(), Users()])
    assert found["applies"].done == "to persona, persona; without training items: persona"
    assert problems(OtherUser(), [Evaluated()]) == {"applies": ("persona: without training items",)}


def test_a_reference_that_is_not_installed_is_named() -> None:
    task = type("Lost", (Users,), {"reference": "lost"})()
    line = "task 'persona': its reference 'lost' is no baseline: name its file with --include"
    assert problems(OtherUser(), [task])["applies"] == (line,)


def test_the_seeds_that_draw_nothing_are_told_from_those_that_do() -> None:
    assert checks(PLUGINS.recipes["mipo-random"])["seeds"].done == "others for each seed: persona, arithmetic"
    assert checks(PLUGINS.recipes["mipo-missing"])["seeds"].done == "the same for every seed: persona"
