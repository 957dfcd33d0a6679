"""The parts that the trainers of all objectives share: weights to start from, arguments, LoRA, checks of the loss.

Each objective's module (`dpo`, `sft`, `contrastive`, `grpo`) builds its trainer from these functions; `dpo.prepare` is
the one to read first. `trainer_arguments` is the only place that knows the names of transformers' shared arguments.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
import trl.trainer.utils
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.errors import TrainingError, first_line, refuse_missing_weights
from mipo_bench.harness.generators.chat_template import render, template_variables
from mipo_bench.harness.generators.tokenizer import load_tokenizer
from mipo_bench.harness.inference.layers.packed_linear import is_large_on_cpu
from mipo_bench.harness.training.job import OnStep, Training
from mipo_bench.harness.types import Message

CheckFirstLoss = Callable[[float], None]
"""Raises TrainingError where the loss of the first step is not the one that the objective starts from."""
_SCORES_RESPONSES_ALONE = "_use_triton"
"""trl's function of a device that decides whether the logits of prompts and padding are left out."""
_LOGITS_AT_ONCE = "_CHUNKED_LOGPROB_CHUNK_SIZE"
"""trl's number of tokens of the vocabulary whose logits are computed at once."""
_LOGITS_IN_CACHE = 1024
"""Of some hundred positions, so many logits stay in the cache of a core."""
PROMPT_DIFFERS = "the chat template renders the prompt of a finished chat otherwise than an open one"


def load_for_training(training: Training) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Seed torch, and load the model in float32 with its tokenizer. Raises ModelError where weights are missing."""
    transformers.utils.logging.disable_progress_bar()
    if training.placement.threads:
        torch.set_num_threads(training.placement.threads)
    torch.manual_seed(training.seed)
    with current_stage().doing("loading the model"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            training.base,
            dtype="float32",  # master weights: steps of 5e-7 vanish in bfloat16
            output_loading_info=True,
            **training.placement.load_kwargs,
        )
    model, found = loaded
    refuse_missing_weights(training.base, found["missing_keys"])
    model.generation_config = savable(model.generation_config)
    tokenizer = load_tokenizer(training.base, training.placement, padding_side="right")
    for module in model.modules():  # first losses are checked, so they must not be random
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model, tokenizer


def savable(settings: GenerationConfig) -> GenerationConfig:
    """The settings of a generation_config.json; without those of sampling if transformers refuses to save them.

    It refuses contradictions, such as a temperature without `do_sample`. The harness reads the end tokens only.
    """
    try:
        settings.validate(strict=True)
    except ValueError:
        ids = {name: getattr(settings, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        return GenerationConfig(**ids)
    return settings


def check_savable(model: Any, tokenizer: Any, scratch: str) -> None:
    """Save all files of a checkpoint but its weights into a scratch folder: a finished training must not be lost.

    Raises TrainingError where one of them cannot be saved.
    """
    folder = Path(scratch) / "files"
    try:
        for part in (model.config, model.generation_config, tokenizer):
            part.save_pretrained(folder)
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise TrainingError(
            f"a checkpoint of this model could not be saved, so it is not trained: {reason}. Repair the files beside"
            " the weights of the base model."
        ) from error


def with_least_padding(training: Training, model: PreTrainedModel) -> Training:
    """One example at a time for a large model on a CPU, where a batch would not be faster than its examples.

    Texts of a batch are padded to the longest. The gradients of the examples add up to that of the batch.
    """
    if training.placement.device != "cpu" or not is_large_on_cpu(model):  # before the trainer moves it to a GPU
        return training
    return replace(training, gradient_accumulation_steps=training.batch_of_process)


def trainer_arguments(training: Training, scratch: str, examples: int) -> dict[str, Any]:
    """The arguments of transformers' Trainer that all objectives share, so that only the loss differs."""
    settings = training.settings
    steps = math.ceil(examples / settings.batch_size) * settings.epochs
    gpu = training.placement.device.startswith("cuda")
    return {
        "output_dir": scratch,
        "learning_rate": settings.lr,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": training.batch_of_process // training.gradient_accumulation_steps,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": round(settings.warmup * steps),
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": training.autocast_on_cpu or (gpu and torch.cuda.is_bf16_supported(including_emulation=False)),
        "use_cpu": not gpu,
        "seed": training.seed,
        "data_seed": training.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
    }


