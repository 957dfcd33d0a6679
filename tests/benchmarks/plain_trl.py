"""A training by a short script around trl: the other side of the training benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.protocols import Pair

if TYPE_CHECKING:
    from transformers import TrainerCallback


def train_plainly(
    folder: Path,
    rows: Sequence[Pair],
    settings: TrainConfig,
    out: Path,
    device: str = "cpu",
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train the model in `folder` by full DPO and save it in `out`. On a GPU in mixed precision."""
    import datasets
    from transformers import AutoTokenizer
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    chats = [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in row.prompt],
            "chosen": [{"role": "assistant", "content": row.chosen}],
            "rejected": [{"role": "assistant", "content": row.rejected}],
        }
        for row in rows
    ]
    arguments = DPOConfig(
        output_dir=str(out),
        beta=settings.beta,
        learning_rate=settings.lr,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        max_length=settings.max_length,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        adam_beta2=0.95,
        precompute_ref_log_probs=True,
        gradient_checkpointing=False,
        bf16=device == "cuda",
        use_cpu=device == "cpu",
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(chats),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=list(callbacks),
    )
    trainer.train()
    trainer.save_model(str(out))
