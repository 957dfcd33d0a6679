"""What is trained, and what a trainer of any objective comes with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Objective

NOT_READ: Mapping[Objective, set[str]] = {
    "dpo": {"temperature", "generations", "kl"},
    "sft": {"beta", "loss", "temperature", "generations", "kl"},
    "sami": {"beta", "loss", "temperature", "generations", "kl"},
    "infonce": {"beta", "loss", "generations", "kl"},
    "grpo": {"beta", "loss", "temperature"},
}
"""The settings that an objective does not read: changing them costs no new training."""
OnStep = Callable[[int, int], None]
"""Called with the step and the number of steps."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training: where it starts, on what, how."""

    base: Path
    base_digest: str
    task: str
    recipe: str
    seed: int
    data: PairSet | PromptSet
    settings: TrainConfig
    placement: Placement
    gradient_accumulation_steps: int = 1
    """Into how many parts the batch of a step is split, their gradients added up, because memory is short."""
    activation_checkpointing: bool = False
    """Whether activations are computed again for the gradient in place of kept, because memory is short."""
    deterministic: bool = True
    """Whether a GPU may use only what gives the same bits each time; some architectures need what does not."""


def _accept(logs: Sequence[Mapping[str, float]]) -> None:
    """Nothing to check."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A trainer that is ready.

    `used` is the number of examples that it trains on, `left_out` counts others by reason (too long ones need no
    mention), and `check` looks at the finished training's log, raising TrainingError.
    """

    trainer: Any
    used: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    check: Callable[[Sequence[Mapping[str, float]]], None] = _accept
