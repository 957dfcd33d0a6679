"""Train, and write down how. What each objective needs of trl and peft is in `training`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.errors import StorageError, TrainingError
from mipo_bench.harness.inference.memory import free_memory, is_out_of_memory, only_new_garbage
from mipo_bench.harness.training import contrastive, dpo, grpo, sft
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.training.trainer_setup import deterministic_algorithms
from mipo_bench.harness.types import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRAINING_VERSION = 2
"""Goes up whenever the same examples and settings can train to other weights."""
LINEAGE = "lineage.json"
PAIRS = "pairs.jsonl"
_NONDETERMINISTIC = "does not have a deterministic implementation"
"""What torch says of a computation that no GPU repeats bit for bit."""
_PREPARE: Mapping[Objective, Callable[[Training, str, OnStep], Prepared]] = {
    "dpo": dpo.prepare,
    "sft": sft.prepare,
    "sami": contrastive.prepare,
    "infonce": contrastive.prepare,
    "grpo": grpo.prepare,
}
_CURVE = {
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


def train(
    training: Training, out: Path, on_step: OnStep, prepare: Callable[[Training, str, OnStep], Prepared] | None = None
) -> None:
    """Train and write an ordinary Hugging Face folder with `lineage.json` and `pairs.jsonl` beside the weights.

    `on_step` is called with the step and the number of steps. Examples longer than `max_length` are left out and
    counted. Raises TrainingError where the first loss is not what the objective starts from (log 2 for sigmoid DPO),
    where a loss is not a number, where another text would be trained on than is evaluated, or where nothing is left.

    Where memory runs out it starts again: on a GPU with activations that are computed twice in place of kept, then, for
    DPO, with the batch of each step in more parts, which leaves its mean loss as it is; the lineage says so, and where
    the model needs what a GPU does not repeat bit for bit. `prepare` takes the place of the objective's own. Raises
    StorageError where the disk is full.
    """
    prepare = prepare or _PREPARE[training.data.objective]
    with only_new_garbage():
        _train_with_retries(training, out, on_step, prepare)


def _train_with_retries(
    training: Training, out: Path, on_step: OnStep, prepare: Callable[[Training, str, OnStep], Prepared]
) -> None:
    """As asked, or as memory and the GPU allow."""
    while True:
        try:
            return _train(training, out, on_step, prepare)
        except Exception as error:
            if is_out_of_memory(error):
                training = with_less_memory(training, error)
            elif training.deterministic and _NONDETERMINISTIC in str(error):
                training = replace(training, deterministic=False)
            else:
                raise
        free_memory()


def with_less_memory(training: Training, error: Exception) -> Training:
    """The same training in less memory: activations computed twice, then the batch in more parts.

    Parts divide the batch, at least twice as many as before. Raises TrainingError where there are none.
    """
    if not training.activation_checkpointing and training.placement.device.startswith("cuda"):
        return replace(training, activation_checkpointing=True)
    batch = training.settings.batch_size
    found = [n for n in range(2 * training.gradient_accumulation_steps, batch + 1) if batch % n == 0]
    if not found or training.data.objective != "dpo":
        said = str(error).partition("\n")[0]
        raise TrainingError(
            f"out of memory ({said}). Take --set train.method=lora, a smaller train.max_length, or a smaller model."
        ) from error
    return replace(training, gradient_accumulation_steps=found[0])


def _train(
    training: Training, out: Path, on_step: OnStep, prepare: Callable[[Training, str, OnStep], Prepared]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        prepared = prepare(training, scratch, on_step)
        trainer = prepared.trainer
        with deterministic_algorithms(training):
            trainer.train()
    prepared.check(trainer.state.log_history)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if training.settings.method == "lora":
        model = model.merge_and_unload()
    _check_weights(model)
    with saved_whole(out):
        _save(model, trainer.processing_class, training, out)
        curve = [_point(row) for row in trainer.state.log_history if "loss" in row]
        lineage = _lineage(training, curve, prepared)
        (out / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
        if isinstance(training.data, PairSet):
            with (out / PAIRS).open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in training.data.pairs)
    del trainer, prepared, model
    free_memory()


def _check_weights(model: PreTrainedModel) -> None:
    """Raise TrainingError for weights that are no numbers: the last step's loss was computed before they moved."""
    broken = [name for name, weights in model.named_parameters() if not weights.isfinite().all()]
    if broken:
        raise TrainingError(f"the weights are no numbers after the last step ({broken[0]}); lower train.lr")


@contextmanager
def saved_whole(folder: Path) -> Iterator[None]:
    """Raise StorageError where the disk refuses a file: safetensors has an error of its own for that."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"cannot write the checkpoint {folder}: {error}. Make room on its disk, and the same command goes on."
        ) from error


def _point(row: Mapping[str, float]) -> dict[str, float]:
    return {"step": row["step"]} | {ours: row[theirs] for theirs, ours in _CURVE.items() if theirs in row}


def _save(model: PreTrainedModel, tokenizer: Any, training: Training, out: Path) -> None:
    """Save in the number format that the checkpoint is evaluated in."""
    import torch

    model.to(getattr(torch, training.placement.dtype)).save_pretrained(out)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(out)


def _lineage(training: Training, curve: Sequence[Mapping[str, float]], prepared: Prepared) -> dict[str, Any]:
    data = training.data
    unpaired = data.discarded if isinstance(data, PairSet) else {}
    discarded = {**unpaired, **{reason: n for reason, n in prepared.left_out.items() if n}}
    too_long = examples_of(data) - prepared.used - sum(prepared.left_out.values())
    return {
        "code": TRAINING_VERSION,
        "objective": data.objective,
        "base_digest": training.base_digest,
        "task": training.task,
        "recipe": training.recipe,
        "seed": training.seed,
        "settings": training.settings.model_dump(mode="json"),
        **({} if training.gradient_accumulation_steps == 1 else {"parts": training.gradient_accumulation_steps}),
        **({} if training.deterministic else {"repeatable": False}),
        "pairs": {
            "digest": data.digest,
            "used": prepared.used,
            "too_long": too_long,
            "discarded": discarded,
        },
        **({} if isinstance(data, PairSet) else {"reward": {"name": data.reward.name, **data.reward.counts}}),
        "curve": list(curve),
    }


def examples_of(data: PairSet | PromptSet) -> int:
    """How many examples there are to train on: pairs for DPO, else items."""
    if isinstance(data, PromptSet):
        return len(data.prompts)
    return len(data.pairs) if data.objective == "dpo" else len({pair.item_id for pair in data.pairs})
