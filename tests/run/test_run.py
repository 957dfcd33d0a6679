"""The stages of a run on fake models: requests, reuse of stored responses, failures and the report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, FakeGenerator, SilentDisplay
from worlds import World, guess, settings, settle

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ModelError, StorageError
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.protocols import Arm, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.claims import Claims
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Item, Response, Score
from mipo_bench.tasks.embedded.arithmetic import Arithmetic


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store")


def test_every_planned_arm_is_scored(world: World) -> None:
    report = world.run()
    planned = make_plan(settings()).arms
    assert [(a.task, a.method, a.train_seed) for a in report.arms if not a.recipe] == [
        (a.task, a.method, a.train_seed) for a in planned if not a.recipe
    ]
    assert len(report.arms) == len(planned)
    assert all(len(a.scores) == 12 for a in report.arms)
    assert not report.failures
    assert len(report.checkpoints) == 8


def test_a_second_run_generates_and_changes_nothing(world: World) -> None:
    first = world.run()
    asked = len(world.engine.base_generator.asked)
    second = world.run()
    assert len(world.engine.base_generator.asked) == asked
    assert first.model_dump(exclude={"created"}) == second.model_dump(exclude={"created"})


def test_the_order_of_arms_and_what_is_cached_change_nothing(world: World, tmp_path: Path) -> None:
    world.run(settings(suite="math"))
    world.run(settings(baselines=["few-shot"]))
    mixed = world.run()
    fresh = World(tmp_path / "fresh").run()
    assert mixed.model_dump(exclude={"created"}) == fresh.model_dump(exclude={"created"})


def test_another_sampling_seed_asks_again_and_training_seeds_differ(world: World) -> None:
    world.run()
    before = len(world.engine.base_generator.asked)
    world.run(load_config(None, ["decoding.seed=5"], {"limit": 12, "seeds": 2}))
    assert len(world.engine.base_generator.asked) > before
    pairs = {pairs.digest for _, pairs in world.engine.trainings}
    assert len(pairs) == 8


def test_rejected_responses_of_other_prompts_are_generated_once(world: World) -> None:
    world.run(settings(suite="math", baselines=["plain"], seeds=1))
    sampled = [r for r in world.engine.base_generator.asked if r.decoding.temperature == 1]
    assert len(sampled) == 24  # one for each training item, although pairs have two sides


def test_tasks_with_the_most_tokens_train_first_so_that_no_process_waits_for_a_long_last_training(
    world: World,
) -> None:
    world.run(settings(seeds=1))
    tasks = [json.loads(key)[0] for key, _ in world.engine.trainings]
    assert [task.task.name for task in make_plan(settings()).tasks] == ["arithmetic", "facts", "persona"]
    assert list(dict.fromkeys(tasks)) == ["arithmetic", "persona", "facts"]  # 256, 256 and 128 tokens an answer


def test_no_evaluation_item_is_trained_on(world: World) -> None:
    world.run()
    for plan in make_plan(settings()).tasks:
        evaluated = {i.id for i in plan.items}
        sets = [data for name, data in world.engine.trainings if plan.task.name in name]
        trained = {p.item_id for data in sets if isinstance(data, PairSet) for p in data.pairs}
        assert trained
        assert not trained & evaluated


def test_identical_pairs_are_discarded_and_counted(tmp_path: Path) -> None:
    def sometimes(request: Request) -> str:
        return "Answer: 1" if request.seed % 2 else guess(request)

    report = World(tmp_path, FakeEngine(sometimes, settle)).run()
    lineages = [c.lineage["pairs"] for c in report.checkpoints]
    assert all(p["used"] + sum(p["discarded"].values()) == 24 for p in lineages)
    assert sum(p["discarded"].get("identical", 0) for p in lineages) > 0


def test_a_model_with_one_response_for_all_prompts_cannot_be_trained(tmp_path: Path) -> None:
    report = World(tmp_path, FakeEngine(settle, settle)).run(settings(suite="math"))
    assert {(h.stage, h.error) for h in report.failures} == {("pairs", "PairsError")}
    assert "identical" in report.failures[0].message
    assert [c.warnings[0].code for c in report.comparisons if c.family == "primary"] == ["untestable"]


def test_a_failed_training_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    engine = FakeEngine(guess, settle, fail={("facts", "mipo-random", 0), ("facts", "mipo-random", 1)})
    engine.fail.add(("persona", "mipo-missing", 1))
    report = World(tmp_path, engine).run()
    assert {(h.task, h.method, h.train_seed, h.stage) for h in report.failures} == {
        ("facts", "mipo-random", 0, "training"),
        ("facts", "mipo-random", 1, "training"),
        ("persona", "mipo-missing", 1, "training"),
    }
    primary = {(c.task, c.method): c for c in report.comparisons if c.family == "primary"}
    assert primary["facts", "mipo-random"].delta is None
    assert primary["facts", "mipo-random"].p_adjusted is None
    codes = {w.code for w in primary["persona", "mipo-missing"].warnings}
    assert "missing_seeds" in codes
    done = primary["arithmetic", "mipo-random"]
    assert done.p_value is not None
    assert done.p_adjusted is not None
    assert done.p_adjusted >= min(1, 2 * done.p_value) or done.p_value == 1


class Fussy(Arithmetic):
    """Raises on one item and returns nonsense on another."""

    def score(self, item: Item, response: Response) -> Score:
        if item.id == "eval-0003":
            raise KeyError("scorer bug")
        return Score(7.0) if item.id == "eval-0004" else super().score(item, response)


def test_a_failed_item_is_recorded_and_stays_in_the_denominator(world: World) -> None:
    def fussy(plan: Plan) -> Plan:
        return replace(plan, tasks=tuple(replace(t, task=Fussy()) for t in plan.tasks))

    report = world.run(settings(suite="math"), fussy)
    for arm in report.arms:
        assert set(arm.failed) == {"eval-0003", "eval-0004"}
        assert arm.failed["eval-0003"].startswith("score: KeyError")
        assert (arm.scores[3], arm.scores[4]) == (0, 0)
        assert len(arm.scores) == 12
    assert all(e.failed >= 2 for e in report.estimates)


def test_damaged_responses_are_computed_again_and_noted(world: World) -> None:
    first = world.run(settings(suite="math", recipes=[]))
    world.store.database.execute("UPDATE responses SET text = 'Answer: 0'")
    second = world.run(settings(suite="math", recipes=[]))
    assert [a.scores for a in second.arms] == [a.scores for a in first.arms]
    assert second.notes
    assert all("damaged" in note for note in second.notes)


def test_the_report_names_where_it_comes_from(world: World) -> None:
    report = world.run()
    assert report.provenance.versions["torch"]
    assert report.config["seeds"] == 2
    assert report.model.digest == "base"
    task = report.tasks[0]
    assert len(task.items) == len(task.prompt_hashes) == len(task.target_hashes) == 12


def test_an_arm_with_too_many_overflows_is_a_failure_unless_they_are_allowed(tmp_path: Path) -> None:
    """Prompts are never truncated. An overflow is a counted failure; an arm with too many has no meaningful score."""
    world = World(tmp_path, FakeEngine(guess, settle, window=600))
    options = {"tasks": ("persona",), "recipes": ()}
    strict = world.run(settings(**options))
    messages = {failure.method: failure.message for failure in strict.failures}
    assert "few-shot" in messages
    assert "6 of 12 prompts" in messages["few-shot"]
    lax = world.run(settings(**options, overflow=1.0))
    arm = next(a for a in lax.arms if a.method == "few-shot")
    assert not lax.failures
    assert len(arm.failed) == 6
    assert {arm.scores[lax.tasks[0].items.index(item)] for item in arm.failed} == {0.0}


class BrokenCheckpoints(FakeEngine):
    """Its checkpoints cannot be loaded."""

    def trained(self, arm: Arm, pairs: Any, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        def broken(request: Request) -> str:
            raise ModelError("cannot load the model")

        trained = super().trained(arm, pairs, on_step)
        return replace(trained, generator=FakeGenerator(trained.digest, broken))


def test_a_checkpoint_that_cannot_be_loaded_is_a_failure(tmp_path: Path) -> None:
    report = World(tmp_path, BrokenCheckpoints(guess, settle)).run(settings(suite="math"))
    assert {(h.stage, h.error, h.message) for h in report.failures} == {
        ("evaluation", "StageError", "cannot load the model")
    }
    assert [a.method for a in report.arms if a.recipe] == []


def test_the_base_model_answers_all_prompting_arms_in_one_stream(world: World) -> None:
    report = world.run(settings(recipes=[]))
    first, *rest = world.display.stages
    assert (first.name, first.done) == ("prompting arms and pairs of all tasks", 12 * len(report.arms))
    assert first.total == first.done
    assert not any(stage.computed_anything for stage in rest if stage.unit == "responses")


def test_arms_that_another_process_has_claimed_come_last_and_change_nothing(tmp_path: Path) -> None:
    """Another process claims the first training until the run waits for it, so that all others come first."""
    undisturbed = World(tmp_path / "quiet")
    quiet = undisturbed.run()
    world = World(tmp_path / "shared")
    other = Store(tmp_path / "shared")

    class Watcher(SilentDisplay):
        def say(self, line: str) -> None:
            super().say(line)
            if "waiting" in line:
                other.claims.leave()

    class Second(Claims):
        """Claims of a process that is a moment later than the other one at the trained arms."""

        late = False

        def take(self, keys: Sequence[str], most: int | None = None) -> list[str]:
            if most == 1 and not self.late:
                self.late = True
                other.claims.take(keys[:1])
            return super().take(keys, most)

    world.store.claims = Second(world.store.folder, world.store.database)
    world.display = Watcher()
    report = world.run()
    waiting = [line for line in world.display.lines if "waiting" in line]
    assert waiting == [f"waiting for arms that other processes compute (process {os.getpid()})"]
    assert world.engine.trainings[-1][0] == undisturbed.engine.trainings[0][0]
    assert report.model_dump(exclude={"created"}) == quiet.model_dump(exclude={"created"})


def test_both_sides_of_all_pairs_are_in_the_same_stream(world: World) -> None:
    report = world.run()
    first, *rest = world.display.stages
    prompted = sum(a.recipe is None for a in report.arms)
    recipes, seeds, training_items = 4, 2, 24
    assert (
        12 * prompted + 2 * seeds * training_items < first.done <= 12 * prompted + 2 * recipes * seeds * training_items
    )
    assert not any(stage.computed_anything for stage in rest if stage.name.endswith(": pairs"))
    assert not any(stage.computed_anything for stage in world.display.stages if stage.name.endswith("pairs"))


def test_a_response_that_is_damaged_before_it_is_scored_is_one_message(tmp_path: Path) -> None:
    engine = FakeEngine(guess, settle)
    with closing(Store(tmp_path)) as store:
        config = settings()
        run = Run(RunContext(config, make_plan(config), store, engine, SilentDisplay()))
        run.execute()
        key = next(iter(run.evaluated[0].keys.values()))
        store.database.execute("DELETE FROM responses WHERE key = ?", (key,))
        with pytest.raises(StorageError, match=r"1 responses of .* computes them again"):
            run.evaluated[0].responses(store)
