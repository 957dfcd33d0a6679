"""The run configuration: every setting with its default. `loading` reads it; docs/configuration.md lists it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from mipo_bench.harness.config.answer_source import OWN, AnswerSource
from mipo_bench.harness.config.cluster import ClusterConfig
from mipo_bench.harness.config.include import Include, one_listed
from mipo_bench.harness.config.judge_spec import JudgeConfig
from mipo_bench.harness.config.values import (
    Arguments,
    ConfigSection,
    Count,
    Launch,
    Listed,
    ModelName,
    Names,
    Positive,
    PositiveTemperature,
    Temperature,
    Texts,
    TopP,
    UserPath,
    Whole,
    launch_name,
    listed,
)
from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugins.task_data import folders
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS

_GPU_COUNTS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "tp_size", "dp_size")
"""Arguments of vLLM and SGLang that count GPUs; their product is the number that an engine uses."""
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
ThoughtTags = tuple[tuple[Tag, Tag], ...]


class DecodingConfig(ConfigSection):
    """Sampling of the evaluated responses. The defaults are the paper's evaluation settings (arXiv 2603.19294)."""

    temperature: Temperature = 0.1
    top_p: TopP = 0.9
    max_new_tokens: Count | None = None
    """Most tokens of a response; None takes the task's limit."""
    seed: int = 0
    """Sampling seed of the evaluated responses."""


class CadConfig(ConfigSection):
    """Context-aware decoding (arXiv 2305.14739)."""

    weight: Annotated[float, Field(ge=0)] = 0.5
    """The paper's alpha: logits are (1 + weight) with the context minus weight without it."""


class BestOfNConfig(ConfigSection):
    """Sampling of the candidate responses of best-of-n."""

    samples: Annotated[Whole, Field(ge=2)] = 8
    """Responses to each item."""
    temperature: PositiveTemperature = 1.0
    top_p: TopP = 1.0


class PairsConfig(ConfigSection):
    """Sampling of preference pairs from the base model."""

    temperature: PositiveTemperature = 1.0
    top_p: TopP = 1.0
    limit: Count | None = None
    """Largest number of training items; None takes all."""
    negatives: Count = 1
    """Number of different contrasts of each item, for recipes that draw several."""
    similarity: Literal["random", "near", "far"] = "random"
    """Choice of contrasts: at random, or those whose words are most (near) or least (far) like the item's own."""


