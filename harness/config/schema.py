"""The run configuration: every setting with its default. `config_loading` reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.core.default_paths import DEFAULT_REPORT, DEFAULT_STORE
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugins.included_files import content_digest
from mipo_bench.harness.plugins.task_data import folders

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0, strict=True)]
Share = Annotated[float, Field(gt=0, le=1)]


class ConfigSection(BaseModel):
    """A part of the configuration; unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DecodingConfig(ConfigSection):
    """How evaluated responses are sampled; the defaults are the paper's evaluation settings (arXiv 2603.19294)."""

    temperature: Annotated[float, Field(ge=0)] = 0.1
    top_p: Share = 0.9
    max_new_tokens: Count | None = None
    """None leaves it to the task."""
    seed: int = 0
    """Sampling seed of the evaluated responses."""


class CadConfig(ConfigSection):
    """Context-aware decoding (arXiv 2305.14739)."""

    weight: Annotated[float, Field(ge=0)] = 0.5
    """The paper's alpha: logits are (1 + weight) with the context minus weight without it."""


class BestOfNConfig(ConfigSection):
    """How best-of-n samples the responses that it chooses from."""

    samples: Annotated[int, Field(ge=2, strict=True)] = 8
    """Responses to each item."""
    temperature: Positive = 1.0
    top_p: Share = 1.0


class PairsConfig(ConfigSection):
    """How preference pairs are sampled from the base model."""

    temperature: Positive = 1.0
    top_p: Share = 1.0
    limit: Count | None = None
    """At most this many training items; None takes all."""
    negatives: Count = 1
    """Contrasts of each item, all different, for recipes that draw them."""
    similarity: Literal["random", "near", "far"] = "random"
    """Which contrasts are drawn: any, or those whose words are most or least like the item's own."""


class TrainConfig(ConfigSection):
    """Training settings. The defaults are the paper's, for full fine-tuning; LoRA needs a larger learning rate."""

    method: Literal["full", "lora"] = "full"
    """Full fine-tuning, or LoRA adapters that are merged after training (LoRA needs a larger learning rate)."""
    lr: Positive = 5e-7
    """Peak learning rate."""
    beta: Positive = 0.1
    """DPO's beta: how strongly the loss holds the policy to the base model."""
    epochs: Positive = 1.0
    """Passes over the training examples."""
    batch_size: Count = 4
    """Examples of one optimizer step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps."""
    max_length: Count = 4096
    """Tokens of prompt and response together; longer examples are left out and counted."""
    lora_rank: Count = 16
    """Rank of the LoRA adapters."""
    loss: Literal["sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = "sigmoid"
    """trl's `loss_type`."""
    temperature: Positive = 100.0
    """Divisor of InfoNCE's log-probabilities."""
    generations: Annotated[int, Field(ge=2, strict=True)] = 4
    """Responses to each prompt in GRPO."""
    kl: Annotated[float, Field(ge=0)] = 0.001
    """Weight of the divergence from the base model in GRPO."""


def _different(values: tuple[float, ...]) -> tuple[float, ...]:
    if len({f"{value:g}" for value in values}) < len(values):
        raise ValueError("every value may stand once, told apart by six digits")
    return values


Points = Annotated[tuple[Positive, ...], AfterValidator(_different)]


class GridConfig(ConfigSection):
    """Values to train with, each in place of the one in `train`; every combination is a method of its own."""

    beta: Points = ()
    """For recipes that are trained by DPO."""
    lr: Points = ()
    """Learning rates, for every recipe."""


def _judge_name(text: str) -> str:
    """The name of a judge, checked. Raises ValueError."""
    JudgeSpec.parse(text)
    return text


class JudgeConfig(ConfigSection):
    """How judged tasks are judged. Temperature and top-p are the paper's (arXiv 2603.19294)."""

    name: Annotated[str, AfterValidator(_judge_name)] | None = None
    """rules, file:PATH, openai:MODEL@URL, or a model folder or id; None: the task's rules where they decide."""
    protocol: Literal["pairwise", "pointwise"] = "pairwise"
    """Two responses compared in both orders, or each response rated by itself from 1 to 5."""
    temperature: Annotated[float, Field(ge=0)] = 0.1
    top_p: Share = 0.9
    max_new_tokens: Count = 256
    """Longest answer of a judge, in tokens."""
    retest: Annotated[int, Field(ge=0, strict=True)] = 50
    """Questions of a task that are asked twice, to see whether the judge agrees with itself."""
    shuffled: bool = False
    """Whether a judge that is asked (not rules) also judges against another user's profile; doubles its calls."""
    validation_file: Path | None = None
    """The file that `mipo-bench check-judge` wrote for this judge."""

    @property
    def spec(self) -> JudgeSpec | None:
        """The judge that `name` means; None leaves it to the task's rules."""
        return None if self.name is None else JudgeSpec.parse(self.name)


class InformationConfig(ConfigSection):
    """The responses whose mutual information with the user (or prompt) is measured."""

    arms: tuple[str, ...] | None = None
    """Methods; None: the reference of each task and everything trained. Empty: nothing is measured."""
    seeds: Count = 1
    """Training seeds of each recipe that are measured."""
    items: Count = 100
    """Evaluation items of each task."""
    contexts: Count = 16
    """Other users (or prompts) that a response is held against; figures for 1, 4, 16, ... of them come with it."""
    temperature: Annotated[float, Field(ge=0)] | None = None
    """Sample responses for the purpose, 1 for those of the model as it is; None takes the evaluated ones."""


class Include(ConfigSection):
    """A file or folder with plugins. Reports know it by its name and content, whatever folder it lies in."""

    path: Path = Field(exclude=True)
    name: str
    digest: str

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, str | Path) or not str(value).strip():
            raise ValueError("write the path of a file or folder")
        path = Path(value).expanduser()
        try:
            return {"path": path, "name": path.resolve().name, "digest": content_digest(path)}
        except PluginError as error:
            raise ValueError(str(error)) from error


