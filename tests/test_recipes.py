"""Which trainings run, on which pairs, and what they are contrasted with."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine
from test_runner import World, guess, settings, settle

from mipo_bench.baselines.recipes.mipo_random import MipoRandom
from mipo_bench.baselines.recipes.negatives import jaccard, words
from mipo_bench.harness.config import load_config
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.pairs import PairSet, PromptSet
from mipo_bench.harness.plan import make_plan
from mipo_bench.harness.plugin_checks import check_plugin
from mipo_bench.harness.plugins import load_plugins
from mipo_bench.harness.types import Item, Similarity

MIPO = ("mipo-missing", "mipo-random")
ITEMS = [
    Item("a", "p1", "t", "u1", "likes short red apples"),
    Item("b", "p2", "t", "u2", "likes short red pears"),
    Item("c", "p3", "t", "u3", "likes long green walks"),
    Item("d", "p4", "t", "u4", "hates everything"),
]


def test_by_default_only_mipo_is_trained() -> None:
    trained = {arm.recipe for arm in make_plan(settings()).arms if arm.recipe}
    assert trained == set(MIPO)


def test_trained_baselines_run_when_named_and_with_all() -> None:
    named = {arm.recipe for arm in make_plan(settings(recipes=["sft-self", "mipo-random"])).arms if arm.recipe}
    assert named == {"sft-self", "mipo-random"}
    every = {arm.recipe for arm in make_plan(settings(recipes=["all"])).arms if arm.recipe}
    assert every >= {*MIPO, "sft-self", "sami", "infonce", "rlvr"}
    with pytest.raises(ConfigError, match="unknown recipe 'sfft'"):
        make_plan(settings(recipes=["sfft"]))


def data_of(world: World, task: str, recipe: str) -> PairSet | PromptSet:
    return next(data for name, data in world.engine.trainings if f'"{task}", "{recipe}", 0' in name)


def test_trained_baselines_see_the_very_pairs_of_mipo_random(tmp_path: Path) -> None:
    world = World(tmp_path, FakeEngine(guess, settle))
    options: dict[str, Any] = {"seeds": 1, "recipes": ["mipo-random", "sft-self", "sami", "infonce"]}
    world.run(settings(**options))
    asked = len(world.engine.base_generator.asked)
    for task in ("persona", "arithmetic", "facts"):
        sets = [data_of(world, task, recipe) for recipe in options["recipes"]]
        pairs = [data.pairs for data in sets if isinstance(data, PairSet)]
        assert pairs == [pairs[0]] * 4
        assert [data.objective for data in sets] == ["dpo", "sft", "sami", "infonce"]
        assert all(p.contrast for p in pairs[0])
    alone = World(tmp_path / "alone", FakeEngine(guess, settle))
    alone.run(settings(seeds=1, recipes=["mipo-random"]))
    assert asked == len(alone.engine.base_generator.asked)  # no response was sampled for the baselines alone


def test_grpo_gets_prompts_and_the_tasks_score(tmp_path: Path) -> None:
    world = World(tmp_path, FakeEngine(guess, settle))
    report = world.run(settings(seeds=1, recipes=["rlvr"], suite="math"))
    data = data_of(world, "arithmetic", "rlvr")
    assert isinstance(data, PromptSet)
    (item, messages), *_ = data.prompts
    assert messages[-1].content == item.prompt
    assert data.reward.of([item, item], [f"Answer: {item.target}", "nothing"]) == [1.0, 0.0]
    assert data.decoding.temperature == 1.0
    assert not report.holes


def test_several_negatives_make_several_different_pairs(tmp_path: Path) -> None:
    world = World(tmp_path, FakeEngine(guess, settle))
    config = load_config(None, ["pairs.negatives=3"], {"limit": 12, "seeds": 1, "recipes": ["mipo-random"]})
    world.run(config)
    for task in ("persona", "arithmetic"):
        data = data_of(world, task, "mipo-random")
        assert isinstance(data, PairSet)
        assert len(data.pairs) + sum(data.discarded.values()) == 3 * 24
        by_item: dict[str, list[str]] = {}
        for pair in data.pairs:
            by_item.setdefault(pair.item_id, []).append(str(pair.contrast))
        assert all(len(set(found)) == len(found) for found in by_item.values())
        assert all(str(p.contrast) != str(p.prompt) for p in data.pairs)


@pytest.mark.parametrize(("similarity", "first"), [("near", "u2"), ("far", "u4")])
def test_negatives_are_graded_by_shared_words(similarity: Similarity, first: str) -> None:
    rows = MipoRandom().graded_contrasts(ITEMS, random.Random(0), 3, similarity)
    assert rows[0][0].user_id == first
    assert (rows[0][0].id, rows[0][0].prompt) == ("a", "p1")  # the same request, asked by somebody else
    own = words(ITEMS[0].context or "")
    found = [jaccard(own, words(other.context or "")) for other in rows[0]]
    assert found == sorted(found, reverse=similarity == "near")


def test_negatives_of_tasks_without_users_are_other_prompts() -> None:
    items = [replace(item, context=None, user_id=None, prompt=item.context or "") for item in ITEMS]
    rows = MipoRandom().graded_contrasts(items, random.Random(0), 1, "near")
    assert [row[0].id for row in rows[:2]] == ["b", "a"]


def test_random_negatives_are_distinct_and_seeded() -> None:
    rows, again, other = (MipoRandom().graded_contrasts(ITEMS, random.Random(s), 2, "random") for s in (0, 0, 3))
    assert rows == again != other
    assert all(len({o.context for o in row} | {i.context}) == 3 for i, row in zip(ITEMS, rows, strict=True))


def test_more_negatives_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 negatives need as many other contexts; item 'a' has 3"):
        MipoRandom().graded_contrasts(ITEMS, random.Random(0), 4, "random")


def test_shared_words() -> None:
    assert words("Red, RED apples 7") == {"red", "apples", "7"}
    assert jaccard(words("a b c"), words("b c d")) == 0.5
    assert jaccard(words(""), words("!")) == 0


def test_what_a_recipe_says_of_itself_is_checked() -> None:
    class Odd(MipoRandom):
        objective = "ppo"
        reward = "applause"

    with pytest.raises(Exception, match=r"objective 'ppo' is not one of dpo, .*; reward 'applause'"):
        check_plugin("recipe", Odd, "here")


def test_every_recipe_says_whether_it_is_a_trained_baseline() -> None:
    recipes = load_plugins().recipes
    baselines = {name for name, recipe in recipes.items() if getattr(recipe, "baseline", False)}
    assert baselines == set(recipes) - set(MIPO)
