"""DPO training with trl and peft. Nothing else in the harness knows their argument names."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.config import TrainConfig
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generate import Placement
from mipo_bench.harness.pairs import PairSet
from mipo_bench.harness.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CODE = 1
"""Goes up whenever the same pairs and settings can train to other weights."""
LINEAGE = "lineage.json"
PAIRS = "pairs.jsonl"
_FIRST_LOSS_TOLERANCE = 0.05
_CURVE = {
    "loss": "loss",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "logps/chosen": "logp_chosen",
    "logps/rejected": "logp_rejected",
    "grad_norm": "grad_norm",
    "learning_rate": "lr",
}


@dataclass(frozen=True, slots=True)
class Training:
    """One training: where it starts, on what, how."""

    base: Path
    base_digest: str
    task: str
    recipe: str
    seed: int
    pairs: PairSet
    settings: TrainConfig
    placement: Placement


def train(training: Training, out: Path, on_step: Callable[[int, int], None]) -> None:
    """Train and write an ordinary Hugging Face folder with `lineage.json` and `pairs.jsonl` beside the weights.

    `on_step` is called with the step and the number of steps. Raises TrainingError where the first loss of a sigmoid
    DPO is not log 2 (policy and reference differ at the start), or where a loss is not a number.
    """
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(training, scratch, on_step)
        n_trained = len(trainer.train_dataset)
        trainer.train()
        curve = [_point(row) for row in trainer.state.log_history if "loss" in row]
    _check_curve(curve, training.settings)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if training.settings.method == "lora":
        model = model.merge_and_unload()
    _save(model, trainer.processing_class, training, out)
    lineage = _lineage(training, curve, n_trained)
    (out / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
    with (out / PAIRS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in training.pairs.pairs)


def _trainer(training: Training, scratch: str, on_step: Callable[[int, int], None]) -> Any:
    import datasets
    import torch
    import transformers
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import DPOTrainer

    transformers.utils.logging.disable_progress_bar()
    placement, settings = training.placement, training.settings
    if placement.threads:
        torch.set_num_threads(placement.threads)
    torch.manual_seed(training.seed)
    model = AutoModelForCausalLM.from_pretrained(
        training.base,
        dtype=torch.float32,  # master weights: steps of 5e-7 vanish in bfloat16
        use_safetensors=True,
        trust_remote_code=placement.trust_remote_code,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        training.base, trust_remote_code=placement.trust_remote_code, padding_side="right"
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    lora = LoraConfig(r=settings.lora_rank, lora_alpha=2 * settings.lora_rank, target_modules="all-linear")
    trainer = DPOTrainer(
        model=model,
        args=_arguments(training, scratch),
        train_dataset=datasets.Dataset.from_list([_row(p.prompt, p.chosen, p.rejected) for p in training.pairs.pairs]),
        processing_class=tokenizer,
        peft_config=lora if settings.method == "lora" else None,
        callbacks=[_watcher(on_step)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(training: Training, scratch: str) -> Any:
    from trl import DPOConfig

    settings = training.settings
    steps = math.ceil(len(training.pairs.pairs) / settings.batch_size) * settings.epochs
    gpu = training.placement.resolved_device() != "cpu"
    return DPOConfig(
        output_dir=scratch,
        loss_type=[settings.loss],
        beta=settings.beta,
        learning_rate=settings.lr,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        max_length=settings.max_length,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=round(settings.warmup * steps),
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        precompute_ref_log_probs=settings.method == "full",
        bf16=gpu,
        use_cpu=not gpu,
        activation_checkpointing=gpu,
        seed=training.seed,
        data_seed=training.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=gpu,
    )


def _row(prompt: Sequence[Message], chosen: str, rejected: str) -> dict[str, list[dict[str, str]]]:
    return {
        "prompt": [{"role": m.role, "content": m.content} for m in prompt],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def _watcher(on_step: Callable[[int, int], None]) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Reports each step and ends a training whose loss is no number."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at step {state.global_step}; lower train.lr")
            on_step(state.global_step, state.max_steps)

    return Watcher()


def _point(row: Mapping[str, float]) -> dict[str, float]:
    return {"step": row["step"]} | {ours: row[theirs] for theirs, ours in _CURVE.items() if theirs in row}


def _check_curve(curve: Sequence[Mapping[str, float]], settings: TrainConfig) -> None:
    if not curve:
        raise TrainingError("the training made no step")
    if settings.loss == "sigmoid" and abs(curve[0]["loss"] - math.log(2)) > _FIRST_LOSS_TOLERANCE:
        raise TrainingError(
            f"the first loss is {curve[0]['loss']:.4f}, not log 2 = 0.6931: policy and reference differ at the start"
        )


def _save(model: PreTrainedModel, tokenizer: Any, training: Training, out: Path) -> None:
    """Save in the number format that the checkpoint is evaluated in."""
    import torch

    model.to(getattr(torch, training.placement.resolved_dtype())).save_pretrained(out)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(out)


def _lineage(training: Training, curve: Sequence[Mapping[str, float]], n_trained: int) -> dict[str, Any]:
    pairs = training.pairs
    return {
        "code": CODE,
        "base_digest": training.base_digest,
        "task": training.task,
        "recipe": training.recipe,
        "seed": training.seed,
        "settings": training.settings.model_dump(mode="json"),
        "pairs": {
            "digest": pairs.digest,
            "used": n_trained,
            "too_long": len(pairs.pairs) - n_trained,
            "discarded": dict(pairs.discarded),
        },
        "curve": list(curve),
    }
