"""Train, and write down how. What each objective needs of trl and peft is in `training`."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.pairs import PairSet, PromptSet
from mipo_bench.harness.training import contrastive, dpo, grpo, sft
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.types import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CODE = 1
"""Goes up whenever the same examples and settings can train to other weights."""
LINEAGE = "lineage.json"
PAIRS = "pairs.jsonl"
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


def train(training: Training, out: Path, on_step: OnStep) -> None:
    """Train and write an ordinary Hugging Face folder with `lineage.json` and `pairs.jsonl` beside the weights.

    `on_step` is called with the step and the number of steps. Examples longer than `max_length` are left out and
    counted. Raises TrainingError where the first loss is not what the objective starts from (log 2 for sigmoid DPO),
    where a loss is not a number, where another text would be trained on than is evaluated, or where nothing is left.
    """
    with tempfile.TemporaryDirectory() as scratch:
        prepared = _PREPARE[training.data.objective](training, scratch, on_step)
        trainer = prepared.trainer
        trainer.train()
    prepared.check(trainer.state.log_history)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if training.settings.method == "lora":
        model = model.merge_and_unload()
    _save(model, trainer.processing_class, training, out)
    curve = [_point(row) for row in trainer.state.log_history if "loss" in row]
    lineage = _lineage(training, curve, prepared)
    (out / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
    if isinstance(training.data, PairSet):
        with (out / PAIRS).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in training.data.pairs)
    del trainer, prepared, model
    _free_memory()


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
    discarded = {**data.discarded, **{reason: n for reason, n in prepared.left_out.items() if n}}
    too_long = examples_of(data) - prepared.used - sum(prepared.left_out.values())
    return {
        "code": CODE,
        "objective": data.objective,
        "base_digest": training.base_digest,
        "task": training.task,
        "recipe": training.recipe,
        "seed": training.seed,
        "settings": training.settings.model_dump(mode="json"),
        "pairs": {
            "digest": data.digest,
            "used": prepared.used,
            "too_long": too_long,
            "discarded": discarded,
        },
        **({} if isinstance(data, PairSet) else {"reward": {"name": data.reward.name, **data.reward.told}}),
        "curve": list(curve),
    }


def examples_of(data: PairSet | PromptSet) -> int:
    """How many examples there are to train on: pairs for DPO, else items."""
    if isinstance(data, PromptSet):
        return len(data.prompts)
    return len(data.pairs) if data.objective == "dpo" else len({pair.item_id for pair in data.pairs})
