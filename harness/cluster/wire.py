"""The records between the driver of a run and its hosts. Errors cross as records, never as exceptions."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mipo_bench.harness import errors
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.provenance import package_versions
from mipo_bench.harness.generators.placement import Placement

T = TypeVar("T")
PIECE = 32 * 1024 * 1024
"""Bytes of a file in one message: a checkpoint of any size passes through little memory."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A host as it is after its start. Weights and placement are part of content keys, so they must agree."""

    model_digest: str
    placement: Placement
    hardware: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Failed:
    """An error on a host: the name of its type, and its text."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failed:
        """The record of an error."""
        text = errors.described(error)
        return cls(type(error).__name__, text.removeprefix(f"{type(error).__name__}: "))

    def error(self) -> Exception:
        """The error anew, of the harness's own type where it is one, else of a StageError with the type's name."""
        kind: type[errors.MipoBenchError] = _OWN.get(self.kind) or type(self.kind, (errors.StageError,), {})
        return kind(self.message)


_OWN: Mapping[str, type[errors.MipoBenchError]] = {
    kind.__name__: kind
    for kind in (
        *(errors.UserError, errors.ConfigError, errors.ModelError, errors.DataError, errors.StorageError),
        *(errors.StageError, errors.ContextLostError, errors.PairsError, errors.TrainingError),
    )
}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A host lacks the weights that it was asked for: the driver sends them and asks again."""


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """(position, answer) in any order, and the notes of the model that answered."""

    rows: Sequence[tuple[int, T]]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file of a model's folder. Pieces come in order; the first one of a file has offset 0."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A file of a model's folder that stays where it is, in a folder that all see."""

    path: str
    target: str


Part = Piece | Link


@dataclass(frozen=True, slots=True)
class Trained:
    """The end of a training: digest of the folder whose parts came before, digest of its weights, and its steps."""

    folder_digest: str
    weights: str
    steps: int


def shared(folder: Path, root: Path, name: str) -> Iterator[Link]:
    """Copy a folder to `root`, which all see, under a name that stands for its content, and yield links to its files.

    A copy that is there already is taken. Raises StorageError.
    """
    target = root / name
    try:
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=root, prefix="new-", ignore_cleanup_errors=True) as scratch:
                made = Path(shutil.copytree(folder, Path(scratch) / name))
                _move(made, target)
    except OSError as error:
        raise errors.StorageError(
            f"cannot write a checkpoint to cluster.checkpoints = {root}: {error}. Name a folder that every node can"
            " write to, and the same command goes on."
        ) from error
    for file in sorted(f for f in target.rglob("*") if f.is_file()):
        yield Link(file.relative_to(target).as_posix(), str(file))


def _move(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # else another host was faster, with the same content
            raise


def pieces_of(folder: Path, size: int = PIECE) -> Iterator[Part]:
    """Every file of a folder, in pieces of at most `size` bytes; a link to a file as a link."""
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            yield Link(name, str(file.readlink()))
            continue
        with file.open("rb") as source:
            data, offset = source.read(size), 0
            yield Piece(name, offset, data)
            while data:
                offset += len(data)
                if data := source.read(size):
                    yield Piece(name, offset, data)


def put_piece(folder: Path, piece: Part) -> None:
    """Write a piece to its file, or make a link. Raises StorageError, also where the link leads nowhere here."""
    file = folder / piece.path
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(piece, Link):
            Path(piece.target).stat()
            file.unlink(missing_ok=True)
            file.symlink_to(piece.target)
            return
        with file.open("ab" if piece.offset else "wb") as target:
            target.write(piece.data)
    except OSError as error:
        raise errors.StorageError(
            f"cannot write the checkpoint {folder}: {error}. Make room on its disk, and the same command goes on."
        ) from error


def versions() -> dict[str, str]:
    """The versions that driver and hosts must share, with a digest of this package's code."""
    package = Path(errors.__file__).parent
    sources = sorted(package.rglob("*.py"))
    code = digest(part for f in sources for part in (f.relative_to(package).as_posix(), f.read_bytes()))
    return {**package_versions(), "code of mipo-bench": code[:12]}


def difference(ours: Mapping[str, object], theirs: Mapping[str, object]) -> str:
    """The entries that differ, as a text; empty where none does."""
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} instead of {ours.get(name)}" for name in names)
