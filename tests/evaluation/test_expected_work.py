"""A stage that asks several times expects all of its work before the first time, so that its time left is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fakes import FakeGenerator
from worlds import settings

from mipo_bench.baselines.prompting.self_refine import SelfRefine
from mipo_bench.harness.config.schema import InformationConfig, RunConfig
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.diagnostics.mutual_information import contrast_prompts, measure
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmAnswers, ArmContext
from mipo_bench.harness.evaluation.strategies import answer_arm
from mipo_bench.harness.planning.plan import TaskPlan, make_plan
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Arm, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, Response

PLUGINS = load_plugins()


class Watched(FakeGenerator):
    """A generator that notes how many results its stage still expects, each time it is asked."""

    def __init__(self, name: str, stage: Stage) -> None:
        super().__init__(name, lambda request: f"{name} {request.prompt[-40:]}")
        self.stage = stage
        self.left: list[int] = []

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        self._note()
        return super().generate(requests)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        self._note()
        return super().likelihoods(asked)

    def _note(self) -> None:
        self.left.append(self.stage.pace.work.results - self.stage.pace.results)


def persona() -> TaskPlan:
    [plan] = make_plan(settings(tasks=["persona"], recipes=[])).tasks
    return plan


def answers(
    plan: TaskPlan, baseline: Baseline, generator: Watched, store: Store, recipe: str | None = None
) -> ArmAnswers:
    arm = Arm("persona", baseline.name, recipe, None if recipe is None else 0)
    model = AnsweringModel(generator, generator.digest)
    return answer_arm(ArmContext(plan, baseline, arm, model, store, generator.stage, RunConfig()))


def test_all_steps_of_an_arm(tmp_path: Path) -> None:
    plan, stage = persona(), Stage("persona self-refine: evaluation", "responses")
    generator, items = Watched("base", stage), len(plan.items)
    answers(plan, SelfRefine(), generator, Store(tmp_path))
    assert generator.left == [3 * items, 2 * items, items]
    assert stage.done == stage.total == 3 * items


def test_all_models_of_mutual_information(tmp_path: Path) -> None:
    plan, stage, store, profile = persona(), Stage("", "prompts"), Store(tmp_path), PLUGINS.baselines["profile"]
    base, trained = Watched("base", Stage("", "")), Watched("trained", Stage("", ""))
    arms = [answers(plan, profile, base, store), answers(plan, profile, trained, store, "mipo-random")]
    base.stage = trained.stage = stage
    base.left, trained.left = [], []
    config = InformationConfig(contexts=2)
    contrasts = contrast_prompts(plan, profile, base, config)
    assert contrasts is not None
    measure(arms, contrasts, config, store, stage)
    [both], [own] = base.left, trained.left
    assert both == 2 * own > 0
    assert stage.done == stage.total == both
