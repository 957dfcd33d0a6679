"""The records around a training: `Training` says what is trained and how, `Prepared` is a trainer that is ready.

Light code imports this module, so nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Objective

if TYPE_CHECKING:
    from transformers import Trainer

TRAINING_VERSION = 6
"""Goes up whenever the same examples and settings can train to other weights: it is part of the checkpoints' keys."""
LINEAGE = "lineage.json"
"""The file in a checkpoint that says how it was made."""
UNUSED_SETTINGS: Mapping[Objective, set[str]] = {
    "dpo": {"temperature", "generations", "kl"},
    "sft": {"beta", "loss", "temperature", "generations", "kl"},
    "sami": {"beta", "loss", "temperature", "generations", "kl"},
    "infonce": {"beta", "loss", "generations", "kl"},
    "grpo": {"beta", "loss", "temperature"},
}
"""The settings that an objective does not read: changing them costs no new training."""
OnStep = Callable[[int, int], None]
"""Called with the number of the step that is done, 0 before the first one, and the number of all steps."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training: the weights that it starts from, its examples and settings, and how it fits into memory."""

    base: Path
    base_digest: str
    task: str
    recipe: str
    seed: int
    data: PairSet | PromptSet
    settings: TrainConfig
    placement: Placement
    gradient_accumulation_steps: int = 1
    """The parts that the batch of a step is split into where memory is short; their gradients are added up."""
    activation_checkpointing: bool = False
    """Whether activations are recomputed for the gradient instead of being kept, because memory is short."""
    deterministic: bool = True
    """Whether a GPU may use only deterministic algorithms; some architectures need others."""
    end_token: str = ""
    """A token that ends sampled responses, besides those of the model's files; empty for none."""

    @property
    def batch_of_process(self) -> int:
        """Examples of one optimizer step in each process."""
        return self.settings.batch_size // self.settings.processes

    @property
    def autocast_on_cpu(self) -> bool:
        """Whether a CPU multiplies in bfloat16, the weights staying in float32: where the responses are bfloat16."""
        return self.placement.device == "cpu" and self.placement.dtype == "bfloat16"


def _accept(log: Sequence[Mapping[str, float]]) -> None:
    """Nothing to check."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A trainer that is ready.

    `used` is the number of examples that it trains on, and `left_out` counts others by reason, except those that are
    too long. `check` gets the log of the finished training and raises TrainingError. `reward_counts` gives the sums of
    `Ratings.counts` so far. `remarks` gives further entries of the lineage, after the training.
    """

    trainer: Trainer
    used: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    check: Callable[[Sequence[Mapping[str, float]]], None] = _accept
    reward_counts: Callable[[], Mapping[str, int]] = dict
    remarks: Callable[[], Mapping[str, str]] = dict