def _listed(value: Any) -> Any:
    """A single path where several may stand."""
    return [value] if isinstance(value, str | Path) else value


class ChatConfig(ConfigSection):
    """How chats are handed to the model's template."""

    system_in_user: bool = False
    """Put the system text at the head of the first user turn, even where the template takes a system turn."""
    template: Mapping[str, Any] = {}
    """Further variables for the template, such as `enable_thinking: false` for Qwen3."""


OWN = "transformers"
OPENAI = "openai"
TRAINING_BACKENDS = ("transformers", "hf", "hf-auto", "huggingface", "vllm", "sglang")
"""Backends that load a folder, and so can answer with a checkpoint too; all others only run prompting arms."""


@dataclass(frozen=True, slots=True)
class AnswerSource:
    """What answers a run: the harness's own engine, one of lm-eval's, a chat server, or a file of responses.

    `has_weights` says that the base model's weights are on this machine: it can be trained, and
    compared with the weights of a judge.
    """

    kind: Literal["own", "lm-eval", "openai", "responses"]
    has_weights: bool

    @classmethod
    def of(cls, model: str, backend: str) -> AnswerSource:
        """The source that `--model` and `--backend` name together."""
        if model.endswith(".jsonl"):
            return cls("responses", has_weights=False)
        if backend == OWN:
            return cls("own", has_weights=True)
        if backend == OPENAI:
            return cls("openai", has_weights=False)
        return cls("lm-eval", has_weights=backend in TRAINING_BACKENDS)


class RunConfig(ConfigSection):
    """Everything that decides what a run does."""

    preset: str | None = None
    """A named set of settings (`presets.PRESETS`) beneath all others."""
    model: str = "embedded"
    """embedded, a folder, a Hugging Face id, a RESPONSES.jsonl, or the name of a model at a server."""
    backend: str = OWN
    """What answers: transformers, or an engine of lm-eval (hf, vllm, local-completions, local-chat-completions ...)."""
    backend_args: Mapping[str, Any] = {}
    """Arguments of lm-eval's engine, such as `base_url`. Keys come from the environment, never from here."""
    suite: Literal["personalized", "math", "choice", "all"] = "all"
    """Tasks that run unless `tasks` names others."""
    tasks: tuple[str, ...] = ()
    """Named tasks; they take the place of the suite."""
    include: Annotated[tuple[Include, ...], BeforeValidator(_listed)] = ()
    """Files and folders with plugins that are installed nowhere, relative to the working directory."""
    data: Annotated[Mapping[str, Path], BeforeValidator(folders)] = Field(default={}, exclude=True)
    """Task -> folder with its data, `*` for all others. Reports know data by its content, whatever folder it is in."""
    baselines: tuple[str, ...] | None = None
    """None: the default ones among those that apply to a task. The reference of a task always runs."""
    recipes: tuple[str, ...] | None = None
    """None: the default ones among those that apply to a task. Empty: no training."""
    seeds: Count = 3
    """Training seeds of each recipe."""
    limit: Count | None = None
    """Evaluation items of a task (whole users first), and twice as many training items."""
    reference: Mapping[str, str] = {}
    """Task -> the prompting baseline that its recipes are prompted with and compared against."""
    noise_floor: bool = True
    """Whether the reference runs a second time under another sampling seed (the A/A twin)."""
    average: Literal["micro", "macro"] = "micro"
    """Which units weigh equally in every average: items (micro) or users (macro)."""
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
    information: InformationConfig = InformationConfig()
    store: Path = DEFAULT_STORE
    """Folder of the run store."""
    out: Path = DEFAULT_REPORT
    """Folder of report.json and report.md."""
    device: str = "auto"
    """torch device; auto takes a GPU where there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format while answering; auto: float32 on a CPU or where anything is trained, else bfloat16."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """transformers' `attn_implementation`; auto leaves the choice to it."""
    device_map: str | None = None
    """Spread a model over several devices while it answers, such as `auto`; needs them, and trains on one."""
    max_length: Count | None = None
    """Tokens of prompt and response together, where the model's own window shall not be filled."""
    overflow: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of an arm's prompts that may be longer than the window; they score 0. Above it the arm fails."""
    batch_size: Annotated[int, Field(ge=0, strict=True)] = 0
    """Prompts that are answered together; 0 takes as many as the GPU's memory holds, and 32 without one."""
    threads: Annotated[int, Field(ge=0, strict=True)] = 0
    """CPU threads; 0 takes one for each core that this process may use."""
    processes: Annotated[int, Field(ge=0, strict=True)] = 1
    """Processes of this machine that share the work; 0 takes one for each core, up to four."""
    trust_remote_code: bool = False
    """Whether code that comes with a model may run."""

    @property
    def source(self) -> AnswerSource:
        """What answers the run."""
        return AnswerSource.of(self.model, self.backend)

    def result_hash(self) -> str:
        """Hash of everything but where files go and how much computes at once."""
        values = self.model_dump(mode="json", exclude={"store", "out", "threads", "processes"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
