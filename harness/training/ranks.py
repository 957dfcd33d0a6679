"""The processes of one training: on which examples they train together, and how their weights become one model.

Each process of a training over several devices has a rank. A training in one process has rank 0, and is not launched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import datasets
import torch
from peft import get_peft_model
from transformers import PreTrainedModel, Trainer, TrainingArguments

from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.trainer_setup import load_for_training, lora_config

_RANK, _WORLD = "RANK", "WORLD_SIZE"
"""Environment variables of torch's launcher."""
Example = TypeVar("Example")


def is_launched() -> bool:
    """Whether a launcher has started this process."""
    return _RANK in os.environ


def rank() -> int:
    """The number of this process among those of the training."""
    return int(os.environ.get(_RANK, "0"))


def check_world(training: Training) -> None:
    """Raise TrainingError where another number of processes has been started than the training is for."""
    started = int(os.environ.get(_WORLD, "1"))
    if started != training.settings.processes:
        raise TrainingError(f"the training is for {training.settings.processes} processes, but {started} were started")


def whole_batches(examples: Sequence[Example], training: Training) -> tuple[Sequence[Example], Mapping[str, int]]:
    """The examples that fill whole batches, and the number of the rest by its reason. One process takes all.

    With several processes accelerate would fill the last batch with examples that were used before. Raises
    TrainingError where the examples fill no batch.
    """
    batch = training.settings.batch_size
    if training.settings.processes == 1:
        return examples, {}
    if len(examples) < batch:
        raise TrainingError(
            f"{len(examples)} examples are fewer than train.batch_size = {batch}, and several processes train on whole"
            " batches only; lower train.batch_size"
        )
    rest = len(examples) % batch
    return examples[: len(examples) - rest], {"last batch not full": rest}


def shared_rows(rows: Sequence[Mapping[str, Any]], args: TrainingArguments, scratch: str) -> datasets.Dataset:
    """The rows as a data set. Processes that were launched read it from one folder.

    trl keeps what it computes from a data set beside its file; of one in memory, each process would look in a folder
    of its own.
    """
    data = datasets.Dataset.from_list(list(rows))
    if not is_launched():
        return data
    folder = Path(scratch) / "rows"
    with args.main_process_first(local=False):
        if rank() == 0:
            data.save_to_disk(folder)
    return datasets.load_from_disk(folder)


def trained_model(trainer: Trainer, training: Training) -> PreTrainedModel | None:
    """The trained model with its LoRA adapters merged; None in every launched process but the first.

    All processes must call this: each may hold a part of the weights.
    """
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if is_launched():
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if rank() > 0:
            return None
        model = _with_weights(model, weights, training)
    finished: PreTrainedModel = model.merge_and_unload() if training.settings.method == "lora" else model
    return finished


def _with_weights(trained: Any, weights: Mapping[str, torch.Tensor], training: Training) -> Any:
    """The base model, loaded again, with the trained weights and with the settings of the model that was trained."""
    model, _ = load_for_training(training)
    model.config, model.generation_config = trained.config, trained.generation_config
    adapter = lora_config(training)
    whole = get_peft_model(model, adapter) if adapter else model
    whole.load_state_dict(under_all_names(whole, weights))
    return whole


def under_all_names(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under every name that the model has for them: of tied weights an engine may give one name or all.

    Raises TrainingError where names of one tensor have different values (a checkpoint could not hold both), and where
    a tensor is missing.
    """
    found: dict[str, torch.Tensor] = {}
    for names in _tensors(model):
        given = [name for name in names if name in weights]
        if not given:
            raise TrainingError(f"the trained weights lack {names[0]}")
        values = weights[given[0]]
        if other := [name for name in given if not torch.equal(weights[name], values)]:
            raise TrainingError(f"the weights {given[0]} and {other[0]} are tied, but were trained to different values")
        found |= dict.fromkeys(names, values)
    return found


def _tensors(model: torch.nn.Module) -> list[list[str]]:
    """The names of each tensor of a model."""
    names: dict[object, list[str]] = {}
    for name, values in model.state_dict().items():
        names.setdefault(values.data_ptr() or name, []).append(name)
    return list(names.values())
