"""Base class and helpers of the tasks over public data sets.

`PublicTask` loads the data once, keeps evaluation prompts out of training, and counts the rows that make no item.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from mipo_bench.harness.errors import ConfigError, DataError, MissingDataError, NoTrainingError
from mipo_bench.harness.types import DataState, Demonstration, Item, ModelKind, Split
from mipo_bench.tasks.data.hub import DataSource, NoSplitError, NotHereError, ask_hub, how_to_get
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import DataRow, rows_digest
from mipo_bench.tasks.splits import seeded

SAME_PROMPT = "training items with an evaluation prompt"
NOT_SHOWN = "earlier turns that are not shown, because their prompt is asked in the evaluation"


@dataclass(frozen=True, slots=True)
class TaskOption:
    """An option of a task, `--task NAME:OPTION=VALUE`: its name, its default, and the values that are allowed."""

    name: str
    default: str
    allowed: tuple[str, ...] | range

    @property
    def shown(self) -> str:
        """The option with the allowed values, for messages."""
        if isinstance(self.allowed, range):
            return f"{self.name}=NUMBER from {self.allowed.start} to {self.allowed.stop - 1}"
        return f"{self.name}={' or '.join(self.allowed)}"


@dataclass
class BuiltItems:
    """The items of both splits, and the digest of all rows that were read.

    `left_out` counts, by reason, the rows that make no item. `notes` counts other facts for the report.
    """

    items: dict[Split, tuple[Item, ...]]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    digest: str = ""


class PublicTask:
    """Base of the tasks over a public data set. A subclass declares `dataset` and builds items from `rows`."""

    name: str
    dataset: DataSet
    uses_data = True
    meant_for: ModelKind = "real"
    task_options: tuple[TaskOption, ...] = ()

    def __init__(self, folder: Path | None = None, *, download: bool = True, options: str = "") -> None:
        self._given = options
        self.options = _options(type(self), options)
        self.name = f"{type(self).name}:{options}" if options else type(self).name
        self._source = DataSource(self.dataset, type(self).name, folder, download)
        self._read: dict[Part, tuple[DataRow, ...]] = {}
        self._untrained: tuple[Part, str] | None = None

    @property
    def source(self) -> str:
        """The data set and its revision."""
        return f"{self.dataset.id} ({self.dataset.revision})"

    @property
    def licence(self) -> str:
        """The licence of the data."""
        return self.dataset.licence

    def with_data(self, folder: Path) -> Self:
        """The same task with the data of a folder or of a Hugging Face cache."""
        return type(self)(Path(folder), options=self._given)

    def with_options(self, options: str) -> Self:
        """The same task with options such as `k=8:by=recency`, under a name with them. Raises ConfigError."""
        return type(self)(self._source.folder, options=options)

    def items(self, split: Split) -> tuple[Item, ...]:
        """The items of the split.

        Raises DataError for malformed data, MissingDataError for missing data, NoTrainingError if only the split to
        train on is missing.
        """
        items = self._built.items[split]
        if not items and self._untrained:
            part, message = self._untrained
            raise NoTrainingError(f"{message} To evaluate without training, give --recipes none.", part.split)
        return items

    def data_used(self) -> Mapping[str, str | int]:
        """The data set, its revision, a digest of its rows, and the counts of rows left out, for the report."""
        built = self._built
        revision = "local files" if self._source.folder else self.dataset.revision
        read = {"dataset": self.dataset.id, "revision": revision, "digest": built.digest, "licence": self.licence}
        left_out = {f"left out: {reason}": n for reason, n in sorted(built.left_out.items())}
        return {**read, **left_out, **dict(sorted(built.notes.items()))}

    def data_state(self) -> tuple[DataState, str]:
        """Whether a run would find the data, with a message; `warn` if it would have to download. Downloads nothing."""
        local = type(self)(self._source.folder, download=False, options=self._given)
        try:
            local.items("eval")
        except NotHereError:
            return self._obtainable()
        except MissingDataError as error:
            return "missing", str(error)
        except DataError as error:
            return "fail", str(error)
        return "ok", f"{self.dataset.id}, {local.data_used()['revision']}, licence {self.licence}"

    def _obtainable(self) -> tuple[DataState, str]:
        try:
            ask_hub(self.dataset, self.name, seconds=5)
        except DataError as error:
            return "missing", str(error)
        return "warn", f"{self.dataset.id} will be downloaded. {how_to_get(self.dataset, self.name)}"

    def build(self) -> BuiltItems:
        """The items of both splits, built from `rows`."""
        raise NotImplementedError

    def rows(self, part: Part) -> tuple[DataRow, ...]:
        """The rows of a part of the data set. Each part is read once."""
        if part not in self._read:
            self._read[part] = self._source.rows(part)
        return self._read[part]

    def rows_if_there(self, part: Part) -> tuple[DataRow, ...]:
        """The rows of a part that the user's folder may lack: then there are none."""
        try:
            return self.rows(part)
        except NoSplitError:
            return ()

    def training_rows(self, part: Part) -> tuple[DataRow, ...]:
        """The rows of the part to train on. If the user's folder lacks it, the task can still be evaluated."""
        try:
            return self.rows(part)
        except NoSplitError as error:
            self._untrained = (part, str(error))
            return ()

    @cached_property
    def _built(self) -> BuiltItems:
        built = self.build()
        _check_ids(self.name, (*built.items["train"], *built.items["eval"]))
        eval_prompts = {item.prompt for item in built.items["eval"]}
        built.items = {
            split: tuple(_unseen(i, eval_prompts, built.notes) for i in items) for split, items in built.items.items()
        }
        kept = tuple(item for item in built.items["train"] if item.prompt not in eval_prompts)
        if len(kept) < len(built.items["train"]):
            built.left_out[SAME_PROMPT] += len(built.items["train"]) - len(kept)
            built.items["train"] = kept
        for split, items in built.items.items():
            if not items and not (split == "train" and self._untrained):
                raise DataError(
                    f"task {self.name!r}: no {'training' if split == 'train' else 'evaluation'} item is left of"
                    f" {sum(map(len, self._read.values()))} rows of {self.dataset.id}. Left out:"
                    f" {dict(built.left_out) or 'nothing'}. Give more data, or check it."
                )
        built.digest = rows_digest(row for part in self._read.values() for row in part)
        self._read.clear()
        return built


