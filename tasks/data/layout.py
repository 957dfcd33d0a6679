"""Find the files of a data set in a folder of the user, or in a cache of Hugging Face.

For the configuration `main` and the split `test` of `openai/gsm8k`, with any ending of `formats.READERS`:

    main/test.jsonl  main-test.csv  test.jsonl             written by hand
    main/test-00000-of-00001.parquet                       `hf download --local-dir`
    test/data-00000-of-00001.arrow                         `Dataset.save_to_disk`
    datasets--openai--gsm8k/snapshots/<revision>/...       cache of the hub
    openai___gsm8k/main/0.0.0/<revision>/gsm8k-test.arrow  cache of `datasets`

Each may stand in the folder itself or in a sub-folder named for the task or the data set. A split without its
configuration (`test.jsonl`) in the folder itself is taken only where the data set has one configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.data.formats import READERS

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?$")


@dataclass(frozen=True, slots=True)
class Part:
    """One split of one configuration.

    `names` are further file names, without their ending, that it goes by. `columns` are those that are kept, all if
    there are none.
    """

    config: str
    split: str
    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def kept(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The wanted columns of a row."""
        return {name: values[name] for name in self.columns if name in values} if self.columns else values


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set of the hub. `revision` is a commit; `several`: it has configurations that could be confused."""

    id: str
    revision: str
    licence: str
    several: bool = field(default=False, kw_only=True)

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://huggingface.co/datasets/{self.id}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit rather than a branch."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


def find_files(folder: Path, data: DataSet, part: Part, task: str) -> tuple[Path, ...]:
    """The files of a part in order; none where there are none.

    Raises DataError where shards are missing, or where the same part is there in two kinds of files.
    """
    for place, stems in _places(folder, data, part, task):
        for stem in stems:
            if files := _matching(place, stem):
                return files
    return ()


def expected(data: DataSet, part: Part, task: str) -> str:
    """The names that are looked for in a folder, for messages."""
    stems = (*_stems(part, bare=not data.several), f"{task}/{part.split}")
    return f"{', '.join(stems)} ({', '.join(READERS)})"


def _places(folder: Path, data: DataSet, part: Part, task: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Folders to look into, each with the names that count there."""
    owner, own = data.id.split("/")
    for base in (folder, folder / "hub"):
        if snapshot := _snapshot(base / f"datasets--{data.id.replace('/', '--')}", data):
            yield snapshot, _stems(part, bare=not data.several)
    for base in (folder, folder / "datasets"):
        if cached := _prepared(base / f"{owner}___{own.lower()}", data, part):
            yield cached, (f"{own.lower()}-{part.split}",)
    yield folder / task, _stems(part, bare=True)
    for name in (data.id, own, "."):
        yield folder / name, _stems(part, bare=not data.several)


def _stems(part: Part, *, bare: bool) -> tuple[str, ...]:
    """Names without ending and shard number, the most specific first."""
    named = (f"{part.config}/{part.split}", f"{part.config}-{part.split}") if part.config != "default" else ()
    return (*named, *part.names, *((f"data/{part.split}", part.split) if bare else ()))


def _snapshot(repository: Path, data: DataSet) -> Path | None:
    """The checkout of the pinned revision, or of the branch, in a cache of the hub."""
    commit = data.revision
    if not data.pinned:
        try:
            commit = (repository / "refs" / data.revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
    folder = repository / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def _prepared(cached: Path, data: DataSet, part: Part) -> Path | None:
    """Where `datasets` keeps the pinned revision: <config>/<version>/<revision>; of a branch, the newest."""
    found = [f for f in cached.glob(f"{part.config}/*/*") if f.is_dir() and not f.name.endswith(".incomplete")]
    found = [f for f in found if f.name == data.revision or not data.pinned]
    return max(found, key=lambda f: f.stat().st_mtime, default=None)


def _matching(folder: Path, stem: str) -> tuple[Path, ...]:
    """The file of this name, or all its shards."""
    where, name = (folder / stem).parent, Path(stem).name
    found = [f for f in _entries(where) if f.suffix in READERS and _SHARD.sub("", f.stem) == name]
    found = found or [f for f in _entries(where / name) if f.suffix == ".arrow" and _SHARD.sub("", f.stem) == "data"]
    kinds = {f.suffix for f in found}
    if len(kinds) > 1 or (len(found) > 1 and any(not _SHARD.search(f.stem) for f in found)):
        names = ", ".join(f.name for f in found)
        raise DataError(f"{where} holds {name!r} more than once: {names}. Keep one of them.")
    _check_shards(where, name, found)
    return tuple(found)


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted; nothing where there is no such folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _check_shards(where: Path, name: str, files: list[Path]) -> None:
    """Every shard is there, once."""
    shards = [m for f in files if (m := _SHARD.search(f.stem))]
    if not shards:
        return
    numbers, wanted = [int(m[1]) for m in shards], int(shards[0][2])
    if numbers != list(range(wanted)) or len({m[2] for m in shards}) > 1:
        have = ", ".join(f.name for f in files)
        raise DataError(f"{where}: {name!r} should be {wanted} files, but there are {have}. Fetch the missing ones.")
