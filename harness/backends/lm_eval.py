"""The backends of lm-eval that run a local model: lm-eval's engine generates, and training uses trl as in `HFBackend`.

Models on a server are in `remote`.
"""

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
_NO_EFFECT = {
    "num_concurrent",
    "max_retries",
    "retry_pause",
    "timeout",
    "gpu_memory_utilization",
    "verify_certificate",
    "ca_cert_path",
}
"""Arguments of engines that cannot change a response, and so are not part of content keys."""


class LMEvalBackend(HFBackend):
    """Base model and checkpoints generate through an engine of lm-eval. Training is the same as that of `HFBackend`."""

    def __init__(self, config: RunConfig, folder: Path, placement: Placement, store: Store) -> None:
        """See `HFBackend`."""
        super().__init__(config, folder, placement, store)
        self.name = config.backend

    def _generator(self, folder: Path, weights: str) -> Generator:
        backend = self.config.backend
        defaults: dict[str, Any] = {
            "dtype": self.placement.dtype,
            "trust_remote_code": self.placement.trust_remote_code,
        }
        if _SEEDING.get(backend) == "torch":
            defaults |= {"device": self.placement.device, "batch_size": self.placement.batch_size or "auto"}
            safe: dict[str, Any] = {"use_safetensors": True}
        else:
            defaults["batch_size"] = "auto"
            safe = {"load_format": "safetensors"}
        arguments = defaults | dict(self.config.backend_args)
        environment = [*self.placement.numerics_key, self.versions["transformers"]]
        key = engine_key(self.config, weights, arguments, environment)
        traits = EngineTraits(backend, _SEEDING.get(backend, "none"))
        arguments |= {"pretrained": str(folder), **safe}
        end = self.missing_end_token
        if end:
            key = digest([key, "ends at", end])
        spec = ModelSpec(lambda: self._build(folder, arguments), key, traits, self.config.chat, folder, end)
        generator = LMEvalGenerator(spec, [])
        self._generators.append(generator)
        return generator

    def _build(self, folder: Path, arguments: Mapping[str, Any]) -> Any:
        """The engine of a model. As in `HFBackend`, at most one checkpoint stays in memory besides the base model.

        vLLM and SGLang take a share of the GPU's memory for themselves at their start, so that no other model stays.
        """
        if _SEEDING.get(self.config.backend) != "torch":
            self._unload(self.folder)
        elif folder != self.folder:
            self._unload()
        return build_engine(self.config.backend, arguments)


def _content(value: Any) -> Any:
    """The value of an argument for content keys. An existing path is replaced by the digest of its content."""
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or not path.exists():
        return value
    return folder_digest(path) if path.is_dir() else file_digest(path)


def build_engine(backend: str, arguments: Mapping[str, Any]) -> Any:
    """The lm-eval `LM` of a backend."""
    from lm_eval.api.registry import get_model

    return get_model(backend)(**arguments)


def engine_key(config: RunConfig, weights: str, arguments: Mapping[str, Any], environment: list[str]) -> str:
    """The content key of a model that lm-eval runs: everything that can change a response.

    `weights` is the digest of the model; `environment` is device, dtype and library versions.
    """
    chat = config.chat.model_dump_json()
    contents = {name: _content(value) for name, value in arguments.items() if name not in _NO_EFFECT}
    settings = json.dumps(contents, sort_keys=True, default=str)
    return digest(["lm-eval", version("lm-eval"), config.backend, weights, settings, chat, *environment])
