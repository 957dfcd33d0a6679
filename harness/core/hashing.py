"""Content digests of values, files, folders and models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_WEIGHTS = "*.safetensors"
MODEL_FILES = (
    *(_WEIGHTS, "*.json", "*.jinja", "additional_chat_templates/*.jinja", "*.py"),
    *("tokenizer.model", "merges.txt", "vocab.txt"),
)
"""Files of a model folder that decide its answers; of the JSON files, those in `_ORIGIN_FILES` do not."""
_LARGE = 64 * 1024 * 1024
"""Size in bytes from which a process remembers the digest of a file."""
_ORIGIN_FILES = {"lineage.json", "build.json", "gguf.json"}
"""Files that record how a model was made."""


def digest(parts: Iterable[object]) -> str:
    """SHA-256 of the parts' text, hexadecimal; ("ab", "c") and ("a", "bc") differ."""
    h = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        h.update(len(text).to_bytes(8, "big") + text)
    return h.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal; a large file is read again only after a change."""
    stat = path.stat()
    if stat.st_size < _LARGE:
        return _read_digest(path)
    return _large_digest(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _large_digest(path: Path, *_state: int) -> str:
    return _read_digest(path)


def _read_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Digest of every file in a folder."""
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return digest(part for f in files for part in (f.relative_to(folder), file_digest(f)))


def model_digest(folder: Path) -> str:
    """Digest of weights, configuration, tokenizer and chat template in a model folder; its path does not matter."""
    return _digest_of(folder, MODEL_FILES)


def tokenizer_digest(folder: Path) -> str:
    """The same without the weights: configuration, tokenizer and chat template, which decide its prompts."""
    return _digest_of(folder, [pattern for pattern in MODEL_FILES if pattern != _WEIGHTS])


def _digest_of(folder: Path, patterns: Iterable[str]) -> str:
    files = sorted({f for pattern in patterns for f in folder.glob(pattern) if f.name not in _ORIGIN_FILES})
    return digest(part for f in files for part in (f.name, file_digest(f)))
