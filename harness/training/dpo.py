"""Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290) with trl.

`prepare` builds trl's DPOTrainer and checks that it trains on the very texts that are evaluated; `check_loss` holds the
first loss against log 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from trl import DPOConfig, DPOTrainer

from mipo_bench.harness.config.schema import ChatConfig, TrainConfig
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.chat_template import template_variables
from mipo_bench.harness.generators.kept_prompts import Remember, compute_anew
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training.job import TRAINING_VERSION, OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.ranks import shared_rows, whole_batches
from mipo_bench.harness.training.shared_prompts import SharedPrompts, share_prompts
from mipo_bench.harness.training.trainer_setup import (
    add_checks_callback,
    check_finite,
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

_TOLERANCE = 0.5
"""How far the first loss may be from log 2 for a beta of 1: reference and policy are rounded in different batches."""


def prepare(training: Training, scratch: str, on_step: OnStep, remember: Remember = compute_anew) -> Prepared:
    """Prepare trl's DPOTrainer on the pairs of which both sides fit into `max_length` whole.

    `remember` keeps the log-probabilities of the reference on each batch of pairs. They depend neither on the loss nor
    on the learning rate, so that every point of a grid uses them.
    """
    model, tokenizer = load_for_training(training)
    settings, training = training.settings, with_least_padding(training, model)
    shared = share_prompts(model, training)
    pairs, left_out = whole_batches(_fitting(training, tokenizer), training)
    # The reference reads the rows in this order, with little padding. Steps take them in a random one.
    rows = [_row(pair, training.placement.chat) for pair in sorted(pairs, key=_characters, reverse=True)]
    args = DPOConfig(
        **trainer_arguments(training, scratch, len(rows)),
        loss_type=[settings.loss],
        beta=settings.beta,
        max_length=settings.max_length,
        precompute_ref_log_probs=settings.method == "full" or settings.processes == 1,
        activation_checkpointing=training.activation_checkpointing,
    )
    trainer = CheckedDPOTrainer(
        model=model,
        args=args,
        train_dataset=shared_rows(rows, args, scratch),
        processing_class=tokenizer,
        peft_config=lora_config(training),
        shared=shared,
        remember=lambda parts, compute: remember([training.base_digest, *parts], compute),
    )
    trainer.settings = settings
    add_checks_callback(trainer, on_step, lambda loss: check_loss(1, loss, settings))
    _check_texts(trainer.train_dataset, rows, tokenizer, training.placement.chat)
    return Prepared(trainer, len(rows), left_out, remarks=lambda: _remarks(shared))


class CheckedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # trl has no types
    """Checks the loss of the first batch in each process: the logged loss is the mean over all of them."""

    settings: TrainConfig
    checked = False

    def __init__(self, *, shared: SharedPrompts | None, remember: Remember, **arguments: Any) -> None:
        """Take trl's arguments. The reference's log-probabilities are computed here."""
        self.untried, self.remember = shared, remember
        super().__init__(**arguments)

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """As in trl, (pairs) for each side; those of a batch that was computed before are remembered.

        The first batch decides whether prompts are shared, also where it is remembered.
        """
        if self.untried:
            with self.accelerator.autocast():
                self.untried.try_on(inputs)
            self.untried = None
        tokens = [inputs[name].tolist() for name in ("input_ids", "attention_mask", "completion_mask")]
        found = self.remember(
            ["reference log-probabilities", TRAINING_VERSION, tokens],
            lambda: [side.tolist() for side in super(CheckedDPOTrainer, self).compute_ref_log_probs(model, inputs)],
        )
        return tuple(torch.tensor(side, device=self.accelerator.device) for side in found)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """As in trl."""
        loss = super().compute_loss(*args, **kwargs)
        if not self.checked:
            check_loss(1, loss.item(), self.settings)
            self.checked = True
        return loss


def check_loss(step: int, loss: float, settings: TrainConfig) -> None:
    """Raise TrainingError for a loss that is not finite, or a first sigmoid loss other than log 2."""
    check_finite(step, loss)
    if step == 1 and settings.loss == "sigmoid" and abs(loss - math.log(2)) > _TOLERANCE * settings.beta:
        raise TrainingError(
            f"the first loss is {loss:.4f}, not log 2 = 0.6931: policy and reference differ at the start"
        )


def _remarks(shared: SharedPrompts | None) -> dict[str, str]:
    """Why the two rows of a pair were computed by themselves on a CPU, if they were."""
    return {"prompts_not_shared": shared.refused} if shared and shared.refused else {}


def _characters(pair: Pair) -> int:
    """The length of a pair, as its longer side decides about padding."""
    return sum(len(message.content) for message in pair.prompt) + max(len(pair.chosen), len(pair.rejected))


def _row(pair: Pair, settings: ChatConfig) -> dict[str, Any]:
    return {
        "prompt": message_dicts(pair.prompt),
        "chosen": message_dicts([Message("assistant", pair.chosen)]),
        "rejected": message_dicts([Message("assistant", pair.rejected)]),
        "chat_template_kwargs": template_variables(settings),
    }


def _fitting(training: Training, tokenizer: Any) -> list[Pair]:
    """The pairs of which both sides fit into `max_length` whole: trl would drop some and cut others in silence."""
    pairs = cast("PairSet", training.data).pairs
    rows = [_row(pair, training.placement.chat) for pair in pairs]
    chats = [row["prompt"] + row[side] for row in rows for side in ("chosen", "rejected")]
    counts = iter(count_tokens(tokenizer, chats, training.placement.chat))
    longest = training.settings.max_length
    fitting = [pair for pair, *sides in zip(pairs, counts, counts, strict=True) if max(sides) <= longest]
    require_examples(fitting, training, "pair")
    return fitting


def _check_texts(tokenized: Any, rows: Sequence[Mapping[str, Any]], tokenizer: Any, settings: ChatConfig) -> None:
    """Check that trl trains on the prompt as it is evaluated, followed by the response as it was sampled."""
    for row, ids in zip(rows, tokenized, strict=True):
        messages = tuple(Message(m["role"], m["content"]) for m in row["prompt"])
        check_prompt(tokenizer, messages, ids["prompt_ids"], settings)
        for side in ("chosen", "rejected"):
            check_response(tokenizer, row[side][0]["content"], ids[f"{side}_ids"], side)
