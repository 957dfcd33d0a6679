"""What answers a run: transformers here, a file of responses, or an engine of lm-eval (`--backend`)."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mipo_bench.harness.backends.hf import Engine, HFEngine, Trained
from mipo_bench.harness.config.schema import TRAINING_BACKENDS, RunConfig
from mipo_bench.harness.core.provenance import digest, file_digest, folder_digest
from mipo_bench.harness.errors import ConfigError, ModelError, unknown
from mipo_bench.harness.generators.chat_client import ChatServer
from mipo_bench.harness.generators.hf_generator import Placement, place
from mipo_bench.harness.generators.lm_eval_generator import LMEvalGenerator, Seeding, Traits
from mipo_bench.harness.generators.model_folder import EMBEDDED, locate, parameters, resolve
from mipo_bench.harness.generators.openai_generator import OpenAIGenerator
from mipo_bench.harness.inference.memory import check_training_fits
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Arm, Generator

OWN = "transformers"
OPENAI = "openai"
_SEEDING: Mapping[str, Seeding] = {"hf": "torch", "hf-auto": "torch", "huggingface": "torch", "vllm": "request"}
_SPEED = {
    "num_concurrent",
    "max_retries",
    "retry_pause",
    "timeout",
    "gpu_memory_utilization",
    "verify_certificate",
    "ca_cert_path",
}
"""Arguments that cannot change an answer."""
_ASKING: Mapping[str, float] = {"timeout": 120, "max_retries": 5, "retry_pause": 1, "num_concurrent": 4}
"""How servers are asked: seconds for one answer, attempts, seconds before the second one, requests at a time."""
_CONNECT_SECONDS = 10


def check_backend(config: RunConfig) -> None:
    """Refuse what can be refused without loading anything: an unknown backend or model, a server that is not there.

    Raises ConfigError or ModelError.
    """
    if config.backend == OWN:
        locate(config.model)
        return
    from lm_eval.models import MODEL_MAPPING

    if config.backend not in (OPENAI, *MODEL_MAPPING):
        raise ConfigError(unknown("backend", config.backend, [OWN, OPENAI, *MODEL_MAPPING]))
    if config.backend in TRAINING_BACKENDS:
        locate(config.model)
    elif config.model == EMBEDDED:
        raise ConfigError(f"--backend {config.backend} needs --model NAME, the model's name there.")


def engine_maker(config: RunConfig) -> Callable[[Store], Engine]:
    """What makes the engine once the store is open.

    Raises ModelError for a model that cannot be used, or a server that cannot be reached.
    """
    if config.backend == OWN:
        folder, placement = resolve(config.model), place(config)
        check_training_fits(parameters(folder), config, placement.device)
        return lambda store: HFEngine(config, folder, placement, store)
    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    if config.backend in TRAINING_BACKENDS:
        folder, placement = resolve(config.model), place(config)
        check_training_fits(parameters(folder), config, placement.device)
        return lambda store: LMEvalEngine(config, folder, placement, store)
    address = config.backend_args.get("base_url")
    if config.backend == OPENAI:
        chat_server(config).check()
    elif address is not None:
        check_address(str(address))
    served = ServedEngine(config)
    return lambda _: served


def check_address(address: str) -> None:
    """Raise ModelError where nothing answers there. Any HTTP status is an answer: nothing is asked for."""
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise ModelError(
            f"backend_args.base_url = {address!r} is no address; write it as http://HOST:PORT/v1/completions."
        )
    try:
        with urllib.request.urlopen(address, timeout=_CONNECT_SECONDS):  # noqa: S310 - the scheme is checked above
            pass
    except urllib.error.HTTPError:
        return
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"the server {address} cannot be reached: {error}. Start it, or correct --set backend_args.base_url=URL."
        ) from error


class LMEvalEngine(HFEngine):
    """Base model and checkpoints answer through an engine of lm-eval; trainings are the same."""

    def __init__(self, config: RunConfig, folder: Path, placement: Placement, store: Store) -> None:
        """See `HFEngine`."""
        super().__init__(config, folder, placement, store)
        self.backend = config.backend

    def _generator(self, folder: Path, weights: str) -> Generator:
        backend = self.config.backend
        usual: dict[str, Any] = {"dtype": self.placement.dtype, "trust_remote_code": self.placement.trust_remote_code}
        if _SEEDING.get(backend) == "torch":
            usual |= {"device": self.placement.device, "batch_size": self.placement.batch_size or "auto"}
            safe: dict[str, Any] = {"use_safetensors": True}
        else:
            usual["batch_size"] = "auto"
            safe = {"load_format": "safetensors"}
        arguments = usual | dict(self.config.backend_args)
        settings = {name: value for name, value in arguments.items() if name not in _SPEED}
        name = _identity(self.config, weights, settings, [*self.placement.identity, self.versions["transformers"]])
        traits = Traits(backend, _SEEDING.get(backend, "none"))
        arguments |= {"pretrained": str(folder), **safe}
        generator = LMEvalGenerator(lambda: _build(backend, arguments), name, traits, self.config.chat, [], folder)
        self._generators.append(generator)
        return generator


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


def _content(value: Any) -> Any:
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or not path.exists():
        return value
    return folder_digest(path) if path.is_dir() else file_digest(path)


def _number(arguments: Mapping[str, Any], name: str) -> float:
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigError(f"backend_args.{name} = {value!r} is no number above 0.")
    return float(value)


def _build(backend: str, arguments: Mapping[str, Any]) -> Any:
    from lm_eval.api.registry import get_model

    return get_model(backend)(**arguments)


def _identity(config: RunConfig, weights: str, settings: Mapping[str, Any], circumstances: list[str]) -> str:
    """What can change an answer; a setting that names a folder or a file stands for its content."""
    chat = config.chat.model_dump_json()
    said = json.dumps({name: _content(value) for name, value in settings.items()}, sort_keys=True, default=str)
    return digest(["lm-eval", version("lm-eval"), config.backend, weights, said, chat, *circumstances])
