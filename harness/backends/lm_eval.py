"""The backends of lm-eval: any of its models answers, none of them is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest, file_digest, folder_digest
from mipo_bench.harness.generators.lm_eval_generator import LMEvalGenerator
from mipo_bench.harness.generators.lm_eval_model import EngineTraits, ModelSpec, Seeding
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Generator
from mipo_bench.harness.store.run_store import Store

_SEEDING: Mapping[str, Seeding] = {"hf": "torch", "hf-auto": "torch", "huggingface": "torch", "vllm": "request"}
_NOT_IN_KEY = {
    "num_concurrent",
    "max_retries",
    "retry_pause",
    "timeout",
    "gpu_memory_utilization",
    "verify_certificate",
    "ca_cert_path",
}
"""Arguments that cannot change an answer."""


class LMEvalBackend(HFBackend):
    """Base model and checkpoints generate through an engine of lm-eval. Training is the same as that of `HFBackend`."""

    def __init__(self, config: RunConfig, folder: Path, placement: Placement, store: Store) -> None:
        """See `HFBackend`."""
        super().__init__(config, folder, placement, store)
        self.name = config.backend

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
        settings = {name: value for name, value in arguments.items() if name not in _NOT_IN_KEY}
        name = _identity(self.config, weights, settings, [*self.placement.numerics_key, self.versions["transformers"]])
        traits = EngineTraits(backend, _SEEDING.get(backend, "none"))
        arguments |= {"pretrained": str(folder), **safe}
        spec = ModelSpec(lambda: _build(backend, arguments), name, traits, self.config.chat, folder)
        generator = LMEvalGenerator(spec, [])
        self._generators.append(generator)
        return generator


def _content(value: Any) -> Any:
    """The value of a setting for content keys: a path stands for the content of its folder or file."""
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or not path.exists():
        return value
    return folder_digest(path) if path.is_dir() else file_digest(path)


def _build(backend: str, arguments: Mapping[str, Any]) -> Any:
    from lm_eval.api.registry import get_model

    return get_model(backend)(**arguments)


def _identity(config: RunConfig, weights: str, settings: Mapping[str, Any], circumstances: list[str]) -> str:
    """The content key of a model behind lm-eval: everything that can change an answer."""
    chat = config.chat.model_dump_json()
    arguments = json.dumps({name: _content(value) for name, value in settings.items()}, sort_keys=True, default=str)
    return digest(["lm-eval", version("lm-eval"), config.backend, weights, arguments, chat, *circumstances])
