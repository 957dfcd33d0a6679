"""Contrastive objectives without a reference model: SAMI and InfoNCE.

Both compare the log-probability of a response under its own prompt with that under other prompts. With the n prompts of
an item (its own first, then those of its rejected responses) and the n responses sampled under them:

    SAMI (Fränken et al. 2024, arXiv 2404.13314): L_ij is the mean log-probability of response j's tokens under prompt
    i; the loss is half the sum of the row-wise and the column-wise cross-entropy of L with the diagonal as labels.

    InfoNCE: l_i is the summed log-probability of the item's own response under prompt i, divided by a temperature; the
    loss is the cross-entropy of l with the item's own prompt as label.

`prepare` is the place to start; `ContrastiveLoss` holds the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from peft import get_peft_model
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments

from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.chat_template import render, template_variables
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.trainer_setup import (
    PROMPT_DIFFERS,
    add_checks_callback,
    check_response,
    load_for_training,
    lora_config,
    message_dicts,
    require_examples,
    trainer_arguments,
)
from mipo_bench.harness.types import Message, Objective

_TOLERANCE = 0.01
"""Between the first loss and the same computed one sequence at a time."""


@dataclass(frozen=True, slots=True)
class Group:
    """An item's token ids: its prompts, and for each of them the responses that are read under it."""

    prompts: tuple[tuple[int, ...], ...]
    responses: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with a response."""
        return max(len(p) + len(r) for p, row in zip(self.prompts, self.responses, strict=True) for r in row)


def prepare(training: Training, scratch: str, on_step: OnStep) -> Prepared:
    """A trainer on the groups that fit into `max_length` whole."""
    model, tokenizer = load_for_training(training)
    groups = [g for g in _groups(training, tokenizer) if g.longest <= training.settings.max_length]
    require_examples(groups, training, "item")
    adapter = lora_config(training)
    trainer = ContrastiveTrainer(
        model=get_peft_model(model, adapter) if adapter else model,
        args=TrainingArguments(
            **trainer_arguments(training, scratch, len(groups)),
            activation_checkpointing=training.activation_checkpointing,
            remove_unused_columns=False,
        ),
        train_dataset=groups,
        data_collator=lambda batch: {"groups": batch},
        processing_class=tokenizer,
    )
    trainer.loss = ContrastiveLoss(training.data.objective, training.settings.temperature)
    add_checks_callback(trainer, on_step, lambda loss: check_first(loss, trainer.expected_loss))
    return Prepared(trainer, len(groups))


def check_first(loss: float, expected: float) -> None:
    """Raise TrainingError where padding or batching has changed the first loss."""
    if not abs(loss - expected) <= _TOLERANCE:  # nan is refused too
        raise TrainingError(f"the first loss is {loss:.4f}, but computed one sequence at a time it is {expected:.4f}")


@dataclass(frozen=True, slots=True)
class ContrastiveLoss:
    """The loss of one group from the log-probabilities of its responses."""

    objective: Objective
    temperature: float

    def __call__(self, sums: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """A scalar in nats; `sums` and `lengths` are (prompts, responses): log-probability and number of tokens."""
        scores = self.scores(sums, lengths)
        if self.objective == "infonce":
            return cross_entropy(scores.T, torch.zeros(1, dtype=torch.long, device=sums.device))
        own = torch.arange(len(scores), device=sums.device)
        return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2

    def scores(self, sums: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The scores that are contrasted, (prompts, responses)."""
        return sums / self.temperature if self.objective == "infonce" else sums / lengths


def log_probabilities(model: Any, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> torch.Tensor:
    """The summed log-probability in nats of each response after its prompt, (sequences,)."""
    width, tail = max(len(p) + len(r) for p, r in sequences), max(len(r) for _, r in sequences)
    rows = [[0] * (width - len(p) - len(r)) + [*p, *r] for p, r in sequences]
    device = next(model.parameters()).device
    ids = torch.tensor(rows, device=device)
    lengths = torch.tensor([len(p) + len(r) for p, r in sequences], device=device)
    mask = (torch.arange(width, device=device) >= width - lengths.unsqueeze(1)).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=min(tail + 1, width)
    )
    logprobs = torch.log_softmax(out.logits[:, -(tail + 1) : -1].float(), dim=-1)
    taken = logprobs.gather(-1, ids[:, -tail:].unsqueeze(-1)).squeeze(-1)
    read = torch.arange(tail, device=device) >= tail - torch.tensor([[len(r)] for _, r in sequences], device=device)
    return (taken * read).sum(-1)


