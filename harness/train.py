"""DPO training with trl and peft. Nothing else in the harness knows their argument names."""

from __future__ import annotations

import gc
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.config import ChatConfig, TrainConfig
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generate import Placement
from mipo_bench.harness.pairs import PairSet
from mipo_bench.harness.prompts import render, template_variables
from mipo_bench.harness.types import Message, Pair

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
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
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

    `on_step` is called with the step and the number of steps. Pairs longer than `max_length` are left out and counted.
    Raises TrainingError where the first loss of a sigmoid DPO is not log 2 (policy and reference differ at the start),
    where a loss is not a number, where trl would train on another text than is evaluated, or where no pair is left.
    """
    with tempfile.TemporaryDirectory() as scratch:
        trainer, used = _trainer(training, scratch, on_step)
        trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    if training.settings.method == "lora":
        model = model.merge_and_unload()
    _save(model, trainer.processing_class, training, out)
    curve = [_point(row) for row in trainer.state.log_history if "loss" in row]
    lineage = _lineage(training, curve, used)
    (out / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
    with (out / PAIRS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in training.pairs.pairs)
    del trainer, model
    _free_memory()


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _trainer(training: Training, scratch: str, on_step: Callable[[int, int], None]) -> tuple[Any, int]:
    """The trainer, and the number of pairs it trains on."""
    import datasets
    import torch
    import transformers
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import DPOTrainer

    transformers.utils.logging.disable_progress_bar()
    if training.placement.threads:
        torch.set_num_threads(training.placement.threads)
    torch.manual_seed(training.seed)
    model, tokenizer = _load(training)
    chat = training.placement.chat
    rows = [_row(pair, chat) for pair in _fitting(training, tokenizer)]
    settings = training.settings
    lora = LoraConfig(r=settings.lora_rank, lora_alpha=2 * settings.lora_rank, target_modules="all-linear")
    trainer = DPOTrainer(
        model=model,
        args=_arguments(training, scratch, len(rows)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora if settings.method == "lora" else None,
        callbacks=[_watcher(on_step, settings)],
    )
    trainer.remove_callback(PrinterCallback)
    _check_texts(trainer.train_dataset, rows, tokenizer, chat)
    return trainer, len(rows)


def _load(training: Training) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        training.base,
        dtype="float32",  # master weights: steps of 5e-7 vanish in bfloat16
        **training.placement.loading,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        training.base, trust_remote_code=training.placement.trust_remote_code, padding_side="right"
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _fitting(training: Training, tokenizer: Any) -> list[Pair]:
    """The pairs of which both sides fit into `max_length` whole: trl would drop some and cut others in silence."""
    limit = training.settings.max_length
    rows = [(pair, _row(pair, training.placement.chat)) for pair in training.pairs.pairs]
    fitting = [pair for pair, row in rows if max(_lengths(tokenizer, row)) <= limit]
    if not fitting:
        raise TrainingError(f"no pair fits into train.max_length = {limit} tokens")
    return fitting


def _lengths(tokenizer: Any, row: Mapping[str, Any]) -> list[int]:
    """Tokens of prompt and chosen, and of prompt and rejected."""
    chats = (row["prompt"] + row["chosen"], row["prompt"] + row["rejected"])
    texts = (tokenizer.apply_chat_template(c, tokenize=False, **row["chat_template_kwargs"]) for c in chats)
    return [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def _check_texts(tokenized: Any, rows: Sequence[Mapping[str, Any]], tokenizer: Any, chat: ChatConfig) -> None:
    """What trl trains on must be the prompt as it is evaluated, followed by the response as it was sampled."""
    for ours, theirs in zip(rows, tokenized, strict=True):
        messages = tuple(Message(m["role"], m["content"]) for m in ours["prompt"])
        prompt = tokenizer.encode(render(tokenizer, messages, None, chat).text, add_special_tokens=False)
        if list(theirs["prompt_ids"]) != prompt:
            raise TrainingError("the chat template renders the prompt of a finished chat otherwise than an open one")
        for side in ("chosen", "rejected"):
            response = tokenizer.encode(ours[side][0]["content"], add_special_tokens=False)
            sampled = tokenizer.decode(response).lstrip()  # as the tokenizer keeps it: Qwen's composes characters (NFC)
            if not tokenizer.decode(theirs[f"{side}_ids"]).lstrip().startswith(sampled):
                raise TrainingError(f"the chat template adds text before the {side} response, which was never sampled")


def _arguments(training: Training, scratch: str, n_pairs: int) -> Any:
    import torch
    from trl import DPOConfig

    settings = training.settings
    steps = math.ceil(n_pairs / settings.batch_size) * settings.epochs
    gpu = training.placement.device.startswith("cuda")
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
        bf16=gpu and torch.cuda.is_bf16_supported(),
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


def _row(pair: Pair, chat: ChatConfig) -> dict[str, Any]:
    return {
        "prompt": [{"role": m.role, "content": m.content} for m in pair.prompt],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        "chat_template_kwargs": template_variables(chat),
    }


def _watcher(on_step: Callable[[int, int], None], settings: TrainConfig) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Reports each step, and ends a training that starts from a wrong loss or whose loss is no number."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
            loss = (logs or {}).get("loss")
            if loss is None:
                return
            check_loss(state.global_step, loss, settings)
            on_step(state.global_step, state.max_steps)

    return Watcher()


def check_loss(step: int, loss: float, settings: TrainConfig) -> None:
    """Raise TrainingError for a loss that is no number, or a first sigmoid loss other than log 2."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} at step {step}; lower train.lr")
    if step == 1 and settings.loss == "sigmoid" and abs(loss - math.log(2)) > _FIRST_LOSS_TOLERANCE:
        raise TrainingError(
            f"the first loss is {loss:.4f}, not log 2 = 0.6931: policy and reference differ at the start"
        )


def _point(row: Mapping[str, float]) -> dict[str, float]:
    return {"step": row["step"]} | {ours: row[theirs] for theirs, ours in _CURVE.items() if theirs in row}


def _save(model: PreTrainedModel, tokenizer: Any, training: Training, out: Path) -> None:
    """Save in the number format that the checkpoint is evaluated in."""
    import torch

    model.to(getattr(torch, training.placement.dtype)).save_pretrained(out)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(out)


def _lineage(training: Training, curve: Sequence[Mapping[str, float]], used: int) -> dict[str, Any]:
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
            "used": used,
            "too_long": len(pairs.pairs) - used,
            "discarded": dict(pairs.discarded),
        },
        "curve": list(curve),
    }
