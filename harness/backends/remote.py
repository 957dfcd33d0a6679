"""The backend of models on a server: any OpenAI-compatible chat server, and the remote engines of lm-eval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.backends.lm_eval import build_engine, engine_key
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import ConfigError, ModelError, unknown
from mipo_bench.harness.generators.lm_eval_generator import LMEvalGenerator
from mipo_bench.harness.generators.lm_eval_model import EngineTraits, ModelSpec
from mipo_bench.harness.generators.openai_generator import CHAT_REQUEST_VERSION, OpenAIGenerator
from mipo_bench.harness.protocols import Arm, Generator
from mipo_bench.harness.servers.chat_server import ChatServer
from mipo_bench.harness.servers.retry import RetryPolicy
from mipo_bench.harness.training.pairs import PairSet, PromptSet

_OPENAI = "https://api.openai.com/v1"
_REMOTE_DEFAULTS: Mapping[str, float] = {"timeout": 120, "max_retries": 5, "retry_pause": 1, "num_concurrent": 4}
"""Time limit of one attempt in seconds, attempts, limit of the first pause in seconds, concurrent requests."""


class RemoteBackend:
    """A model on a server, or one that lm-eval finds by its arguments. It cannot be trained."""

    device = "remote"
    dtype = "unknown"

    def __init__(self, config: RunConfig) -> None:
        """The model is identified by its name and the server's address, because its weights cannot be read.

        Raises ConfigError for arguments that the backend does not take.
        """
        self.name = config.backend
        self.notes = [f"the model {config.model!r} is identified by its name only: its weights cannot be checked"]
        self.model_digest = digest([config.model, _address(config)])
        self._base = _openai(config, self.notes) if config.source.kind == "openai" else _remote(config, self)

    @property
    def base(self) -> Generator:
        """The model on the server."""
        return self._base

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:  # noqa: ARG002
        """Raise ModelError, because the weights are not on this machine."""
        raise ModelError(f"{arm.recipe}: backend {self.name!r} cannot train; set recipes to none.")

    def unload(self) -> None:
        """Do nothing, because no model is loaded in this process."""


def chat_server(config: RunConfig) -> ChatServer:
    """The server of `--backend openai`. Raises ConfigError for arguments that it does not take."""
    arguments = {**_REMOTE_DEFAULTS, **config.backend_args}
    for name in config.backend_args:
        if name not in {"base_url", *_REMOTE_DEFAULTS}:
            raise ConfigError(unknown("argument in backend_args:", str(name), ["base_url", *_REMOTE_DEFAULTS]))
    return ChatServer(config.model, _address(config) or _OPENAI, _number(arguments, "timeout"), _retry(arguments))


def _address(config: RunConfig) -> str | None:
    """The address of the server, without the slash at its end that changes nothing; None where none is given."""
    found = config.backend_args.get("base_url")
    return None if found is None else str(found).rstrip("/")


def _retry(arguments: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(round(_number(arguments, "max_retries")), _number(arguments, "retry_pause"))


def _openai(config: RunConfig, notes: list[str]) -> Generator:
    workers = round(_number({**_REMOTE_DEFAULTS, **config.backend_args}, "num_concurrent"))
    server = chat_server(config)
    key = digest([CHAT_REQUEST_VERSION, server.model, server.url, config.chat.model_dump_json()])
    return OpenAIGenerator(server, key, config.chat, workers, notes)


def _remote(config: RunConfig, backend: RemoteBackend) -> Generator:
    """A model on any other server, through lm-eval's engine for it. lm-eval gets one request per call."""
    arguments: dict[str, Any] = {"model": config.model, **_REMOTE_DEFAULTS, **config.backend_args}
    traits = EngineTraits(
        config.backend,
        "request",
        served=True,
        chats="chat" in config.backend or config.backend == "litellm",
        workers=round(_number(arguments, "num_concurrent")),
        retry=_retry(arguments),
    )
    timeout = max(1, round(_number(arguments, "timeout")))  # lm-eval counts whole seconds
    engine = {name: value for name, value in arguments.items() if name not in ("num_concurrent", "retry_pause")}
    engine |= {"timeout": timeout, "max_retries": 1}  # lm-eval would end the run after its last attempt
    key = engine_key(config, backend.model_digest, arguments, [])
    spec = ModelSpec(lambda: build_engine(config.backend, engine), key, traits, config.chat)
    return LMEvalGenerator(spec, backend.notes)


def _number(arguments: Mapping[str, Any], name: str) -> float:
    """A number above 0. Raises ConfigError for any other value."""
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigError(f"backend_args.{name} = {value!r} is not a number above 0.")
    return float(value)
