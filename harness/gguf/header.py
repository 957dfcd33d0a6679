"""The header of a GGUF file: everything but the weights. A file that cannot be dequantised is refused with the reason.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.errors import ModelError, first_line

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType
    from gguf.gguf_reader import ReaderTensor

_MAGIC = b"GGUF"
_FLOAT32_BYTES = 4
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_ROPE_FACTORS = "rope_f"
"""Beginning of the names of tensors that hold factors of the rotary embedding, not weights."""


@dataclass(frozen=True, slots=True)
class Header:
    """Facts about a GGUF file. `types` are the number formats of its tensors, that of most weights first."""

    architecture: str
    types: tuple[str, ...]
    parameters: int
    splitting: str
    """The rule by which a byte-level tokenizer splits text; empty for other tokenizers."""
    rope_scaling: str
    """How the file scales its rotary embedding; empty where it does not."""
    rope_divisors: tuple[float, ...]
    """The divisors of the rotary embedding's frequencies, where the file holds them as Llama 3 does."""

    @property
    def dequantised_bytes(self) -> int:
        """Bytes of the weights in float32."""
        return self.parameters * _FLOAT32_BYTES


def serve_instead(file: Path) -> str:
    """The end of a message: how to run a file that cannot be loaded here."""
    return (
        f"Serve it (`llama-server -m {file} --port 8080`), and run with --backend openai --model NAME --set"
        " backend_args.base_url=http://localhost:8080/v1; or give the folder of the original model in safetensors."
    )


def check_magic(file: Path) -> None:
    """Raise ModelError unless the file begins like a GGUF file and is no part of a split model. Reads four bytes."""
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}.") from error
    if magic != _MAGIC:
        found = f"it begins with {magic!r}" if magic else "it is empty"
        raise ModelError(
            f"{file} is no GGUF file: {found}, not with {_MAGIC!r}. Download it again; of a repository with Git LFS,"
            " fetch the file itself and not its pointer."
        )
    if part := _PART.search(file.name):
        raise ModelError(_split(file, int(part[1]), int(part[2])))


def read_header(file: Path) -> Header:
    """Read the header. Raises ModelError for a file that is damaged, no chat model, or cannot be dequantised."""
    metadata, tensors = _read(file)
    architecture, kind = metadata["general.architecture"], metadata.get("general.type", "model")
    if kind != "model":
        raise ModelError(f"{file} holds no language model, but {kind!r}. Give the file of the model.")
    if (count := metadata.get("split.count")) and count != 1:
        raise ModelError(_split(file, metadata.get("split.no", 0) + 1, count))
    weights = Counter[str]()
    for tensor in tensors:
        _check_type(file, tensor)
        if not tensor.name.startswith(_ROPE_FACTORS):
            weights[tensor.tensor_type.name] += int(tensor.n_elements)
    if not isinstance(metadata.get("tokenizer.chat_template"), str):
        raise ModelError(
            f"{file} has no chat template: it is not an instruct model, or it was converted without one. Take the"
            " -Instruct version, or add the template: `gguf-new-metadata --chat-template-file TEMPLATE.jinja"
            f" {file} NEW.gguf`."
        )
    byte_level = metadata.get("tokenizer.ggml.model") == "gpt2"
    return Header(
        architecture,
        tuple(name for name, _ in weights.most_common()),
        weights.total(),
        str(metadata.get("tokenizer.ggml.pre", "default")) if byte_level else "",
        ", ".join(_rope_scaling(architecture, metadata, tensors)),
        next((tuple(map(float, tensor.data)) for tensor in tensors if tensor.name == "rope_freqs.weight"), ()),
    )


def _read(file: Path) -> tuple[dict[str, Any], list[ReaderTensor]]:
    """Metadata without the content of arrays of texts, and the table of tensors."""
    check_magic(file)
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ModelError(
            f"{file} is a GGUF file, and the package that reads it is not installed: pip install 'mipo-bench[gguf]'."
        ) from error
    from transformers.integrations.gguf.reader import read_gguf_metadata

    try:
        metadata, _ = read_gguf_metadata(str(file))  # first: a wrong length of an array lets GGUFReader count to it
        return metadata, GGUFReader(file).tensors
    except Exception as error:
        raise ModelError(
            f"{file} is a truncated or damaged GGUF file, or of a newer version ({type(error).__name__}:"
            f" {first_line(error)}). Compare its size with that of its source, and download it again. llama.cpp may"
            f" read a file that is complete. {serve_instead(file)}"
        ) from error


def _check_type(file: Path, tensor: ReaderTensor) -> None:
    """Raise ModelError for a number format that cannot be dequantised."""
    if tensor.tensor_type not in _known_types():
        names = ", ".join(sorted(known.name for known in _known_types()))
        raise ModelError(
            f"{file}: the tensor {tensor.name} is quantised as {tensor.tensor_type.name}, which cannot be dequantised"
            f" here. Known: {names}. {serve_instead(file)}"
        )


@cache
def _known_types() -> set[GGMLQuantizationType]:
    """The number formats that the package `gguf` dequantises, which is tried on one block of zeros each."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, dequantize

    known = set()
    for number_format, (_, size) in GGML_QUANT_SIZES.items():
        try:
            dequantize(np.zeros((1, size), np.uint8), number_format)
        except NotImplementedError:
            continue
        known.add(number_format)
    return known


def _rope_scaling(architecture: str, metadata: Mapping[str, Any], tensors: Iterable[ReaderTensor]) -> Iterator[str]:
    """The scaling of the rotary embedding, as metadata and tensors name it."""
    if (kind := metadata.get(f"{architecture}.rope.scaling.type", "none")) != "none":
        yield str(kind)
    yield from (tensor.name for tensor in tensors if tensor.name.startswith(_ROPE_FACTORS))


def _split(file: Path, number: object, count: object) -> str:
    return (
        f"{file} is part {number} of {count} of one model. Join the parts: `llama-gguf-split --merge FIRST-PART"
        " WHOLE.gguf`, and give --model WHOLE.gguf."
    )
