"""Find a model's folder and check its files: configuration, weights, tokenizer and chat template.

The check reads small files only, so that a run with an unusable model fails before torch is imported.
"""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path

from mipo_bench.harness.core.hashing import MODEL_FILES
from mipo_bench.harness.errors import ModelError, first_line

EMBEDDED_MODEL = "embedded"


def embedded_folder() -> Path:
    """The folder of the embedded model, which ships with the package."""
    return Path(str(files("mipo_bench.harness.embedded") / "model"))


def find_model_folder(model: str) -> Path | None:
    """The local folder of a model; None for a Hugging Face id. Raises ModelError for a name that is neither."""
    if model == EMBEDDED_MODEL:
        return embedded_folder()
    if Path(model).is_dir():
        return Path(model)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(
            f"there is no model folder {model!r}. Give the folder of a Hugging Face model, a model id such as"
            f" Qwen/Qwen2.5-1.5B-Instruct, or {EMBEDDED_MODEL!r}."
        )
    return None


def resolve_model(model: str) -> Path:
    """The local folder of a model. A Hugging Face model that is not in the cache is downloaded.

    Raises ModelError if there is no such model, or if weights, tokenizer or chat template are missing.
    """
    folder = find_model_folder(model) or _download(model)
    _check(folder, model)
    return folder


def parameters(folder: Path) -> int:
    """The number of parameters, from the headers of the safetensors files. Raises ModelError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    count = 0
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="numpy") as weights:
                count += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise ModelError(f"cannot load the model {folder}: {file.name} is damaged: {error}") from error
    return count


def _download(model: str) -> Path:
    """The folder of a Hugging Face model in the cache, downloaded if necessary. Raises ModelError."""
    import huggingface_hub

    patterns = [*MODEL_FILES, "*.safetensors.index.json"]
    try:
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=patterns))
    except Exception as error:
        raise ModelError(
            f"model {model!r} is neither a folder here nor in the Hugging Face cache, and downloading it failed"
            f" ({type(error).__name__}: {first_line(error)}). Connect to the network and log in if the model is"
            " gated, or copy it here and pass the folder."
        ) from error


def _check(folder: Path, model: str) -> None:
    """Raise ModelError unless the folder has an instruct model in safetensors format with tokenizer and template."""
    config = _json(folder / "config.json", model)
    if not config.get("model_type"):
        raise ModelError(f"model {model!r}: {folder / 'config.json'} names no model_type.")
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"model {model!r} has no *.safetensors weights in {folder}. Other formats can run code when loaded; convert"
            " it with save_pretrained first."
        )
    if not (folder / "tokenizer_config.json").exists():
        raise ModelError(
            f"model {model!r} has no tokenizer (tokenizer_config.json) in {folder}. Save it beside the model."
        )
    inline = _json(folder / "tokenizer_config.json", model).get("chat_template")
    if not inline and not (folder / "chat_template.jinja").exists() and not (folder / "chat_template.json").exists():
        raise ModelError(
            f"model {model!r} has no chat template in {folder}: it is not an instruct model, or its tokenizer was saved"
            " without one. Take the -Instruct version, or set tokenizer.chat_template and save it."
        )


def _json(file: Path, model: str) -> dict[str, object]:
    """The JSON object in a file of the model. Raises ModelError."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"model {model!r}: {file} is missing. Is this the folder of a Hugging Face model?") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model {model!r}: cannot read {file}: {error}.") from error
    if not isinstance(value, dict):
        raise ModelError(f"model {model!r}: {file} does not contain a JSON object.")
    return value
