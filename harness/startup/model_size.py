"""The size of a model, without its weights where the hub or a GGUF header says it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.generators.model_folder import find_model_folder, parameters
from mipo_bench.harness.gguf.dequantise import write_without_weights
from mipo_bench.harness.gguf.names import gguf_name
from mipo_bench.harness.inference.memory import token_bytes

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The number of parameters, and of numbers that one token takes in the KV cache."""

    parameters: int
    cache_numbers: int


def model_size(model: str) -> ModelSize:
    """The size of a model in a folder, in a GGUF file, or on the hub, from which its configuration is downloaded.

    Raises ModelError.
    """
    if (named := gguf_name(model)) and named.here:
        with tempfile.TemporaryDirectory() as scratch:
            write_without_weights(named.here, Path(scratch))
            return _size(Path(scratch), model)
    folder = None if named else find_model_folder(model)
    return _on_hub(model) if folder is None else _size(folder, model)


def _size(folder: Path, model: str, count: int = 0) -> ModelSize:
    from transformers import AutoConfig

    try:
        settings = AutoConfig.from_pretrained(folder).get_text_config()
        return ModelSize(_positive(count or parameters(folder)), token_bytes(settings, 1))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the size of the model {model!r} cannot be read from {folder}: {first_line(error)}"
        ) from error


def _positive(count: int) -> int:
    if not count:
        raise ValueError("it has no weights in safetensors")
    return count


def _on_hub(model: str) -> ModelSize:
    import huggingface_hub

    try:
        config = Path(huggingface_hub.hf_hub_download(model, "config.json"))
        if any(config.parent.glob("*.safetensors")):
            return _size(config.parent, model)
        stated = huggingface_hub.HfApi().model_info(model, timeout=_SECONDS).safetensors
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the size of the model {model!r} is not known here, and the hub cannot be asked ({first_line(error)})."
            " --gpu needs it: download the model, or name a folder that holds it."
        ) from error
    return _size(config.parent, model, stated.total if stated else 0)
