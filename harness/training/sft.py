"""Supervised fine-tuning with trl: the mean negative log-likelihood of the chosen responses' tokens.

`prepare` builds a trainer whose first loss is held against `nll`, a direct computation on the same batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from trl import SFTConfig, SFTTrainer

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.chat_template import template_variables
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.ranks import shared_rows, whole_batches
from mipo_bench.harness.training.trainer_setup import (
    add_checks_callback,
    check_prompt,
    check_response,
    count_tokens,
    load_for_training,
    lora_config,
    message_dicts,
    require_examples,
    trainer_arguments,
    with_least_padding,
)
from mipo_bench.harness.types import Message

_TOLERANCE = 0.02
"""Relative, between trl's first loss and a direct computation on the same batch."""


def prepare(training: Training, scratch: str, on_step: OnStep) -> Prepared:
    """Prepare trl's SFTTrainer on each pair's chosen response after its prompt."""
    model, tokenizer = load_for_training(training)
    settings, variables = training.settings, training.placement.chat
    training = with_least_padding(training, model)
    pairs, left_out = whole_batches(_fitting(training, tokenizer), training)
    rows = [_row(pair, variables) for pair in pairs]
    args = SFTConfig(
        **trainer_arguments(training, scratch, len(rows)),
        max_length=settings.max_length,
        completion_only_loss=True,
        activation_checkpointing=training.activation_checkpointing,
    )
    trainer = CheckedSFTTrainer(
        model=model,
        args=args,
        train_dataset=shared_rows(rows, args, scratch),
        processing_class=tokenizer,
        peft_config=lora_config(training),
    )
    add_checks_callback(trainer, on_step, lambda loss: check_first(loss, trainer.expected_loss))
    _check_texts(trainer.train_dataset, pairs, tokenizer, variables)
    return Prepared(trainer, len(rows), left_out)


def check_first(loss: float, expected: float) -> None:
    """Raise TrainingError where the first loss is not the mean negative log-likelihood of its batch."""
    if not abs(loss - expected) <= _TOLERANCE * max(expected, 1.0):  # nan is refused too
        raise TrainingError(
            f"the first loss is {loss:.4f}, but the responses' mean negative log-likelihood is {expected:.4f}"
        )


def nll(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The negative log-likelihood in nats of the tokens whose label counts, and their number, from the logits; (2,)."""
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"][:, 1:]
        taken = torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(-1, labels.clamp(min=0).unsqueeze(-1))
        counted = taken.squeeze(-1)[labels >= 0]
        return torch.stack([-counted.sum(), torch.tensor(len(counted), dtype=counted.dtype, device=counted.device)])


class CheckedSFTTrainer(SFTTrainer):  # type: ignore[misc]  # trl has no types
    """Computes the loss of the first step a second time, without trl's own code."""

    counted: torch.Tensor | None = None
    """`nll` of the first step's batches, summed over the parts of a batch and over all processes; (2,)."""

    @property
    def expected_loss(self) -> float:
        """The mean over all tokens of the first step."""
        return math.nan if self.counted is None else float(self.counted[0] / self.counted[1])

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """As in trl."""
        if self.state.global_step == 0:
            part = self.accelerator.gather(nll(model, inputs)).view(-1, 2).sum(0)
            self.counted = part if self.counted is None else self.counted + part
        return super().compute_loss(model, inputs, *args, **kwargs)


def _row(pair: Pair, settings: ChatConfig) -> dict[str, Any]:
    return {
        "prompt": message_dicts(pair.prompt),
        "completion": message_dicts([Message("assistant", pair.chosen)]),
        "chat_template_kwargs": template_variables(settings),
    }


def _fitting(training: Training, tokenizer: Any) -> list[Pair]:
    """One pair of each chosen response, if it fits. An item with several negatives has several pairs."""
    pairs = list({pair.item_id: pair for pair in cast("PairSet", training.data).pairs}.values())
    chats = [[*message_dicts(pair.prompt), *message_dicts([Message("assistant", pair.chosen)])] for pair in pairs]
    counts = count_tokens(tokenizer, chats, training.placement.chat)
    fitting = [pair for pair, count in zip(pairs, counts, strict=True) if count <= training.settings.max_length]
    require_examples(fitting, training, "response")
    return fitting


def _check_texts(tokenized: Any, pairs: Sequence[Pair], tokenizer: Any, settings: ChatConfig) -> None:
    """Check that trl trains on the prompt as it is evaluated, followed by the response as it was sampled."""
    for pair, row in zip(pairs, tokenized, strict=True):
        labels = list(row["labels"])
        start = next((n for n, label in enumerate(labels) if label >= 0), len(labels))
        check_prompt(tokenizer, pair.prompt, row["input_ids"][:start], settings)
        check_response(tokenizer, pair.chosen, row["input_ids"][start:], "chosen")
