"""The checks of `mipo-bench doctor` on a model on this machine or the hub. No weights are loaded."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ModelError, UserError, first_line
from mipo_bench.harness.generators.model_folder import EMBEDDED_MODEL, find_model_folder, resolve_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.gguf.dequantise import dequantised_before, write_without_weights
from mipo_bench.harness.gguf.names import gguf_name
from mipo_bench.harness.startup.findings import Finding
from mipo_bench.harness.training.distributed.check import check_training
from mipo_bench.harness.training.memory import visible_devices

_HUB_SECONDS = 5.0
"""Timeout of a request to the hub for the record of a model."""


def find_model(config: RunConfig, scratch: Path) -> Generator[Finding, None, Path | None]:
    """Check where the model is. Returns its folder as the generator's value, None where it is not on this machine.

    The folder of a GGUF file that is not dequantised yet is `scratch`, without weights.
    """
    try:
        if named := gguf_name(config.model):
            file = named.here
            if file is None:
                yield _remote(named.repository, named.file)
                return None
            return (yield from _gguf(file, config, scratch))
        if find_model_folder(config.model) is not None or _cached(config.model):
            folder = resolve_model(config.model, config.store)
            where = "" if config.model == EMBEDDED_MODEL else f" in {folder}"
            yield Finding("model", "ok", f"{config.model}{where}")
            return folder
        yield _remote(config.model)
    except UserError as error:
        yield Finding("model", "fail", str(error))
    return None


def _gguf(file: Path, config: RunConfig, scratch: Path) -> Generator[Finding, None, Path]:
    """Check a GGUF file. Returns the folder of its dequantised model, or `scratch` with all but the weights."""
    if folder := dequantised_before(file, config.store):
        yield Finding("model", "ok", f"{config.model}, dequantised in {folder}")
        return folder
    header = write_without_weights(file, scratch)
    size = header.dequantised_bytes / 1e9
    text = f"{config.model}: {', '.join(header.types)}; the run dequantises it once ({size:.1f} GB in {config.store})"
    yield Finding("model", "ok", text)
    return scratch


def _cached(model: str) -> bool:
    import huggingface_hub

    return isinstance(huggingface_hub.try_to_load_from_cache(model, "config.json"), str)


def _remote(model: str, file: str = "") -> Finding:
    """A finding on a model of the hub, or on one `file` of its repository."""
    import huggingface_hub

    command = f"hf download {model} {file}".rstrip()
    try:
        info = huggingface_hub.HfApi().model_info(model, files_metadata=True, timeout=_HUB_SECONDS)
    except Exception as error:  # noqa: BLE001 - for any error of hub or network the model is not here
        return Finding(
            "model",
            "fail",
            f"{model} is not on this machine and the hub cannot be reached ({first_line(error)}). On a machine with"
            f" a network run `{command}`; then copy the Hugging Face cache here, or pass the model's folder.",
        )
    size = sum(f.size or 0 for f in info.siblings or () if f.rfilename.endswith(file or ".safetensors"))
    gated = " It is gated: accept its terms on its page and log in with `hf auth login`." if info.gated else ""
    text = f"{model} will be downloaded ({size / 1e9:.1f} GB); to do it now: {command}.{gated}"
    return Finding("model", "warn", text)


def build_model(folder: Path, placement: Placement, config: RunConfig) -> Finding:
    """Build the architecture without weights, to check its size, its context window and its attention."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=placement.trust_remote_code)
        options = {key: value for key, value in placement.load_kwargs.items() if key != "use_safetensors"}
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(settings, **options)
    except Exception as error:
        raise ModelError(f"the model in {folder} cannot be built: {first_line(error)}") from error
    size = sum(p.numel() for p in model.parameters())
    check_training(size, config, visible_devices(placement.device))
    window = getattr(settings, "max_position_embeddings", None)
    return Finding(
        "model",
        "ok",
        f"{settings.model_type}, {size:,} parameters, window {window or 'not stated'},"
        f" attention {model.config._attn_implementation}",
    )
