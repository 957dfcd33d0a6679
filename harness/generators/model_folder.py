"""Find a model's folder and check its files: configuration, weights, tokenizer and chat template.

The check reads small files only, so that a run with an unusable model fails before torch is imported.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import MODEL_FILES
from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.gguf.dequantise import dequantised
from mipo_bench.harness.gguf.header import check_magic
from mipo_bench.harness.gguf.names import gguf_name
from mipo_bench.harness.store.made_models import RECORD

EMBEDDED_MODEL = "embedded"
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


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
            f"there is no model folder {model!r}. Give the folder of a Hugging Face model, a GGUF file, a model id such"
            f" as Qwen/Qwen2.5-1.5B-Instruct, or {EMBEDDED_MODEL!r}."
        )
    return None


def check_model(model: str) -> None:
    """Raise ModelError for a name that can be no model. Loads, dequantises and downloads nothing."""
    named = gguf_name(model)
    if named is None:
        find_model_folder(model)
    elif named.here:
        check_magic(named.here)


def resolve_model(model: str, store: Path) -> Path:
    """The local folder of a model. A Hugging Face model that is not in the cache is downloaded.

    The model of a GGUF file is dequantised into the folder of the run store, unless it is there. Raises ModelError if
    there is no such model, or if weights, tokenizer or chat template are missing.
    """
    named = gguf_name(model)
    folder = dequantised(named.path, store) if named else model_files(model)
    _check(folder, model)
    return folder


def model_files(model: str) -> Path:
    """The local folder of any model of transformers, unchecked; downloaded if necessary. Raises ModelError."""
    return find_model_folder(model) or _download(model)


def parameters(folder: Path) -> int:
    """The number of parameters, from the headers of the safetensors files. Raises ModelError for a damaged file.

    A GGUF file that is not dequantised yet has a folder without weights (see `doctor`), whose record says the number.
    """
    from safetensors import SafetensorError, safe_open

    if not any(folder.glob("*.safetensors")):
        return int(_readable(folder / RECORD).get("parameters", 0))
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


def vocabulary_size(folder: Path) -> int:
    """The number of tokens that have an embedding; where config.json does not say it, as many as there can be."""
    return next((size for c in _configs(folder) if isinstance(size := c.get("vocab_size"), int)), sys.maxsize)


def configured_ends(folder: Path) -> set[int]:
    """The end tokens that the model's files name: generation_config.json where it can be read, else config.json."""
    generation = _readable(folder / "generation_config.json")
    named = [c.get("eos_token_id") for c in ([generation] if generation else _configs(folder))]
    ids: Any = next((value for value in named if value is not None), [])
    return {token for token in (ids if isinstance(ids, list) else [ids]) if isinstance(token, int)}


def has_dated_template(folder: Path) -> bool:
    """Whether a chat template of the model prints today's date."""
    files = [folder / "tokenizer_config.json", *folder.glob("chat_template.*"), *folder.glob("*/*.jinja")]
    return any(
        "strftime_now(" in file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()
    )


def _configs(folder: Path) -> list[Mapping[str, Any]]:
    """The settings of config.json, then those of its language model where it has other parts too."""
    config = _readable(folder / "config.json")
    text = config.get("text_config")
    return [config, *([text] if isinstance(text, dict) else [])]


def _readable(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none, or if it cannot be read (transformers then ignores it too)."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _check(folder: Path, model: str) -> None:
    """Raise ModelError unless the folder has an instruct model in safetensors format with tokenizer and template.

    The message names everything that is missing, a line each.
    """
    if reason := _other_format(folder, model):
        raise ModelError(reason)
    config = _json(folder / "config.json", model)
    if problems := [f"model {model!r}{problem}" for problem in _problems(folder, config, model)]:
        raise ModelError("\n".join(problems))


def _other_format(folder: Path, model: str) -> str | None:
    """The message for a folder that is no model of transformers, but something known: an adapter, GGUF files."""
    adapter = folder / "adapter_config.json"
    if adapter.exists() and not (folder / "config.json").exists():
        base = _readable(adapter).get("base_model_name_or_path") or "its base model"
        return (
            f"model {model!r} is an adapter of PEFT for {base}, without the base's weights. Merge the two:"
            f" `AutoPeftModelForCausalLM.from_pretrained({model!r}).merge_and_unload().save_pretrained(FOLDER)`, save"
            " the tokenizer beside it, and give --model FOLDER."
        )
    if "gguf" in model.lower() and not any(folder.glob("*.safetensors")) and not Path(model).is_dir():
        return (
            f"the repository {model} has no weights in safetensors. Name one of its GGUF files, which"
            f" https://huggingface.co/{model}/tree/main lists: --model {model}:FILE.gguf."
        )
    return None


def _problems(folder: Path, config: Mapping[str, Any], model: str) -> Iterator[str]:
    """What is missing in the folder of a model, each as the end of a sentence."""
    if not config.get("model_type"):
        yield f": {folder / 'config.json'} names no model_type."
    elif config.get("is_encoder_decoder") is True:
        yield (
            f" is an encoder-decoder ({config['model_type']}). Only causal language models can be run: take a chat"
            " model such as Qwen/Qwen2.5-1.5B-Instruct."
        )
    if not list(folder.glob("*.safetensors")):
        yield (
            f" has no *.safetensors weights in {folder}. Other formats can run code when loaded; convert"
            " it with save_pretrained first."
        )
    elif lost := _lost_shards(folder):
        more = f" and {len(lost) - 1} more files" if len(lost) > 1 else ""
        yield f" lacks weights: {folder / lost[0]}{more}, named in its index, is missing. Download or copy it again."
    if not (folder / "tokenizer_config.json").exists():
        yield f" has no tokenizer (tokenizer_config.json) in {folder}. Save it beside the model."
        return
    inline = _json(folder / "tokenizer_config.json", model).get("chat_template")
    if not inline and not any((folder / name).exists() for name in _TEMPLATES):
        yield (
            f" has no chat template in {folder}: it is not an instruct model, or its tokenizer was saved"
            " without one. Take the -Instruct version, or set tokenizer.chat_template and save it."
        )


def _lost_shards(folder: Path) -> list[str]:
    """The weight files that the index names and that are not there, unless one file holds all weights."""
    if (folder / "model.safetensors").exists():
        return []
    index = _readable(folder / "model.safetensors.index.json").get("weight_map")
    named = sorted({str(file) for file in index.values()}) if isinstance(index, dict) else []
    return [name for name in named if not (folder / name).exists()]


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
