"""Find a model's folder and check that it can be prompted, before anything heavy is loaded."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from mipo_bench.harness.errors import ModelError

EMBEDDED = "embedded"


def embedded_folder() -> Path:
    """The folder of the model that ships with the package."""
    return Path(str(files("mipo_bench.harness.embedded") / "model"))


def resolve(model: str) -> Path:
    """The local folder of `embedded`, of a path, or of a Hugging Face id (downloaded if need be).

    Raises ModelError where there is none, or where weights, tokenizer or chat template are missing.
    """
    if model == EMBEDDED:
        folder = embedded_folder()
    elif Path(model).is_dir():
        folder = Path(model)
    elif model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(
            f"there is no model folder {model!r}. Give the folder of a Hugging Face model, a model id such as"
            f" Qwen/Qwen2.5-1.5B-Instruct, or {EMBEDDED!r}."
        )
    else:
        folder = _download(model)
    _check(folder, model)
    return folder


def _download(model: str) -> Path:
    import huggingface_hub

    patterns = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "tokenizer.model"]
    try:
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=patterns))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model {model!r} is neither a folder here nor in the Hugging Face cache, and downloading it failed"
            f" ({type(error).__name__}: {reason}). Connect to the network and log in if the model is gated, or copy"
            " it here and pass the folder."
        ) from error


def _check(folder: Path, model: str) -> None:
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
            f"model {model!r} has no chat template in {folder}: it is no instruct model, or its tokenizer was saved"
            " without one. Take the -Instruct version, or set tokenizer.chat_template and save it."
        )


def _json(file: Path, model: str) -> dict[str, object]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"model {model!r}: {file} is missing. Is this the folder of a Hugging Face model?") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"model {model!r}: cannot read {file}: {error}.") from error
    if not isinstance(value, dict):
        raise ModelError(f"model {model!r}: {file} does not hold an object.")
    return value
