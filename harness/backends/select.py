"""Select the backend for `--backend`: transformers in this process, an engine of lm-eval, or a chat server."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from mipo_bench.harness.backends.base import Backend
from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.backends.lm_eval import LMEvalBackend
from mipo_bench.harness.backends.remote import RemoteBackend, chat_server
from mipo_bench.harness.config.answer_source import OPENAI, OWN
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, ModelError, unknown
from mipo_bench.harness.generators.model_folder import EMBEDDED_MODEL, check_model, parameters, resolve_model
from mipo_bench.harness.generators.placement import Placement, resolve_placement
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.distributed.check import check_training
from mipo_bench.harness.training.memory import visible_devices

_CONNECT_SECONDS = 10


def check_backend(config: RunConfig) -> None:
    """Raise ConfigError or ModelError for an unknown backend or model. Loads nothing and connects to no server."""
    source = config.source
    if source.kind == "own":
        check_model(config.model)
        return
    from lm_eval.models import MODEL_MAPPING

    if source.kind == "lm-eval" and config.backend not in MODEL_MAPPING:
        raise ConfigError(unknown("backend", config.backend, [OWN, OPENAI, *MODEL_MAPPING]))
    if source.has_weights:
        check_model(config.model)
        _check_engine(config)
    elif config.model == EMBEDDED_MODEL:
        raise ConfigError(f"--backend {config.backend} needs --model NAME, the model's name there.")


def _check_engine(config: RunConfig) -> None:
    """Raise ConfigError for an engine that is not installed, and for one on several GPUs beside a training on one."""
    if config.backend == "vllm" and find_spec("vllm") is None:
        raise ConfigError("--backend vllm needs the package vllm, which is not installed: pip install 'lm-eval[vllm]'.")
    if config.engine_gpus > 1 and config.recipes != ():
        raise ConfigError(
            f"backend_args spread the engine over {config.engine_gpus} GPUs, and a training in the same process must"
            " see one alone. Set recipes to none, or leave the engine on one GPU."
        )


Examine = Callable[[Path, Placement], None]
"""Looks at a model on this machine before it is used. Raises ModelError."""


def backend_maker(config: RunConfig, examine: Examine = lambda *_: None) -> Callable[[Store], Backend]:
    """A function that makes the backend from the open store. A model on this machine is passed to `examine` first.

    Raises ModelError for a model that cannot be used, and for a server that cannot be reached.
    """
    source = config.source
    if source.kind != "own":
        logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    if source.kind == "own" or source.has_weights:
        folder, placement = resolve_model(config.model, config.store), resolve_placement(config)
        check_training(parameters(folder), config, visible_devices(placement.device))
        examine(folder, placement)
        kind = HFBackend if source.kind == "own" else LMEvalBackend
        return lambda store: kind(config, folder, placement, store)
    address = config.backend_args.get("base_url")
    if source.kind == "openai":
        chat_server(config).check()
    elif address is not None:
        check_address(str(address))
    served = RemoteBackend(config)
    return lambda _: served


def check_address(address: str) -> None:
    """Raise ModelError if no server answers at the address. Any HTTP status counts as an answer."""
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise ModelError(
            f"backend_args.base_url = {address!r} is not an address; write it as http://HOST:PORT/v1/completions."
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
