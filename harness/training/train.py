"""Trains one checkpoint and writes its lineage.

`train` is the entry point; it starts again with less memory, or without deterministic algorithms, where it must. The
trainers come from `dpo`, `sft`, `contrastive` and `grpo`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from mipo_bench.harness.errors import StorageError, TrainingError, first_line
from mipo_bench.harness.generators.kept_prompts import Remember, compute_anew
from mipo_bench.harness.inference.memory import free_memory, gc_frozen, is_out_of_memory
from mipo_bench.harness.training import contrastive, dpo, grpo, sft
from mipo_bench.harness.training.job import LINEAGE, TRAINING_VERSION, OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet, example_count
from mipo_bench.harness.training.ranks import check_world, rank, trained_model
from mipo_bench.harness.training.trainer_setup import check_savable, deterministic_algorithms, logits_for_a_cpu
from mipo_bench.harness.types import Objective

Prepare = Callable[[Training, str, OnStep], Prepared]
"""Prepares a trainer, given a folder for scratch files."""
PAIRS = "pairs.jsonl"
_NOT_DETERMINISTIC = "does not have a deterministic implementation"
"""torch's message about a computation that no GPU repeats bit for bit."""
_HOW_LOADED = ("is_local", "local_files_only")
"""What transformers writes beside a tokenizer about how it was loaded, with HF_HUB_OFFLINE or without."""
_PREPARE: Mapping[Objective, Prepare] = {
    "sft": sft.prepare,
    "sami": contrastive.prepare,
    "infonce": contrastive.prepare,
    "grpo": grpo.prepare,
}
_CURVE_NAMES = {
    "loss": "loss",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "logps/chosen": "logp_chosen",
    "logps/rejected": "logp_rejected",
    "margin": "margin",
    "accuracy": "accuracy",
    "mean_token_accuracy": "token_accuracy",
    "reward": "reward",
    "reward_std": "reward_sd",
    "frac_reward_zero_std": "equal_rewards",
    "kl": "kl",
    "completions/mean_length": "mean_tokens",
    "completions/clipped_ratio": "truncated",
    "grad_norm": "grad_norm",
    "learning_rate": "lr",
}
"""Name in the trainer's log -> name in the lineage's curve."""


def train(
    training: Training, out: Path, on_step: OnStep, prepare: Prepare | None = None, remember: Remember = compute_anew
) -> None:
    """Train and write an ordinary Hugging Face folder with `lineage.json` and `pairs.jsonl` beside the weights.

    `on_step` is called as `OnStep` says. Examples longer than `max_length` are left out and
    counted. Raises TrainingError where the first loss is not the one that the objective starts from (log 2 for sigmoid
    DPO), where a loss is not finite, where another text would be trained on than is evaluated, or where no example is
    left; StorageError where the disk is full.

    Where memory runs out it starts again: on a GPU with activation checkpointing, then, for DPO, with more steps of
    gradient accumulation, which leave the mean loss of a batch as it is. Where a model needs an algorithm that is not
    deterministic, it starts again without that demand. The lineage says so. `prepare` replaces the objective's own;
    `remember` keeps what other trainings of the base model on the same device need, too.
    """
    chosen = prepare or objective_trainer(training, remember)

    def attempt(training: Training) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            train_once(training, out, scratch, on_step, chosen)

    with gc_frozen():
        with_retries(training, attempt)


def with_retries(training: Training, attempt: Callable[[Training], None]) -> None:
    """Call `attempt` with the training, and again with its leaner form (`with_less_memory`) where memory runs out.

    Where a GPU has no deterministic algorithm for the model, the next attempt does not demand one.
    """
    while True:
        try:
            return attempt(training)
        except Exception as error:
            if is_out_of_memory(error):
                training = with_less_memory(training, error)
            elif training.deterministic and _NOT_DETERMINISTIC in str(error):
                training = replace(training, deterministic=False)
            else:
                raise
        free_memory()


def with_less_memory(training: Training, error: Exception) -> Training:
    """The same training in less memory: with activation checkpointing, then with more gradient accumulation.

    The steps of gradient accumulation divide the batch, and at least double. Raises TrainingError, from `error`, where
    neither is left.
    """
    if not training.activation_checkpointing and training.placement.device.startswith("cuda"):
        return replace(training, activation_checkpointing=True)
    batch = training.batch_of_process
    steps = [n for n in range(2 * training.gradient_accumulation_steps, batch + 1) if batch % n == 0]
    if not steps or training.data.objective != "dpo":
        raise TrainingError(
            f"out of memory ({first_line(error)}). Take --set train.method=lora, a smaller train.max_length, or a"
            " smaller model."
        ) from error
    return replace(training, gradient_accumulation_steps=steps[0])