def _options(task: type[PublicTask], given: str) -> Mapping[str, str]:
    """Option -> value of a task, from `OPTION=VALUE:...`. Raises ConfigError for another option or value."""
    known = {option.name: option for option in task.task_options}
    found: dict[str, str] = {}
    for entry in given.split(":") if given else ():
        name, _, value = (text.strip() for text in entry.partition("="))
        option = known.get(name)
        if option is None or name in found or value not in map(str, option.allowed):
            problem = f"{name!r} is given twice" if name in found else f"{entry.strip()!r} is no option of it"
            allowed = "; ".join(option.shown for option in task.task_options) or "none: leave the colon out"
            raise ConfigError(f"task {task.name}:{given}: {problem}. Options are {allowed}.")
        found[name] = value
    return {option.name: option.default for option in task.task_options} | found


def content_ids(prefix: str, contents: Iterable[object]) -> list[str]:
    """Ids for rows that have none: hashes of the content, which do not depend on the order of the rows.

    A repeated content gets the suffix `-2`, `-3` and so on.
    """
    seen: Counter[str] = Counter()
    ids = []
    for content in contents:
        name = f"{prefix}-{hashlib.sha256(repr(content).encode()).hexdigest()[:12]}"
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def with_demonstrations(
    train: Sequence[Item], evaluation: Sequence[Item], pool: Sequence[Demonstration], count: int, salt: str
) -> BuiltItems:
    """The items of both splits with `count` demonstrations each. An item's id and `salt` seed the draw from the pool.

    An item is never its own demonstration, and an evaluation prompt is never a demonstration.
    """
    eval_prompts = {item.prompt for item in evaluation}
    shots = [turn for turn in pool if turn.prompt not in eval_prompts]
    return BuiltItems(
        {"train": with_shots(train, shots, count, salt), "eval": with_shots(evaluation, shots, count, salt)}
    )


def with_shots(items: Sequence[Item], pool: Sequence[Demonstration], count: int, salt: str) -> tuple[Item, ...]:
    """The items with demonstrations drawn from the pool. An item is never its own demonstration."""
    return tuple(replace(item, demonstrations=_shots(item, pool, count, salt)) for item in items)


def _shots(item: Item, pool: Sequence[Demonstration], count: int, salt: str) -> tuple[Demonstration, ...]:
    drawn = seeded(salt, item.id).sample(range(len(pool)), min(count + 1, len(pool)))
    return tuple(pool[i] for i in drawn if pool[i].prompt != item.prompt)[:count]


def _unseen(item: Item, eval_prompts: Set[str], notes: Counter[str]) -> Item:
    """The item without demonstrations of an evaluation prompt, which `notes` counts."""
    turns = tuple(turn for turn in item.demonstrations if turn.prompt not in eval_prompts)
    if len(turns) == len(item.demonstrations):
        return item
    notes[NOT_SHOWN] += len(item.demonstrations) - len(turns)
    return replace(item, demonstrations=turns)


def _check_ids(task: str, items: Sequence[Item]) -> None:
    """Raise DataError if two items have the same id."""
    counts = Counter(item.id for item in items)
    if len(counts) < len(items):
        twice = ", ".join(repr(name) for name, n in counts.items() if n > 1)
        raise DataError(f"task {task!r} has several items with the same id: {twice[:200]}.")
