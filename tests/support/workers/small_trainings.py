"""Small trainings of the embedded model, and the distance between two checkpoints of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training.distributed.launch import train_in_processes
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Objective

FOLDER = model_folder.embedded_folder()
PLUGINS = load_plugins()
WORKERS = Path(__file__).parent


def pair_set(count: int, objective: Objective = "dpo") -> PairSet:
    task, profile = PLUGINS.tasks["persona"], PLUGINS.baselines["profile"]
    items = task.items("train")[:count]
    pairs = [Pair(i.id, profile.messages(i), task.gold(i), task.wrong(i)) for i in items]
    return PairSet(tuple(pairs), {"identical": 1}, "digest", objective)


def training(pairs: int = 16, objective: Objective = "dpo", base: Path = FOLDER, **settings: Any) -> Training:
    values = {"lr": 1e-3, "batch_size": 8, "max_length": 512, **settings}
    placement = Placement("cpu", "float32", threads=1)
    data = pair_set(pairs, objective)
    return Training(base, model_digest(base), "persona", "mipo-random", 0, data, TrainConfig(**values), placement)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return {name: values.detach().double() for name, values in model.named_parameters()}


ROUNDING = 1e-3
"""The most that `difference` may be where only the order of sums differs; 1.1e-4 was seen on one kind of CPU."""


def difference(one: Path, other: Path, base: Path = FOLDER) -> float:
    """The 2-norm of the difference of two checkpoints' weights over that of the first one's update."""
    before, first, second = weights(base), weights(one), weights(other)
    return _norm([first[n] - second[n] for n in before]) / _norm([first[n] - before[n] for n in before])


def _norm(parts: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float((part**2).sum()) for part in parts))


if __name__ == "__main__":  # a run that a test kills
    train_in_processes(
        training(64, batch_size=2, processes=2, launch="ddp", epochs=50.0),
        Path(sys.argv[1]),
        lambda step, total: print(step, flush=True),
    )
