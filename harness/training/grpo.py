"""Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300) with trl, on the harness's own rewards.

Budget: as many prompts for each step as pairs for each step of DPO, hence as many steps; every prompt is answered
`generations` times while the model trains, where a pair has cost two responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.chat_template import template_variables
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PromptSet
from mipo_bench.harness.training.trainer_setup import (
    add_checks_callback,
    chat,
    check_prompt,
    load_for_training,
    lora_config,
    require_examples,
    trainer_arguments,
)
from mipo_bench.harness.types import Item, Message

_TOLERANCE = 0.05


def prepare(training: Training, scratch: str, on_step: OnStep) -> Prepared:
    """Trl's GRPOTrainer on the prompts that leave room for a response in `max_length`."""
    import datasets
    from trl import GRPOTrainer

    model, tokenizer = load_for_training(training)
    fitting = _fitting(training, tokenizer)
    settings, reward = training.settings, cast("PromptSet", training.data).reward
    batch = min(settings.batch_size, len(fitting))

    def rewards(completions: Sequence[Any], item: Sequence[int], **_: Any) -> list[float]:
        texts = [completion[0]["content"].strip() for completion in completions]
        return reward.rate([fitting[n][0] for n in item], texts)

    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=_arguments(training, scratch, len(fitting), batch),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": chat(messages), "item": n} for n, (_, messages) in enumerate(fitting)]
        ),
        processing_class=tokenizer,
        peft_config=lora_config(training),
    )
    add_checks_callback(trainer, on_step, check_first)
    rest = len(fitting) % batch
    return Prepared(trainer, len(fitting) - rest, {"last batch not full": rest}, check_rewards)


def check_first(loss: float) -> None:
    """Raise TrainingError where the first loss is not 0: advantages cancel in each group, the policy has not moved."""
    if abs(loss) > _TOLERANCE:
        raise TrainingError(f"the first loss is {loss:.4f}, not 0: policy and reference differ at the start")


def check_rewards(logs: Sequence[Mapping[str, float]]) -> None:
    """Raise TrainingError where no two responses to any prompt were rewarded differently: nothing was learned."""
    shares = [row["frac_reward_zero_std"] for row in logs if "frac_reward_zero_std" in row]
    if all(share >= 1 for share in shares):
        raise TrainingError("the responses to each prompt were all rewarded alike: there was nothing to learn from")


def _arguments(training: Training, scratch: str, prompts: int, batch: int) -> Any:
    from trl import GRPOConfig

    settings, decoding = training.settings, cast("PromptSet", training.data).decoding
    usual = trainer_arguments(training, scratch, prompts)
    return GRPOConfig(
        **{**usual, "per_device_train_batch_size": batch * settings.generations},
        num_generations=settings.generations,
        max_completion_length=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        beta=settings.kl,
        loss_type="grpo",
        chat_template_kwargs=template_variables(training.placement.chat),
        activation_checkpointing=training.activation_checkpointing,
    )


def _fitting(training: Training, tokenizer: Any) -> list[tuple[Item, tuple[Message, ...]]]:
    data = cast("PromptSet", training.data)
    variables = template_variables(training.placement.chat)
    fitting = []
    for item, messages in data.prompts:
        ids = tokenizer.apply_chat_template(
            chat(messages), add_generation_prompt=True, tokenize=True, return_dict=False, **variables
        )
        check_prompt(tokenizer, messages, ids, training.placement.chat)
        if len(ids) + data.decoding.max_new_tokens <= training.settings.max_length:
            fitting.append((item, messages))
    require_examples(fitting, training, "prompt with a response")
    return fitting
