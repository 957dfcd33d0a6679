"""Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300) with trl, on the harness's own rewards.

Budget: as many prompts for each step as pairs for each step of DPO, hence as many steps; every prompt is answered
`generations` times while the model trains, where a pair has cost two responses. `prepare` is the place to start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import datasets

from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.chat_template import template_variables
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PromptSet, Reward
from mipo_bench.harness.training.trainer_setup import (
    add_checks_callback,
    check_prompt,
    load_for_training,
    lora_config,
    message_dicts,
    require_examples,
    trainer_arguments,
)
from mipo_bench.harness.types import Item, Message
from mipo_bench.tasks.reading.thoughts import without_thoughts

_TOLERANCE = 0.05


def prepare(training: Training, scratch: str, on_step: OnStep) -> Prepared:
    """Trl's GRPOTrainer on the prompts that leave room for a response in `max_length`."""
    from trl import GRPOConfig, GRPOTrainer  # takes half a second that the other objectives need not spend

    model, tokenizer = load_for_training(training)
    _add_end_token(model.generation_config, tokenizer, training.end_token)
    fitting = _fitting(training, tokenizer)
    settings, reward = training.settings, cast("PromptSet", training.data).reward
    batch, counts = min(settings.batch_size, len(fitting)), Counter[str]()

    def rewards(completions: Sequence[Any], item: Sequence[int], **_: Any) -> list[float]:
        ratings = reward.rate(
            [fitting[n].item for n in item], _answers(completions, [fitting[n] for n in item], reward)
        )
        counts.update(ratings.counts)
        return list(ratings.values)

    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=GRPOConfig(**_grpo_arguments(training, scratch, len(fitting), batch)),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": message_dicts(example.messages), "item": n} for n, example in enumerate(fitting)]
        ),
        processing_class=tokenizer,
        peft_config=lora_config(training),
    )
    add_checks_callback(trainer, on_step, check_first)
    rest = len(fitting) % batch
    left_out = {"last batch not full": rest}
    return Prepared(trainer, len(fitting) - rest, left_out, check_rewards, lambda: dict(counts))


@dataclass(frozen=True, slots=True)
class _Example:
    """A training item with its chat, and the prompt that the chat template makes of it."""

    item: Item
    messages: tuple[Message, ...]
    prompt: str


def _add_end_token(settings: Any, tokenizer: Any, token: str) -> None:
    """Let this token end responses too, which trl reads from the model's settings; the checkpoint keeps that."""
    if token:
        known = settings.eos_token_id
        ends = known if isinstance(known, list) else [known]
        added = tokenizer.convert_tokens_to_ids(token)
        settings.eos_token_id = [*(end for end in ends if end is not None), added]


def _answers(completions: Sequence[Any], examples: Sequence[_Example], reward: Reward) -> list[str]:
    """The completions without thoughts, which a prompt may have opened."""
    texts = (completion[0]["content"].strip() for completion in completions)
    return [
        without_thoughts(text, example.prompt, reward.thought_tags).text
        for text, example in zip(texts, examples, strict=True)
    ]


def check_first(loss: float) -> None:
    """Raise TrainingError where the first loss is not 0: advantages cancel in each group, the policy has not moved."""
    if abs(loss) > _TOLERANCE:
        raise TrainingError(f"the first loss is {loss:.4f}, not 0: policy and reference differ at the start")


def check_rewards(logs: Sequence[Mapping[str, float]]) -> None:
    """Raise TrainingError where no two responses to any prompt were rewarded differently: nothing was learned."""
    shares = [row["frac_reward_zero_std"] for row in logs if "frac_reward_zero_std" in row]
    if all(share >= 1 for share in shares):
        raise TrainingError("the responses to each prompt were all rewarded alike: there was nothing to learn from")


def _grpo_arguments(training: Training, scratch: str, prompts: int, batch: int) -> dict[str, Any]:
    settings, decoding = training.settings, cast("PromptSet", training.data).decoding
    return {
        **trainer_arguments(training, scratch, prompts),
        "per_device_train_batch_size": batch * settings.generations,
        "num_generations": settings.generations,
        "max_completion_length": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "beta": settings.kl,
        "loss_type": "grpo",
        "chat_template_kwargs": template_variables(training.placement.chat),
        "activation_checkpointing": training.activation_checkpointing,
    }


def _fitting(training: Training, tokenizer: Any) -> list[_Example]:
    data = cast("PromptSet", training.data)
    variables = template_variables(training.placement.chat)
    fitting = []
    for item, messages in data.prompts:
        ids = tokenizer.apply_chat_template(
            message_dicts(messages), add_generation_prompt=True, tokenize=True, return_dict=False, **variables
        )
        check_prompt(tokenizer, messages, ids, training.placement.chat)
        if len(ids) + data.decoding.max_new_tokens <= training.settings.max_length:
            fitting.append(_Example(item, messages, tokenizer.decode(ids)))
    require_examples(fitting, training, "prompt with a response")
    return fitting
