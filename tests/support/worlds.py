"""Whole runs on fake models: a store, an engine and a configuration that several runs share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fakes import Answerer, FakeEngine, SilentDisplay
from made_judges import Letters

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.planning.plan import Plan, TaskPlan, make_plan
from mipo_bench.harness.protocols import Arm, Judge, Request
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding
from mipo_bench.reports.records.report import Report


def guess(request: Request) -> str:
    """A weak model: its number or letter depends only on the seed."""
    rng = random.Random(request.seed)
    return (
        f"Answer: {rng.choice('ABCD')}"
        if request.options
        else f"{request.seed % 97} words. Answer: {rng.randint(1, 60)}"
    )


def settle(request: Request) -> str:
    """A model that gives the same response to all users."""
    return "Answer: A" if request.options else "Answer: 20"


def settings(**options: Any) -> RunConfig:
    return load_config(None, [], {"limit": 12, "seeds": 2, **options})


class World:
    """A store and an engine that several runs share."""

    def __init__(self, folder: Path, engine: FakeEngine | None = None) -> None:
        self.store = Store(folder)
        self.engine = engine or FakeEngine(guess, settle)
        self.display = SilentDisplay()

    def run(self, config: RunConfig | None = None, change: Callable[[Plan], Plan] = lambda p: p) -> Report:
        config = config or settings()
        plan = change(make_plan(config))
        return Run(RunContext(config, plan, self.store, self.engine, self.display)).execute()


def words(request: Request) -> str:
    """A weak model: its letters, and their number, depend on prompt and seed."""
    chance = int(digest([request.prompt, request.seed])[:12], 16)
    return " ".join(chr(97 + (chance >> 6 * n) % 26) for n in range(4 + chance % 4))


def follows(request: Request) -> str:
    """A trained model: it responds with exactly the letter that the user wants."""
    return f"word {request.prompt.partition('Wants ')[2][:1]}"


def plan_of(config: RunConfig, task: Letters) -> Plan:
    base = make_plan(replace_config(config, tasks=["persona"]))
    items = task.items("eval")
    plan = TaskPlan(task, items, (), "profile", ("no-context", "profile"), (), Decoding(8, 0.1, 0.9))
    arms = [Arm(task.name, b) for b in plan.baselines] + [Arm(task.name, "profile", sample_seed=1, aa_twin=True)]
    return Plan((plan,), base.baselines, base.recipes, tuple(arms))


def replace_config(config: RunConfig, **changes: object) -> RunConfig:
    return RunConfig.model_validate(config.model_dump() | changes)


class Court:
    """A store, and runs of the letters task with any judge; `answer` is the base model."""

    def __init__(self, folder: Path, task: Letters | None = None, answer: Answerer = words) -> None:
        self.store = Store(folder)
        self.task = task or Letters()
        self.answer = answer

    def run(self, judge: Judge, kind: str = "model", settings: Sequence[str] = ("judge.retest=4",)) -> Report:
        config = load_config(None, settings, {"recipes": []})
        self.display = SilentDisplay()
        assigned = AssignedJudge(judge, kind)  # type: ignore[arg-type]
        plan = plan_of(config, self.task)
        engine = FakeEngine(self.answer, follows)
        run = Run(RunContext(config, plan, self.store, engine, self.display), {self.task.name: assigned})
        self.jury = run.judged_arms
        report = run.execute()
        self.keys = [done.keys for done in run.evaluated]
        return report
