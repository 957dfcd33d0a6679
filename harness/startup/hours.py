"""Estimates the hours of a planned run on a kind of GPU (`run --dry-run --gpu`), scaled from a measured rate."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mipo_bench.harness.config.schema import RunConfig, TrainConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.generators.placement import dtype_on
from mipo_bench.harness.inference.memory import Budget
from mipo_bench.harness.planning.grid import settings_of
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.startup.cost import Answers, arm_answers, pair_answers
from mipo_bench.harness.startup.gpus import WIDTHS, Cluster, Gpu, nearest_measurement
from mipo_bench.harness.startup.model_size import ModelSize, model_size
from mipo_bench.harness.training.memory import training_bytes
from mipo_bench.harness.types import Objective
from mipo_bench.reports.numbers import plural

_HOUR = 3600.0
_MODELS = 2
"""Models in memory at once: the base model and a checkpoint."""


@dataclass(frozen=True, slots=True)
class Hours:
    """GPU seconds: of the base model's answers, which all GPUs share, and of each trained arm, which takes one GPU."""

    base: float
    arms: Sequence[float]

    @property
    def total(self) -> float:
        """All GPU seconds."""
        return self.base + sum(self.arms)

    def on(self, gpus: int) -> float:
        """Seconds on so many GPUs: the longest trained arm that is left goes to the first free GPU."""
        free = [self.base / gpus] * gpus
        for seconds in sorted(self.arms, reverse=True):
            heapq.heapreplace(free, free[0] + seconds)
        return max(free)


@dataclass(frozen=True, slots=True)
class Rates:
    """The speed of one model on one kind of GPU, scaled from the nearest measurement."""

    gpu: Gpu
    size: ModelSize
    dtype: str

    def generation(self, answers: Answers) -> float:
        """Seconds of prefill and decoding, with as many slots as the GPU has memory for."""
        if not answers.count:
            return 0.0
        measured, width = nearest_measurement(self.size.parameters), WIDTHS[self.dtype]
        weights, token = width * self.size.parameters, width * self.size.cache_numbers
        columns = math.ceil((answers.prompt + answers.new) / answers.count)
        budget = Budget(max(int(self.gpu.memory * 1e9 - _MODELS * weights), 0), max(int(token), 1))
        slots = budget.slots(max(columns, 1))
        moved = weights + slots * columns * token
        step = measured.overhead + moved / (measured.bandwidth_share * self.gpu.bandwidth * 1e12)
        return answers.new / slots * step + self.prefill(answers.prompt)

    def prefill(self, tokens: float) -> float:
        """Seconds of a forward pass over so many tokens: 2 FLOP a parameter and token."""
        return self._computed(2 * tokens, self.gpu.float32 if self.dtype == "float32" else self.gpu.bfloat16)

    def training(self, passes: float) -> float:
        """Seconds of so many FLOP a parameter, in mixed precision."""
        return self._computed(passes, self.gpu.bfloat16)

    def _computed(self, flop: float, peak: float) -> float:
        share = nearest_measurement(self.size.parameters).compute_share
        return flop * self.size.parameters / (share * peak * 1e12)


def planned_hours(plan: Plan, config: RunConfig, cluster: Cluster) -> Iterator[str]:
    """Lines with the largest number of hours and GPU hours, and what they rest on.

    Raises ConfigError for a model that does not run here, ModelError for one whose size is unknown.
    """
    if not config.source.has_weights:
        raise ConfigError(f"--gpu estimates a model that runs here, and {config.model} ({config.backend}) does not.")
    size, dtype = model_size(config.model), dtype_on(config, "cuda")
    hours = _hours(plan, config, Rates(cluster.gpu, size, dtype))
    measured, share = nearest_measurement(size.parameters), hours.on(cluster.count) / _HOUR
    yield (
        f"on {cluster.count} x {cluster.kind}: at most about {_text(share)} and"
        f" {_text(hours.total / _HOUR, 'GPU hour')}, if every response is as long as it may be"
    )
    arms = f"{plural(len(hours.arms), 'trained arm')} {_text(sum(hours.arms) / _HOUR)}" if hours.arms else "no training"
    yield f"  of one GPU's time: the base model's answers {_text(hours.base / _HOUR)}, {arms}; answers in {dtype}"
    yield (
        f"  measured: {measured.model} on one {measured.gpu}, {measured.date} ({measured.source}):"
        f" {measured.generated:,.0f} new tokens/s, {measured.trained:,.0f} trained tokens/s"
    )
    ratio = size.parameters / measured.parameters
    scaled = [f"the model ({size.parameters:,} parameters, {ratio:.2g} times as many)"]
    scaled += [cluster.kind] if cluster.kind != measured.gpu else []
    scaled += ["several GPUs, without any loss"] if cluster.count > 1 else []
    yield f"  scaled from it by published memory bandwidth and FLOP/s, not measured: {', '.join(scaled)}"
    yield "  not in it: loading and saving, guards, mutual information, judges; results in the store take no time"
    if hours.arms:
        needed = training_bytes(size.parameters, config.train) / 1e9
        yield f"  a training takes {needed:.1f} GB before its first batch; {cluster.kind} has {cluster.gpu.memory:g} GB"


def _text(hours: float, unit: str = "hour") -> str:
    """Hours with one decimal, or minutes below one hour."""
    if hours < 1 and unit == "hour":
        return plural(max(1, math.ceil(60 * hours)), "minute")
    return f"{hours:,.1f} {unit}s"


def _hours(plan: Plan, config: RunConfig, rates: Rates) -> Hours:
    base, arms = 0.0, list[float]()
    for task in plan.tasks:
        base += rates.generation(pair_answers(task, plan, config))
        for arm in plan.arms_of(task.task.name, trained=False):
            base += rates.generation(arm_answers(task, arm, plan, config))
        for arm in plan.arms_of(task.task.name, trained=True):
            answers = rates.generation(arm_answers(task, arm, plan, config))
            arms.append(answers + _training(task, arm, plan, config, rates))
    return Hours(base, arms)


def _training(task: TaskPlan, arm: Arm, plan: Plan, config: RunConfig, rates: Rates) -> float:
    """Seconds of one training: its passes over all examples, each as long as it may be."""
    settings = settings_of(str(arm.recipe), config)
    objective = objective_of(plan.recipes[str(arm.recipe)])
    once = pair_answers(task, plan, config)
    tokens = (once.prompt + once.new) / once.count * len(task.training_items) * settings.epochs
    seconds = rates.training(tokens * _flop(objective, settings, config))
    if objective == "grpo":  # it generates its own responses while it trains
        seconds += rates.generation(once.times(settings.generations)) * len(task.training_items) / once.count
    return seconds


def _flop(objective: Objective, settings: TrainConfig, config: RunConfig) -> float:
    """FLOP a parameter and token of one example: forward 2, backward 4 (LoRA 2), a reference's forward 2."""
    trained = 4 if settings.method == "lora" else 6
    sequences = {
        "dpo": 2,
        "sft": 1,
        "sami": (1 + config.pairs.negatives) ** 2,
        "infonce": 1 + config.pairs.negatives,
        "grpo": settings.generations,
    }[objective]
    reference = 2 if objective in ("dpo", "grpo") else 0
    return sequences * (trained + reference)