class TrainConfig(ConfigSection):
    """Training settings. The defaults are the paper's, for full fine-tuning; LoRA needs a larger learning rate."""

    method: Literal["full", "lora"] = "full"
    """Full fine-tuning, or LoRA adapters that are merged after training (LoRA needs a larger learning rate)."""
    lr: Positive = 5e-7
    """Peak learning rate."""
    beta: Positive = 0.1
    """DPO's beta: a larger value keeps the policy closer to the base model."""
    epochs: Positive = 1.0
    """Passes over the training examples."""
    batch_size: Count = 4
    """Training examples in one optimizer step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the optimizer steps with a growing learning rate."""
    max_length: Count = 4096
    """Tokens of prompt and response together; longer examples are left out and counted."""
    lora_rank: Count = 16
    """Rank of the LoRA adapters."""
    loss: Literal["sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = "sigmoid"
    """trl's `loss_type`."""
    temperature: Positive = 100.0
    """Temperature of InfoNCE: log-probabilities are divided by it."""
    generations: Annotated[Whole, Field(ge=2)] = 4
    """Responses to each prompt in GRPO."""
    kl: Annotated[float, Field(ge=0)] = 0.001
    """Weight of the divergence from the base model in GRPO."""
    processes: Count = Field(default=1, exclude_if=lambda count: count == 1)  # reports of before are without it
    """Devices that share one training by DPO or SFT, each with a process of its own; they divide `batch_size`."""
    launch: Launch = Field(default="fsdp2", exclude_if=lambda name: name == "fsdp2")
    """The share of each process: fsdp2 (of weights and batch), ddp (of the batch), or accelerate's FILE.yaml."""

    @property
    def spread(self) -> tuple[str, ...]:
        """The part of keys that is about several processes; empty for one. A file counts by its content."""
        return () if self.processes == 1 else (f"{self.processes} processes", launch_name(self.launch))


def _different(values: tuple[float, ...]) -> tuple[float, ...]:
    if len({f"{value:g}" for value in values}) < len(values):
        raise ValueError("every value may occur only once, compared at six digits")
    return values


Points = Annotated[
    tuple[Positive, ...],
    BeforeValidator(listed, json_schema_input_type=float | list[float]),
    AfterValidator(_different),
]


class GridConfig(ConfigSection):
    """Values that replace those in `train`; every combination is trained as a method of its own."""

    beta: Points = ()
    """Values of beta, for recipes that are trained by DPO."""
    lr: Points = ()
    """Learning rates, for every recipe."""


class InformationConfig(ConfigSection):
    """The responses whose mutual information with the user (or prompt) is measured."""

    arms: Names | None = None
    """Methods; None: the reference of each task and everything trained. Empty: nothing is measured."""
    seeds: Count = 1
    """Training seeds of each recipe that are measured."""
    items: Count = 100
    """Evaluation items of each task."""
    contexts: Count = 4
    """Other users (or prompts) that a response is compared with; the report has figures for 1, 4, 16, ... of them."""
    temperature: Annotated[float, Field(ge=0)] | None = None
    """Temperature of responses sampled for this (1: the model's own distribution); None: the evaluated ones."""


class ChatConfig(ConfigSection):
    """Use of the model's chat template."""

    system_in_user: bool = False
    """Put the system text at the beginning of the first user turn, even if the template accepts a system turn."""
    template: Mapping[str, Any] = {}
    """Further variables for the template, such as `enable_thinking: false` for Qwen3."""


class RunConfig(ConfigSection):
    """Everything that decides what a run does."""

    preset: str | None = None
    """A named set of settings (`presets.PRESETS`); the user's own settings override it."""
    model: ModelName = "embedded"
    """embedded, a folder, a FILE.gguf, a Hugging Face id, a RESPONSES.jsonl, or the name of a model at a server."""
    backend: str = OWN
    """Inference engine: transformers, openai (a chat server), or one of lm-eval (hf, vllm, local-completions ...)."""
    backend_args: Arguments = Field(default={})
    """Arguments of lm-eval's engine, such as `base_url`. Keys come from the environment, never from here."""
    suite: Literal["personalized", "math", "choice", "all"] = "all"
    """The suite whose tasks run unless `tasks` names some: those that are meant for the model."""
    tasks: Listed = ()
    """Names of tasks; they replace the suite."""
    include: Annotated[tuple[Include, ...], BeforeValidator(one_listed, json_schema_input_type=Texts)] = ()
    """Files and folders with plugins that are installed nowhere, relative to the working directory."""
    data: Annotated[Mapping[str, UserPath], BeforeValidator(folders, json_schema_input_type=Texts | dict[str, str])] = (
        Field(default={}, exclude=True)
    )
    """Task -> folder with its data, `*` for all others. A report identifies data by its content, not by its folder."""
    skip_missing: bool = Field(default=False, exclude=True)
    """Whether the run goes on without the tasks whose data cannot be had; its report names them."""
    baselines: Names | None = None
    """None: the default ones among those that apply to a task. The reference of a task always runs."""
    recipes: Names | None = None
    """None: the default ones among those that apply to a task. Empty: no training."""
    seeds: Count = 3
    """Training seeds of each recipe."""
    first_seed: Annotated[Whole, Field(ge=0)] = Field(default=0, exclude_if=lambda seed: seed == 0)
    """The first of these seeds; a job of an array takes one: `seeds=1` and its own number here ([scale](scale.md))."""
    limit: Count | None = None
    """Evaluation items of a task (whole users first), and twice as many training items."""
    reference: Mapping[str, str] = {}
    """Task -> the prompting baseline that its recipes are prompted with and compared against."""
    noise_floor: bool = True
    """Whether the reference runs a second time under another sampling seed (the A/A twin)."""
    average: Literal["micro", "macro"] = "micro"
    """Units of equal weight in every average: items (micro) or users (macro)."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Significance level; intervals have level 1 - alpha."""
    decoding: DecodingConfig = DecodingConfig()
    cad: CadConfig = CadConfig()
    best_of_n: BestOfNConfig = BestOfNConfig()
    pairs: PairsConfig = PairsConfig()
    train: TrainConfig = TrainConfig()
    grid: GridConfig = GridConfig()
    judge: JudgeConfig = JudgeConfig()
    chat: ChatConfig = ChatConfig()
    thought_tags: ThoughtTags | None = None
    """Tags around thoughts in responses and verdicts, as [begin, end]; None: those of public models (answers.md)."""
    information: InformationConfig = InformationConfig()
    store: UserPath = DEFAULT_STORE
    """Folder of the run store."""
    out: UserPath = DEFAULT_REPORT
    """Folder of report.json and report.md."""
    device: str = "auto"
    """torch device; auto takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format for inference; auto: float32 on a CPU or if anything is trained, else bfloat16. Where a CPU
    infers in bfloat16, it trains in bfloat16 autocast."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """transformers' `attn_implementation`; auto leaves the choice to it."""
    device_map: str | None = None
    """Placement of the model on several devices for inference, such as `auto`; requires several, and trains on one."""
    max_length: Count | None = None
    """Most tokens of prompt and response together; None takes the model's window."""
    overflow: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of an arm's prompts that may exceed the window; they score 0. Above this share the arm fails."""
    batch_size: Annotated[Whole, Field(ge=0, le=2048)] = 0
    """Prompts in one inference batch; 0 takes as many as fit in the GPU's memory, or 32 without a GPU."""
    threads: Annotated[Whole, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 takes one for each core that this process may use."""
    processes: Annotated[Whole, Field(ge=0)] = 1
    """Processes on this machine that share the work; 0 takes one for each core, up to four."""
    cluster: ClusterConfig = Field(default=ClusterConfig(), exclude=True)
    trust_remote_code: bool = False
    """Whether code in a model's folder may run."""

    @property
    def source(self) -> AnswerSource:
        """The source of the run's answers."""
        return AnswerSource.of(self.model, self.backend)

    @property
    def tags_around_thoughts(self) -> ThoughtTags:
        """The tags around thoughts, which are no part of an answer."""
        return THOUGHT_TAGS if self.thought_tags is None else self.thought_tags

    @property
    def engine_gpus(self) -> int:
        """The number of GPUs that one engine is to use, by its arguments. Raises ConfigError for no such number."""
        found = 1
        for name in _GPU_COUNTS:
            value = self.backend_args.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"backend_args.{name} = {value!r} is not a whole number above 0.")
            found *= value
        return found

    def result_hash(self) -> str:
        """Hash of all settings but store, output folder, threads and processes, which cannot change a result."""
        excluded: dict[str, Any] = dict.fromkeys(("store", "out", "threads", "processes"), True)
        excluded["train"] = {"processes", "launch"}  # in the hash where they change something: old hashes stay valid
        values = self.model_dump(mode="json", exclude=excluded)
        if self.train.spread:
            values["train"]["spread"] = self.train.spread
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