@contextmanager
def deterministic_algorithms(training: Training) -> Iterator[None]:
    """On a GPU, let torch sum gradients in the same order each time; on a CPU it does so anyway."""
    before = torch.are_deterministic_algorithms_enabled()
    if training.deterministic and training.placement.device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else torch refuses to multiply
        torch.use_deterministic_algorithms(True)
        filled: Any = torch.utils.deterministic  # it has a setter that its types do not know
        filled.fill_uninitialized_memory = False  # costs time, and nothing here reads such memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def logits_for_a_cpu(training: Training) -> Iterator[None]:
    """On a CPU, let trl compute the logits of responses alone, and few at once.

    Elsewhere than on a GPU trl computes those of prompts and padding too, and leaves them out of the loss, because some
    devices compile their kernels again for each number of rows. A CPU compiles none. And trl computes them in a buffer
    for 32,768 tokens of the vocabulary, also where it has fewer, and no cache of a CPU holds that. What decides both is
    trl's own and private; a version of trl without one of them trains as before.
    """
    changed: dict[str, Any] = {_SCORES_RESPONSES_ALONE: lambda _: True, _LOGITS_AT_ONCE: _LOGITS_IN_CACHE}
    before = {name: getattr(trl.trainer.utils, name) for name in changed if hasattr(trl.trainer.utils, name)}
    gpu = training.placement.device.startswith("cuda")
    for name in () if gpu else before:
        setattr(trl.trainer.utils, name, changed[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(trl.trainer.utils, name, value)


def lora_config(training: Training) -> Any:
    """The adapter's configuration for peft; None where all weights are trained."""
    if training.settings.method == "full":
        return None
    rank = training.settings.lora_rank
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def check_finite(step: int, loss: float) -> None:
    """Raise TrainingError for a loss that is not finite."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} at step {step}; lower train.lr")


class ChecksCallback(TrainerCallback):
    """Checks the logged loss of every step, and reports the step."""

    def __init__(self, on_step: OnStep, check_first: CheckFirstLoss) -> None:
        """`check_first` gets the loss of step 1."""
        self.report_step, self.check_first = on_step, check_first

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the interface's signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """The model is loaded, and the examples are ready."""
        self.report_step(0, state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the interface's signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Raises TrainingError for a first loss that is wrong and for any loss that is not finite."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        check_finite(state.global_step, loss)
        if state.global_step == 1:
            self.check_first(loss)
        self.report_step(state.global_step, state.max_steps)


def add_checks_callback(trainer: Trainer, on_step: OnStep, check_first: CheckFirstLoss) -> None:
    """Let `ChecksCallback` take the place of the callback that prints the log."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ChecksCallback(on_step, check_first))


def message_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages as transformers and trl take them."""
    return [{"role": m.role, "content": m.content} for m in messages]


def check_prompt(tokenizer: Any, messages: Sequence[Message], ids: Sequence[int], settings: ChatConfig) -> None:
    """Raise TrainingError where the prompt of a training example is not the prompt that is evaluated."""
    prompt = tokenizer.encode(render(tokenizer, messages, None, settings).text, add_special_tokens=False)
    if list(ids) != prompt:
        raise TrainingError(PROMPT_DIFFERS)


def check_response(tokenizer: Any, text: str, ids: Sequence[int], side: str) -> None:
    """Raise TrainingError where a training example's response does not begin with the response that was sampled."""
    trained = tokenizer.decode(ids).lstrip()
    if trained.startswith(text.lstrip()):
        return
    response = tokenizer.encode(text, add_special_tokens=False)
    sampled = tokenizer.decode(response).lstrip()  # as the tokenizer keeps it: Qwen's composes characters (NFC)
    if not trained.startswith(sampled):
        raise TrainingError(f"the chat template adds text before the {side} response, which was never sampled")


def count_tokens(tokenizer: Any, chats: Sequence[Sequence[Mapping[str, str]]], settings: ChatConfig) -> list[int]:
    """Tokens of each finished chat."""
    variables = template_variables(settings)
    texts = [tokenizer.apply_chat_template(messages, tokenize=False, **variables) for messages in chats]
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def require_examples(fitting: Sequence[Any], training: Training, kind: str) -> None:
    """Raise TrainingError where no example of this kind fits into `train.max_length`."""
    if not fitting:
        raise TrainingError(f"no {kind} fits into train.max_length = {training.settings.max_length} tokens")
