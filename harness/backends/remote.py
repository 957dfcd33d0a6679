"""The backend of a chat server that speaks the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mipo_bench.harness.backends.base import Trained
from mipo_bench.harness.backends.lm_eval import _SPEED, _build, _identity
from mipo_bench.harness.config.schema import OPENAI, RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import ConfigError, ModelError, unknown
from mipo_bench.harness.generators.chat_client import ChatServer
from mipo_bench.harness.generators.lm_eval_generator import LMEvalGenerator, Traits
from mipo_bench.harness.generators.openai_generator import OpenAIGenerator
from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.training.pairs import PairSet, PromptSet

_ASKING: Mapping[str, float] = {"timeout": 120, "max_retries": 5, "retry_pause": 1, "num_concurrent": 4}
"""How servers are asked: seconds for one answer, attempts, seconds before the second one, requests at a time."""


class ServedEngine:
    """A model that somebody else runs, or that lm-eval finds by its arguments alone. It answers and trains nothing."""

    device = "remote"
    dtype = "unknown"

    def __init__(self, config: RunConfig) -> None:
        """The model's identity is its name at the server, and the address: its weights cannot be seen.

        Raises ConfigError for arguments that the backend does not take.
        """
        self.backend = config.backend
        self.notes = [f"the model {config.model!r} is known by its name alone: its weights cannot be checked"]
        self.model_digest = digest([config.model, config.backend_args.get("base_url")])
        self._base = _openai(config, self.notes) if config.backend == OPENAI else _remote(config, self)

    @property
    def base(self) -> Generator:
        """The model."""
        return self._base

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> Trained:  # noqa: ARG002
        """Raise ModelError: its weights are out of reach."""
        raise ModelError(f"{arm.recipe}: backend {self.backend!r} cannot train; give --recipes none.")

    def unload(self) -> None:
        """Nothing is loaded here."""


def chat_server(config: RunConfig) -> ChatServer:
    """The server of `--backend openai`. Raises ConfigError for arguments that it does not take."""
    arguments = {"base_url": "https://api.openai.com/v1", **_ASKING, **config.backend_args}
    for name in config.backend_args:
        if name not in {"base_url", *_ASKING}:
            raise ConfigError(unknown("argument in backend_args:", str(name), ["base_url", *_ASKING]))
    return ChatServer(
        config.model,
        str(arguments["base_url"]),
        _number(arguments, "timeout"),
        round(_number(arguments, "max_retries")),
        _number(arguments, "retry_pause"),
    )


def _openai(config: RunConfig, notes: list[str]) -> Generator:
    workers = round(_number({**_ASKING, **config.backend_args}, "num_concurrent"))
    return OpenAIGenerator(chat_server(config), config.chat, workers, notes)


def _remote(config: RunConfig, engine: ServedEngine) -> Generator:
    """A model of lm-eval that is asked through it, one request at a time."""
    arguments: dict[str, Any] = {"model": config.model, **_ASKING, **config.backend_args}
    settings = {name: value for name, value in arguments.items() if name not in _SPEED}
    traits = Traits(
        config.backend,
        "request",
        served=True,
        chats="chat" in config.backend or config.backend == "litellm",
        workers=round(_number(arguments, "num_concurrent")),
        attempts=round(_number(arguments, "max_retries")),
        pause=_number(arguments, "retry_pause"),
    )
    timeout = max(1, round(_number(arguments, "timeout")))  # lm-eval counts whole seconds
    given = {name: value for name, value in arguments.items() if name not in ("num_concurrent", "retry_pause")}
    given |= {"timeout": timeout, "max_retries": 1}  # attempts are counted where one item's failure is not the run's
    identity = _identity(config, engine.model_digest, settings, [])
    return LMEvalGenerator(lambda: _build(config.backend, given), identity, traits, config.chat, engine.notes)


def _number(arguments: Mapping[str, Any], name: str) -> float:
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigError(f"backend_args.{name} = {value!r} is no number above 0.")
    return float(value)
