"""The parts that all stages of a run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mipo_bench.harness.backends.base import Backend
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Display
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.store.run_store import Store


@dataclass(frozen=True, slots=True)
class RunContext:
    """The configuration and the plan of a run, its store, its models and its display."""

    config: RunConfig
    plan: Plan
    store: Store
    backend: Backend
    display: Display
    hardware: Callable[[], Mapping[str, str | int]] | None = None
    """The hardware that computed, where it is not this machine's."""

    @property
    def base(self) -> AnsweringModel:
        """The base model with the digest of its weights."""
        return AnsweringModel(self.backend.base, self.backend.model_digest)
