"""Load one part (configuration and split) of a data set.

The rows come from the user's folder if one is given. Otherwise they come from the Hugging Face caches on this machine,
or from a download from the Hugging Face Hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.errors import DataError, MissingDataError, first_line
from mipo_bench.tasks.data.formats import READERS, read_rows
from mipo_bench.tasks.data.layout import DataSet, Part, expected, find_files, found_in
from mipo_bench.tasks.data.rows import DataRow

_HUB_TIMEOUT = 20.0
"""Time limit in seconds for the hub's answer on whether a data set exists."""


class NotHereError(MissingDataError):
    """The data is not on this machine, and downloading is disabled."""


class NoSplitError(MissingDataError):
    """The user's folder has no file of a split."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """The source of a task's data: the user's `folder`, or the caches and, if `download` is true, the hub."""

    data: DataSet
    task: str
    folder: Path | None = None
    download: bool = True

    def rows(self, part: Part) -> tuple[DataRow, ...]:
        """All rows of a part, in order.

        Raises MissingDataError, which names the data set, the problem, and the way to get the data, and DataError for
        malformed data. It is a NoSplitError if the user's folder has no file of the part.
        """
        if self.folder is None:
            cached = self._cached(part)
            if not cached and not self.download:
                raise NotHereError(f"{self.data.id} is in no Hugging Face cache here.")
            return cached or _download(self.data, part, self.task)
        files = self._files(self.folder, part)
        if not files:
            raise NoSplitError(
                f"{self.folder} has no {part.split!r} split of {self.data.id} for task {self.task!r}. Looked for"
                f" {expected(self.data, part, self.task)}. Found: {found_in(self.folder)}."
                f" {how_to_get(self.data, self.task)}",
                f"no {part.split!r} split in the folder that --data names",
            )
        return _read(files, part)

    def _files(self, folder: Path, part: Part) -> tuple[Path, ...]:
        if not folder.is_dir():
            raise DataError(
                f"--data: {folder} is not a folder. It should hold {self.data.id} for task {self.task!r} as"
                f" {', '.join(READERS)} files, or be a Hugging Face cache."
            )
        return find_files(folder, self.data, part, self.task)

    def _cached(self, part: Part) -> tuple[DataRow, ...]:
        """The rows of a part from the Hugging Face caches, without network; empty if it was never downloaded."""
        import datasets
        from huggingface_hub import constants

        for cache in (Path(constants.HF_HUB_CACHE), Path(datasets.config.HF_DATASETS_CACHE)):
            if files := find_files(cache, self.data, part, self.task):
                return _read(files, part)
        return ()


def ask_hub(data: DataSet, task: str, seconds: float) -> None:
    """Raise MissingDataError if the hub does not give this user the data set. `seconds` is the time limit."""
    from huggingface_hub import HfApi

    if data.git or data.page:
        raise MissingDataError(
            f"task {task!r} needs the data set {data.id}, which is not on the hub. {how_to_get(data, task)}",
            "not on the hub, and no folder is given",
        )

    with _explained(data, task):
        HfApi().dataset_info(data.id, revision=data.revision, timeout=seconds)


def how_to_get(data: DataSet, task: str) -> str:
    """Instructions for getting the data, for messages: the download command, `--data`, and the licence."""
    revision = f" --revision {data.revision}" if data.pinned else ""
    if data.git:
        return f"Get it with: git clone {data.git} DIR; then give --data {task}=DIR. Its licence: {data.licence}."
    if data.page:
        return (
            f"Download it from {data.page} into a folder DIR; then give --data {task}=DIR. Its licence: {data.licence}."
        )
    return (
        f"Get it with: hf download --repo-type dataset {data.id}{revision} --local-dir DIR; then give"
        f" --data {task}=DIR. Its licence: {data.licence}."
    )


def _read(files: Sequence[Path], part: Part) -> tuple[DataRow, ...]:
    return tuple(row for file in files for row in read_rows(file, part.wanted))


def _download(data: DataSet, part: Part, task: str) -> tuple[DataRow, ...]:
    """Download a part with `datasets`, which also caches it. Raises MissingDataError; DataError if it is empty."""
    import datasets

    name = None if part.config == "default" else part.config
    ask_hub(data, task, _HUB_TIMEOUT)  # gives a specific error for a refusal, and fails fast without a network
    with _explained(data, task):
        loaded = datasets.load_dataset(data.id, name, split=part.split, revision=data.revision)
        columns = [c for c in loaded.column_names if not part.columns or c in part.columns]
        values = loaded.select_columns(columns).to_list()
    place = f"{data.id} ({part.config}, {part.split})"
    if not values:
        raise DataError(f"{place} has no rows. {how_to_get(data, task)}")
    return tuple(DataRow(value, place, number) for number, value in enumerate(values, 1))


@contextmanager
def _explained(data: DataSet, task: str) -> Iterator[None]:
    """Turn any exception raised in the block into a MissingDataError with instructions."""
    try:
        yield
    except Exception as error:
        raise MissingDataError(
            f"task {task!r} needs the data set {data.id}: {reason(error, data, task)}",
            f"in no Hugging Face cache here, and not from the hub: {type(error).__name__}",
        ) from error


def reason(error: Exception, data: DataSet, task: str) -> str:
    """The reason why the hub did not give the data set, with instructions."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"its terms must be accepted first. Open {data.url}, accept them, and log in with: hf auth login (or set"
            " HF_TOKEN)."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {data.revision} any more. Get it elsewhere and give --data {task}=DIR."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the hub does not show it to you. Log in with: hf auth login, and look at {data.url}."
    return (
        f"it is in no Hugging Face cache here, and the hub did not give it ({type(error).__name__}:"
        f" {first_line(error)}). {how_to_get(data, task)}"
    )
