"""Find the files of a data set in the user's folder or in a Hugging Face cache.

These names are found for the configuration `main` and the split `test` of `openai/gsm8k`. Any ending in
`formats.READERS` is accepted, in capital letters and with `.gz` too.

    main/test.jsonl  main-test.csv  test.jsonl             files written by hand
    main/test-00000-of-00001.parquet                       `hf download --local-dir`
    test/data-00000-of-00001.arrow                         `Dataset.save_to_disk`
    datasets--openai--gsm8k/snapshots/<revision>/...       cache of the hub
    openai___gsm8k/main/0.0.0/<revision>/gsm8k-test.arrow  cache of `datasets`

The files may be in the folder itself, or in a sub-folder named after the task or the data set. If a data set has
several configurations, a name without the configuration (`test.jsonl`) is accepted only in a folder that is named after
the task. Files that the authors published under names of their own are found last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.data.formats import READERS, Columns, ending, stem

_SHOWN = 8
"""The largest number of files that a message lists."""
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?$")


@dataclass(frozen=True, slots=True)
class Part:
    """One split of one configuration of a data set.

    `names` are additional accepted file names, without their ending. `published` are patterns of the files that the
    authors of the data set published. `columns` are the columns to keep; an empty tuple keeps all. `headerless` are
    those of a published CSV file without a header. `rows_in` is the field that holds the rows, if the authors publish
    one object around them.
    """

    config: str
    split: str
    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    headerless: tuple[str, ...] = ()
    rows_in: str = ""

    @property
    def wanted(self) -> Columns:
        """The columns to read."""
        return Columns(self.columns, self.headerless, self.rows_in)


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set of the hub. `revision` is a commit or a branch; `several_configs` tells of several configurations.

    `git` is the address of the authors' repository for a data set that is not on the hub, `page` that of the page to
    download it from.
    """

    id: str
    revision: str
    licence: str
    several_configs: bool = field(default=False, kw_only=True)
    git: str | None = field(default=None, kw_only=True)
    page: str | None = field(default=None, kw_only=True)

    @property
    def url(self) -> str:
        """The address of its page on the hub, or of the authors' repository or page."""
        return self.git or self.page or f"https://huggingface.co/datasets/{self.id}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit; a branch can move."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


def find_files(folder: Path, data: DataSet, part: Part, task: str) -> tuple[Path, ...]:
    """The files of a part, in the order of their shards; empty if there are none.

    Raises DataError if shards are missing, or if several files compete for the same part.
    """
    for place, names in _places(folder, data, part, task):
        for name in names:
            if files := _matching(place, name):
                return files
    return next((files for pattern in part.published if (files := _published(folder, pattern))), ())


def expected(data: DataSet, part: Part, task: str) -> str:
    """The file names that are searched for, for messages."""
    names = (*_stems(part, bare=not data.several_configs), f"{task}/{part.split}")
    return ", ".join([f"{', '.join(names)} ({', '.join(READERS)})", *part.published])


def found_in(folder: Path) -> str:
    """The data files in a folder and its sub-folders, for messages."""
    files = (f for pattern in ("*", "*/*") for f in sorted(folder.glob(pattern)) if _is_data(f))
    names = [str(f.relative_to(folder)) for f in islice(files, _SHOWN + 1)]
    return ", ".join([*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])]) or "no data files"


def _is_data(file: Path) -> bool:
    """Whether this is a file with data; systems hide files of their own beside it under names with a full stop."""
    return ending(file) in READERS and not file.name.startswith(".") and file.is_file()


def _published(folder: Path, pattern: str) -> tuple[Path, ...]:
    """The files of a pattern, in order."""
    return tuple(sorted(file for file in folder.glob(pattern) if _is_data(file)))


def _places(folder: Path, data: DataSet, part: Part, task: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The folders to search, in order, each with the file names that are accepted there."""
    owner, own = data.id.split("/")
    for base in (folder, folder / "hub"):
        if snapshot := _snapshot(base / f"datasets--{data.id.replace('/', '--')}", data):
            yield snapshot, _stems(part, bare=not data.several_configs)
    for base in (folder, folder / "datasets"):
        if cached := _prepared(base / f"{owner}___{own.lower()}", data, part):
            yield cached, (f"{own.lower()}-{part.split}",)
    yield folder / task, _stems(part, bare=True)
    if folder.resolve().name == task:
        yield folder, _stems(part, bare=True)
    for name in (data.id, own, "."):
        yield folder / name, _stems(part, bare=not data.several_configs)


def _stems(part: Part, *, bare: bool) -> tuple[str, ...]:
    """File names without ending and shard number, the most specific first. `bare` adds those without configuration."""
    named = (f"{part.config}/{part.split}", f"{part.config}-{part.split}") if part.config != "default" else ()
    return (*named, *part.names, *((f"data/{part.split}", part.split) if bare else ()))


def _snapshot(repository: Path, data: DataSet) -> Path | None:
    """The snapshot folder of the revision in a hub cache; None if it was not downloaded."""
    commit = data.revision
    if not data.pinned:
        try:
            commit = (repository / "refs" / data.revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
    folder = repository / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def _prepared(cached: Path, data: DataSet, part: Part) -> Path | None:
    """The folder `<config>/<version>/<revision>` in a cache of `datasets`; the newest if the revision is a branch."""
    found = [f for f in cached.glob(f"{part.config}/*/*") if f.is_dir() and not f.name.endswith(".incomplete")]
    found = [f for f in found if f.name == data.revision or not data.pinned]
    return max(found, key=lambda f: f.stat().st_mtime, default=None)


def _matching(folder: Path, path: str) -> tuple[Path, ...]:
    """The file of this path without ending, or all its shards. Raises DataError if files compete for the name."""
    parent, name = (folder / path).parent, Path(path).name
    found = [f for f in _entries(parent) if ending(f) in READERS and _SHARD.sub("", stem(f)) == name]
    found = found or [f for f in _entries(parent / name) if ending(f) == ".arrow" and _SHARD.sub("", stem(f)) == "data"]
    kinds = {ending(f) for f in found}
    if len(kinds) > 1 or (len(found) > 1 and any(not _SHARD.search(stem(f)) for f in found)):
        names = ", ".join(f.name for f in found)
        raise DataError(f"{parent} holds {name!r} more than once: {names}. Keep one of them.")
    _check_shards(parent, name, found)
    return tuple(found)


def _entries(folder: Path) -> list[Path]:
    """The sorted entries of a folder; empty if the folder does not exist."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _check_shards(parent: Path, name: str, files: list[Path]) -> None:
    """Raise DataError unless every shard is there exactly once."""
    shards = [m for f in files if (m := _SHARD.search(stem(f)))]
    if not shards:
        return
    numbers, count = [int(m[1]) for m in shards], int(shards[0][2])
    if numbers != list(range(count)) or len({m[2] for m in shards}) > 1:
        have = ", ".join(f.name for f in files)
        raise DataError(f"{parent}: {name!r} should be {count} files, but there are {have}. Fetch the missing ones.")