def group_logprobs(model: Any, groups: Sequence[Group]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each group, log-probabilities and numbers of tokens, both (prompts, responses), from a single forward."""
    sequences = [(p, r) for g in groups for p, row in zip(g.prompts, g.responses, strict=True) for r in row]
    sums = log_probabilities(model, sequences)
    found, start = [], 0
    for group in groups:
        shape = (len(group.prompts), len(group.responses[0]))
        stop = start + shape[0] * shape[1]
        lengths = torch.tensor([[len(r) for r in row] for row in group.responses], device=sums.device)
        found.append((sums[start:stop].view(shape), lengths))
        start = stop
    return found


class ContrastiveTrainer(Trainer):
    """transformers' Trainer with the mean loss of a batch's groups."""

    loss: ContrastiveLoss
    expected_loss: float = math.nan
    """The first batch's loss, computed one sequence at a time."""
    margins: Mapping[str, float] | None = None
    """See `_margins`, of the newest batch."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """The mean over the groups; the first batch is also computed one sequence at a time."""
        groups = inputs["groups"]
        if math.isnan(self.expected_loss):
            self.expected_loss = self._one_by_one(model, groups)
        found = group_logprobs(model, groups)
        self.margins = _margins([self.loss.scores(*tensors).detach() for tensors in found])
        return torch.stack([self.loss(*tensors) for tensors in found]).mean()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the margins to the Trainer's own figures."""
        super().log({**logs, **(self.margins or {})} if "loss" in logs else logs, *args, **kwargs)

    @torch.no_grad()
    def _one_by_one(self, model: Any, groups: Sequence[Group]) -> float:
        losses = []
        for group in groups:
            rows = zip(group.prompts, group.responses, strict=True)
            sums = torch.stack([torch.cat([log_probabilities(model, [(p, r)]) for r in row]) for p, row in rows])
            lengths = torch.tensor([[len(r) for r in row] for row in group.responses], device=sums.device)
            losses.append(self.loss(sums, lengths))
        return float(torch.stack(losses).mean())


def _margins(scores: Sequence[torch.Tensor]) -> dict[str, float]:
    """Share of groups whose own response fits its own prompt best, and its mean lead over the other prompts."""
    best = [float(s[:, 0].argmax() == 0) for s in scores]
    lead = [float(s[0, 0] - s[1:, 0].mean()) for s in scores]
    return {"accuracy": sum(best) / len(best), "margin": sum(lead) / len(lead)}


def _groups(training: Training, tokenizer: Any) -> list[Group]:
    pairs = cast("PairSet", training.data).pairs
    by_item = [list(found) for _, found in groupby(pairs, key=lambda pair: pair.item_id)]
    return [_group(found, training, tokenizer) for found in by_item]


def _group(pairs: Sequence[Pair], training: Training, tokenizer: Any) -> Group:
    """SAMI reads every response under every prompt, InfoNCE the item's own response alone."""
    prompts = [pairs[0].prompt, *(pair.contrast for pair in pairs)]
    responses = [pairs[0].chosen]
    if training.data.objective == "sami":
        responses += [pair.rejected for pair in pairs]
    encoded = [_encoded(prompt, responses, training, tokenizer) for prompt in prompts]
    return Group(tuple(prompt for prompt, _ in encoded), tuple(row for _, row in encoded))


def _encoded(
    messages: Sequence[Message], responses: Sequence[str], training: Training, tokenizer: Any
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Token ids of the prompt as it is evaluated, and of each response with the tokens that end its turn."""
    settings = training.placement.chat
    prompt = render(tokenizer, messages, None, settings).text
    found = []
    for response in responses:
        whole = [*message_dicts(messages), {"role": "assistant", "content": response}]
        text = str(tokenizer.apply_chat_template(whole, tokenize=False, **template_variables(settings)))
        if not text.startswith(prompt):
            raise TrainingError(PROMPT_DIFFERS)
        ids = tuple(tokenizer.encode(text[len(prompt) :], add_special_tokens=False))
        check_response(tokenizer, response, ids, "sampled")
        found.append(ids)
    return tuple(tokenizer.encode(prompt, add_special_tokens=False)), tuple(found)
