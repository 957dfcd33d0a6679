"""Files and folders: sizes, a check for free space, and atomic writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mipo_bench.harness.errors import StorageError

_FREE = 200 * 1024 * 1024
"""Bytes that must be free on the disk of the store and of the report."""


def expanded(path: str | Path) -> Path:
    """The path with the home folder in place of a leading `~` or `~user`; unchanged for an unknown user."""
    return Path(os.path.expanduser(path))


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def check_writable(folder: Path, files: Sequence[str] = ()) -> None:
    """Check that `folder` can be created and written to. Raises StorageError if not, or if its disk is nearly full.

    `files` are the names of the files that will be written; a folder of such a name is refused too.
    The folder itself is not created: a run that is refused leaves nothing behind.
    """
    where = folder.absolute()
    if taken := [name for name in files if (where / name).is_dir()]:
        raise StorageError(f"cannot write {folder / taken[0]}: it is a folder. Rename it, or choose another folder.")
    while not os.path.lexists(where):
        where = where.parent
    try:
        if not where.is_dir():
            raise NotADirectoryError(f"{where} is not a folder")
        with tempfile.TemporaryFile(dir=where):
            free = shutil.disk_usage(where).free
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error}. Choose another with --out or --set store=DIR (Python: out=, store=)."
        ) from error
    if free < _FREE:
        raise StorageError(f"{folder}: only {free >> 20} MB are free on its disk, {_FREE >> 20} MB are needed.")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically: it is complete or absent. Raises StorageError."""
    with whole_or_not_at_all(path, "Choose another folder.", parents=True) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def whole_or_not_at_all(path: Path, advice: str = "", *, parents: bool = False) -> Iterator[Path]:
    """Yield a scratch file beside `path`. At the end of the block it replaces `path`; on an error it is deleted.

    With `parents`, a missing folder is created. Raises StorageError, ending with `advice`, if something cannot be
    written.
    """
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(descriptor)
        scratch = Path(name)
        try:
            yield scratch
            with scratch.open("rb") as written:
                os.fsync(written.fileno())
            scratch.chmod(0o644)
            scratch.replace(path)
        except BaseException:
            scratch.unlink()
            raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}. {advice}".rstrip()) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a scratch folder beside `path`, which must not exist. At the end of the block it becomes `path`.

    An error leaves nothing behind. Raises StorageError.
    """
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path} exists, and nothing is overwritten. Name a folder that does not exist yet.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            yield made
            made.rename(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}. Choose another place.") from error
