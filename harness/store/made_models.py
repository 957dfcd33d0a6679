"""Models of the run store that are made from a file of the user: folders under `models/`, each made once under a key.

One process at a time makes a model: in a scratch folder, which then moves into place, so that a kill leaves no model. A
process that uses a model holds a shared lock on its folder until it ends, and garbage collection leaves such a folder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.file_locks import exclusive, hold_until_exit, is_free
from mipo_bench.harness.core.files import folder_size
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.errors import StorageError
from mipo_bench.harness.store.run_store import make_folder

MODELS = "models"
RECORD = "gguf.json"
"""The file in a model's folder that says how it was made; its `digest` is that of the other files."""
_LOCK = ".making"
_SCRATCH = "new-"


@dataclass(frozen=True, slots=True)
class MadeModel:
    """A model in the store: its folder with its bytes, and the digest of the files that decide its answers."""

    folder: Path
    digest: str
    size: int


def find_model(store: Path, key: str) -> Path | None:
    """The folder of a model, None if there is none, or one whose files do not match their digest."""
    folder = store / MODELS / key
    return folder if _is_sound(folder) else None


def made_model(
    store: Path, key: str, make: Callable[[Path], Mapping[str, Any]], say: Callable[[str], None] = lambda _: None
) -> Path:
    """The folder of a model, made now if it is missing or damaged; it stays until this process ends.

    `make` fills an empty folder and returns its record, a JSON object. `say` shows a line where another process is
    making a model. Raises StorageError.
    """
    models = store / MODELS
    folder = models / key
    try:
        make_folder(store)
        models.mkdir(exist_ok=True)
        with exclusive(models / _LOCK, lambda: say(f"waiting for another process, which makes a model in {models}")):
            if not _is_sound(folder):
                _make(folder, make)
            hold_until_exit(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write the model {folder}: {error}. Make room on its disk, or choose another with --set store=DIR."
        ) from error
    return folder


def made_models(store: Path) -> list[MadeModel]:
    """All models of a store; the digest of one without a readable record is empty."""
    folders = sorted(f for f in (store / MODELS).glob("*") if f.is_dir() and not f.name.startswith(_SCRATCH))
    return [MadeModel(folder, _recorded(folder), folder_size(folder)) for folder in folders]


def drop_unused(store: Path, digests: set[str], *, dry_run: bool) -> list[MadeModel]:
    """Remove the models with none of these digests that no running process uses; returns the removed ones.

    With `dry_run` it only lists them.
    """
    if not (store / MODELS).is_dir():
        return []
    with exclusive(store / MODELS / _LOCK):
        unused = [m for m in made_models(store) if m.digest not in digests and is_free(m.folder)]
        for folder in () if dry_run else [*(m.folder for m in unused), *(store / MODELS).glob(f"{_SCRATCH}*")]:
            shutil.rmtree(folder)
    return unused


def _make(folder: Path, make: Callable[[Path], Mapping[str, Any]]) -> None:
    for left in folder.parent.glob(f"{_SCRATCH}*"):  # of a process that was killed: a living one holds the lock
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
    try:
        record = make(scratch)
        text = json.dumps({**record, "digest": model_digest(scratch)})
        (scratch / RECORD).write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_sound(folder: Path) -> bool:
    return folder.is_dir() and _recorded(folder) == model_digest(folder)


def _recorded(folder: Path) -> str:
    try:
        return str(json.loads((folder / RECORD).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
