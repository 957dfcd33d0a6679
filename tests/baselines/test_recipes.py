"""Recipes: their trainings, their pairs, and their contrasts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine
from worlds import World, guess, settings, settle

from mipo_bench.baselines.recipes.mipo_random import MipoRandom
from mipo_bench.baselines.recipes.negatives import jaccard, words
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.judging.rewards import RUBRIC, judge_reward
from mipo_bench.harness.planning.grid import recipe_name, settings_of
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.protocol_checks import check_plugin
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Question, Request, Verdict
from mipo_bench.harness.training.pairs import PairSet, PromptSet, Ratings
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
    assert data.reward.rate([item, item], [f"Answer: {item.target}", "nothing"]) == Ratings((1.0, 0.0))
    assert data.decoding.temperature == 1.0
    assert not report.failures


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
    rows = MipoRandom().several_contrasts(ITEMS, random.Random(0), 3, similarity)
    assert rows[0][0].user_id == first
    assert (rows[0][0].id, rows[0][0].prompt) == ("a", "p1")  # the same request, asked by somebody else
    own = words(ITEMS[0].context or "")
    found = [jaccard(own, words(other.context or "")) for other in rows[0]]
    assert found == sorted(found, reverse=similarity == "near")


def test_negatives_of_tasks_without_users_are_other_prompts() -> None:
    items = [replace(item, context=None, user_id=None, prompt=item.context or "") for item in ITEMS]
    rows = MipoRandom().several_contrasts(items, random.Random(0), 1, "near")
    assert [row[0].id for row in rows[:2]] == ["b", "a"]


def test_random_negatives_are_distinct_and_seeded() -> None:
    rows, again, other = (MipoRandom().several_contrasts(ITEMS, random.Random(s), 2, "random") for s in (0, 0, 3))
    assert rows == again != other
    assert all(len({o.context for o in row} | {i.context}) == 3 for i, row in zip(ITEMS, rows, strict=True))


def test_more_negatives_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 negatives need as many other contexts; item 'a' has 3"):
        MipoRandom().several_contrasts(ITEMS, random.Random(0), 4, "random")


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
    baselines = {name for name, recipe in recipes.items() if getattr(recipe, "is_trained_baseline", False)}
    assert baselines == set(recipes) - set(MIPO)


class Rater:
    """A judge that rates by length and gives no rating for a response of one letter."""

    name, digest = "rater", "d"

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        self.asked += questions
        for n, question in reversed(list(enumerate(questions))):
            yield n, Verdict(None if len(question.first) == 1 else min(1.0, len(question.first) / 8))


def test_ratings_are_rewards_and_unread_ones_are_counted() -> None:
    rater = Rater()
    reward = judge_reward(load_plugins().tasks["persona"], rater)
    ratings = reward.rate(ITEMS[:3], ["12345678", "x", "1234"])
    assert ratings == Ratings((1.0, 0.0, 0.5), {"ratings": 3, "unread": 1})
    assert [(q.item.id, q.second, q.rubric) for q in rater.asked] == [(i.id, None, RUBRIC) for i in ITEMS[:3]]


def test_rlaif_is_rated_by_the_base_model_itself(tmp_path: Path) -> None:
    def rate(request: Request) -> str:
        return f"Rating: {1 + len(request.prompt) % 5}" if "careful judge" in request.prompt else guess(request)

    world = World(tmp_path, FakeEngine(rate, settle))
    report = world.run(settings(seeds=1, recipes=["rlaif"], suite="personalized"))
    data = data_of(world, "persona", "rlaif")
    assert isinstance(data, PromptSet)
    item = data.prompts[0][0]
    values = data.reward.rate([item, item, item], ["a", "ab", "abc"]).values
    assert sorted(set(values)) == sorted(values)
    assert set(values) <= {0, 0.25, 0.5, 0.75, 1}
    assert "careful judge" in world.engine.base_generator.asked[-1].prompt
    assert [(c.family, c.base, c.method) for c in report.comparisons if c.method == "rlaif"] == [
        ("exploratory", "profile", "rlaif")
    ]


def grid(*values: str, **options: object) -> RunConfig:
    return load_config(None, values, {"limit": 12, "seeds": 1, "suite": "math", **options})


def test_every_point_of_a_grid_is_a_method_of_its_own(tmp_path: Path) -> None:
    config = grid("grid.beta=[0.05, 0.1]", "grid.lr=[1e-4, 3e-4]", recipes=["mipo-random", "sft-self"])
    report = World(tmp_path, FakeEngine(guess, settle)).run(config)
    points = [f"mipo-random beta={b} lr={lr}" for b in ("0.05", "0.1") for lr in ("0.0001", "0.0003")]
    others = ["sft-self lr=0.0001", "sft-self lr=0.0003"]  # which has no beta
    assert [c.recipe for c in report.checkpoints] == points + others
    primary = [c.method for c in report.comparisons if c.family == "primary"]
    assert primary == points
    against = {(c.base, c.method) for c in report.comparisons if c.base in others}
    assert against == {(base, method) for base in others for method in points}
    settings = [settings_of(method, config) for method in points]
    assert [(s.beta, s.lr) for s in settings] == [(0.05, 1e-4), (0.05, 3e-4), (0.1, 1e-4), (0.1, 3e-4)]
    assert settings_of("mipo-random", config) == config.train
    assert {recipe_name(method) for method in points} == {"mipo-random"}


def test_the_points_of_a_grid_train_on_the_same_pairs(tmp_path: Path) -> None:
    world = World(tmp_path, FakeEngine(guess, settle))
    world.run(grid("grid.beta=[0.05, 0.1]", recipes=["mipo-random"]))
    digests = [data.digest for _, data in world.engine.trainings]
    assert len(digests) == 2
    assert len(set(digests)) == 1


@pytest.mark.parametrize(("value", "reason"), [("[0.1, 0.1]", "may occur only once"), ("[-1]", "greater than 0")])
def test_a_grid_that_makes_no_sense_is_refused(value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        grid(f"grid.beta={value}")
