"""Where a result comes from: commit, versions, hardware, digests."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("mipo-bench", "torch", "transformers", "trl", "peft", "tokenizers", "datasets", "numpy", "scipy")
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.py", "tokenizer.model", "merges.txt", "vocab.txt")
"""What decides a model's answers; `lineage.json` and `build.json` only tell where it came from."""
_LARGE = 64 * 1024 * 1024
"""Bytes from which on a file is not read twice by one process."""
_NOT_WEIGHTS = {"lineage.json", "build.json"}


@dataclass(frozen=True, slots=True)
class GitState:
    """The checkout that the run was started in. `diff_hash` covers uncommitted changes, None where there are none."""

    commit: str
    dirty: bool
    diff_hash: str | None


def git_state(folder: Path, written: Sequence[Path] = ()) -> GitState | None:
    """State of the git checkout around `folder`; None outside of one, before its first commit, or without git.

    What runs write (`written`) does not make a checkout dirty: it cannot change their results.
    """
    commit, root = _git(folder, "rev-parse", "HEAD"), _git(folder, "rev-parse", "--show-toplevel")
    if not commit or not root:
        return None
    inside = [path.absolute() for path in written if path.absolute().is_relative_to(root)]
    paths = ["--", ":(top)", *(f":(top,exclude,literal){path.relative_to(root)}" for path in inside)]
    changes = _git(folder, "status", "--porcelain", *paths) or ""
    difference = _git(folder, "diff", "HEAD", *paths) or ""
    dirty = bool(changes)
    return GitState(commit, dirty, digest([changes, difference]) if dirty else None)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that can move a score."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def hardware(device: str) -> dict[str, str | int]:
    """What the run computed on. The host's name stays out of the report."""
    return {
        "device": device,
        **_gpu(device),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": usable_cores(),
    }


def _gpu(device: str) -> dict[str, str]:
    if not device.startswith("cuda"):
        return {}
    import torch

    return {"gpu": torch.cuda.get_device_name(device)}


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest(parts: Iterable[object]) -> str:
    """SHA-256 of the parts' text, hexadecimal; ("ab", "c") and ("a", "bc") differ."""
    h = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        h.update(len(text).to_bytes(8, "big") + text)
    return h.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal; a large file that has not changed since is read once."""
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
    """Digest of the weights, configuration, tokenizer and chat template in a model folder, whatever its path."""
    files = sorted({f for pattern in MODEL_FILES for f in folder.glob(pattern) if f.name not in _NOT_WEIGHTS})
    return digest(part for f in files for part in (f.name, file_digest(f)))