def objective_trainer(training: Training, remember: Remember = compute_anew) -> Prepare:
    """Prepares the trainer of a training's objective."""
    if training.data.objective == "dpo":
        return partial(dpo.prepare, remember=remember)
    return _PREPARE[training.data.objective]


def train_once(training: Training, out: Path, scratch: str, on_step: OnStep, prepare: Prepare) -> None:
    """One attempt of `train` with the folder `scratch` for files of its own, which launched processes share.

    Every launched process calls this; the first one writes the checkpoint.
    """
    check_world(training)
    with logits_for_a_cpu(training):
        prepared = prepare(training, scratch, on_step)
        trainer = prepared.trainer
        if rank() == 0:
            check_savable(trainer.model, trainer.processing_class, scratch)
        with deterministic_algorithms(training):
            trainer.train()
    prepared.check(trainer.state.log_history)
    model = trained_model(trainer, training)
    if model is not None:
        _write(model, prepared, training, out)
    del trainer, prepared, model
    free_memory()


def _write(model: PreTrainedModel, prepared: Prepared, training: Training, out: Path) -> None:
    trainer = prepared.trainer
    _check_weights(model)
    with storage_errors(out):
        _save(model, trainer.processing_class, training, out)
        curve = [_point(row) for row in trainer.state.log_history if "loss" in row]
        lineage = _lineage(training, curve, prepared)
        (out / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
        if isinstance(training.data, PairSet):
            with (out / PAIRS).open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in training.data.pairs)


def _check_weights(model: PreTrainedModel) -> None:
    """Raise TrainingError for weights that are not finite: the loss of the last step was computed before its update."""
    broken = [name for name, weights in model.named_parameters() if not weights.isfinite().all()]
    if broken:
        raise TrainingError(f"the weights are no numbers after the last step ({broken[0]}); lower train.lr")


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Raise StorageError where the disk refuses a file; safetensors has an error of its own for that."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"cannot write the checkpoint {folder}: {error}. Make room on its disk, and the same command goes on."
        ) from error


def _point(row: Mapping[str, float]) -> dict[str, float]:
    return {"step": row["step"]} | {name: row[logged] for logged, name in _CURVE_NAMES.items() if logged in row}


def _save(model: PreTrainedModel, tokenizer: Any, training: Training, out: Path) -> None:
    """Save in the number format that the checkpoint is evaluated in."""
    model.to(getattr(torch, training.placement.dtype)).save_pretrained(out)
    tokenizer.padding_side = "left"
    for name in _HOW_LOADED:
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(out)


def _repeatable(training: Training) -> bool:
    """Whether the same training gives the same weights. Of several GPUs nobody has shown it yet."""
    several_gpus = training.settings.processes > 1 and training.placement.device.startswith("cuda")
    return training.deterministic and not several_gpus


def _lineage(training: Training, curve: Sequence[Mapping[str, float]], prepared: Prepared) -> dict[str, Any]:
    data = training.data
    unpaired = data.discarded if isinstance(data, PairSet) else {}
    discarded = {**unpaired, **{reason: n for reason, n in prepared.left_out.items() if n}}
    too_long = example_count(data) - prepared.used - sum(prepared.left_out.values())
    return {
        "code": TRAINING_VERSION,
        "objective": data.objective,
        "base_digest": training.base_digest,
        "task": training.task,
        "recipe": training.recipe,
        "seed": training.seed,
        "settings": training.settings.model_dump(mode="json"),
        **({} if training.gradient_accumulation_steps == 1 else {"parts": training.gradient_accumulation_steps}),
        **({} if _repeatable(training) else {"repeatable": False}),
        **prepared.remarks(),
        "pairs": {
            "digest": data.digest,
            "used": prepared.used,
            "too_long": too_long,
            "discarded": {reason: n for reason, n in discarded.items() if n},
        },
        **({} if isinstance(data, PairSet) else {"reward": {"name": data.reward.name, **prepared.reward_counts()}}),
        "curve": list(curve),
    }
