"""Makes a model folder of a GGUF file, once: transformers dequantises the weights to float32, the run store keeps them.

From then on it is a model like any other. The folder's key is the digest of the file, so that the same file at another
path is the same model.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.files import check_writable
from mipo_bench.harness.core.hashing import digest, file_digest
from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.harness.errors import ModelError, StorageError, UserError, first_line, refuse_missing_weights
from mipo_bench.harness.gguf.header import Header, check_magic, read_header, serve_instead
from mipo_bench.harness.gguf.rope import llama3_scaling
from mipo_bench.harness.store.made_models import RECORD, find_model, made_model

CONVERSION_VERSION = 1
"""Part of the key of a dequantised model; it goes up when the same file is dequantised to another model."""
_LINK = "model.gguf"
_GPT2_SPLITTING = ("default", "gpt-2")
"""Names of GPT-2's rule in a GGUF file."""


def dequantised(file: Path, store: Path) -> Path:
    """The model folder of a GGUF file in the run store, made now if it is missing.

    Raises ModelError for a file that cannot be dequantised, StorageError where the folder cannot be written.
    """
    check_magic(file)
    check_writable(store)
    key = _key(file)
    header = None if find_model(store, key) else read_header(file)  # a file that is refused leaves no store behind
    return made_model(store, key, lambda folder: _make(file, header or read_header(file), folder), _say)


def dequantised_before(file: Path, store: Path) -> Path | None:
    """The model folder of a GGUF file if the run store has it. Writes nothing. Raises ModelError."""
    check_magic(file)
    return find_model(store, _key(file))


def write_without_weights(file: Path, folder: Path) -> Header:
    """Write everything but the weights: configuration, tokenizer with chat template, and record. Raises ModelError."""
    header = read_header(file)
    _write_small_files(file, folder)
    (folder / RECORD).write_text(json.dumps(_record(header)), encoding="utf-8")
    return header


def notes_on(folder: Path) -> list[str]:
    """The notes for the report on a folder that was made of a GGUF file; none for any other folder."""
    record = folder / RECORD
    return [str(note) for note in json.loads(record.read_text(encoding="utf-8"))["notes"]] if record.exists() else []


def _key(file: Path) -> str:
    try:
        libraries = [version(name) for name in ("transformers", "gguf")]
    except PackageNotFoundError:
        libraries = []
        read_header(file)  # says what to install
    return digest(["gguf", CONVERSION_VERSION, file_digest(file), *libraries])


def _make(file: Path, header: Header, folder: Path) -> dict[str, Any]:
    """Fill a folder; returns its record."""
    size, free = header.dequantised_bytes, shutil.disk_usage(folder).free
    if size > free:
        raise StorageError(
            f"{file} takes {size / 1e6:,.0f} MB when dequantised, and {folder.parent} has {free / 1e6:,.0f} MB free."
            " Make room, or choose another disk with --set store=DIR."
        )
    _say(f"{file.name}: dequantising it once ({size / 1e6:,.0f} MB in float32), to {folder.parent}")
    _write_small_files(file, folder)
    model = _load(file)
    if header.rope_divisors and (scaling := llama3_scaling(model.config, header.rope_divisors)):
        model.config.rope_parameters = scaling
        header = replace(header, rope_scaling="")
    _save(model, folder)
    return _record(header)


def _save(part: Any, folder: Path) -> None:
    """Save a model, a tokenizer or a configuration. Raises StorageError."""
    try:
        part.save_pretrained(folder)
    except Exception as error:
        raise StorageError(
            f"cannot write the dequantised model to {folder.parent}: {first_line(error)}. Make room on its disk, or"
            " choose another with --set store=DIR."
        ) from error


def _record(header: Header) -> dict[str, Any]:
    return {"parameters": header.parameters, "notes": list(_notes(header))}


def _write_small_files(file: Path, folder: Path) -> None:
    """Write the configuration and the tokenizer with its chat template. Raises ModelError."""
    from transformers import AutoConfig, AutoTokenizer

    with _alone(file) as source:
        config = AutoConfig.from_pretrained(**source)
        if config.is_encoder_decoder:
            raise ModelError(
                f"{file} is an encoder-decoder ({config.model_type}). Only causal language models can be run: take a"
                " chat model."
            )
        tokenizer = AutoTokenizer.from_pretrained(**source)
    _save(tokenizer, folder)
    _save(config, folder)


def _load(file: Path) -> Any:
    """The model in float32, without the mark of a quantised one, which could be neither saved nor trained."""
    import torch
    from transformers import GgufConfig
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    options: dict[str, Any] = {
        "dtype": torch.float32,
        "quantization_config": GgufConfig(dequantize=True),
        "output_loading_info": True,
    }
    with _alone(file) as source:
        loaded: Any = AutoModelForCausalLM.from_pretrained(**source, **options)
    model, found = loaded
    refuse_missing_weights(file, found["missing_keys"], serve_instead(file))
    return model


@contextmanager
def _alone(file: Path) -> Iterator[dict[str, Any]]:
    """Arguments of `from_pretrained` for a folder with nothing but this file: its neighbours must not be read.

    An error of transformers becomes a ModelError.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / _LINK).symlink_to(file.resolve())
        try:
            yield {"pretrained_model_name_or_path": folder, "gguf_file": _LINK}
        except UserError:
            raise
        except Exception as error:
            raise ModelError(
                f"transformers {version('transformers')} cannot load {file}: {first_line(error)} It loads these"
                f" architectures: {', '.join(_architectures())}. {serve_instead(file)}"
            ) from error


def _architectures() -> list[str]:
    """The architectures of GGUF files that transformers loads, by its own names."""
    from transformers.integrations.gguf.gguf_conversion_mapping import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    return sorted({*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_ARCHS} - {"general", "tokenizer"})


def _notes(header: Header) -> Iterator[str]:
    """The notes for the report on what a dequantised model may lack."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    yield (
        f"the weights were dequantised from a GGUF file ({', '.join(header.types)}): they are those of the quantised"
        " model, not those of the original"
    )
    if header.splitting and header.splitting not in {*_GPT2_SPLITTING, *GGUF_PRE_TOKENIZER_SPLITS}:
        yield (
            f"transformers does not know the rule by which the model's tokenizer splits text ({header.splitting}), and"
            " takes that of GPT-2: a few texts may get other tokens than in llama.cpp"
        )
    if header.rope_scaling:
        yield (
            f"transformers does not read the scaling of the rotary embedding in the GGUF file ({header.rope_scaling}):"
            " responses differ from those of llama.cpp, above all after long prompts"
        )


def _say(line: str) -> None:
    sys.stderr.write(without_control_characters(f"mipo-bench: {line}") + "\n")
