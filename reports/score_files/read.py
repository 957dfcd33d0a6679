"""Reads score files in mipo-bench's own format or lm-eval's `--log_samples` format, for `mipo-bench compare`.

The reader streams the rows and keeps compact columns only.

{"item_id": "q1", "score": 0.5, "user_id": "u1", "train_seed": 0, "sample": 0}     the last three optional
{"doc_id": 0, "doc_hash": "ab..", "filter": "none", "metrics": ["acc"], "acc": 1.0, ...}           lm-eval
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipo_bench.harness.errors import UserError, unknown
from mipo_bench.reports.score_files.rows import Row, read_rows
from mipo_bench.reports.statistics.records import Scores

NO_FILTER = "none"
"""lm-eval's name for "no filter"; rows of older versions lack the field."""


@dataclass(frozen=True, slots=True)
class MetricChoice:
    """The scores to take from a score file.

    `metric` and `filter` choose among those of an lm-eval file. With `allow_missing`, a score that is null or NaN is a
    missing score and not an error.
    """

    metric: str | None = None
    filter: str | None = None
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """The scores of one file and the line of each row.

    `metric` and `filter` are None for a file in mipo-bench's own format. `document` is the document of each row, and
    `repeated` the number of lm-eval documents that occur more than once: each occurrence is an item of its own, as in
    lm-eval's mean. `target` is the hash of each row's target, None if no row has one.
    """

    path: Path
    scores: Scores
    line: NDArray[np.int64]
    document: NDArray[Any]
    metric: str | None = None
    filter: str | None = None
    repeated: int = 0
    target: NDArray[Any] | None = None

    def line_of(self, item: str) -> int | None:
        """The number of the first line with this item; None if the file lacks it."""
        rows = np.flatnonzero(self.scores.item == item)
        return int(self.line[rows[0]]) if rows.size else None


def read_scores(path: Path, choice: MetricChoice) -> ScoreFile:
    """Read a score file of either format, which its first row determines.

    Raises UserError, with file and line, for a file that cannot be read or is empty, a row that is not a JSON
    object or lacks a field, a score that is not a finite number, an item with two users, an (item,
    train_seed, sample) given twice, and, with their names, for several metrics or filters without a choice.
    """
    columns = _Columns(path, choice)
    for row in read_rows(path):
        columns.add(row)
    return columns.finish()


class _Columns:
    """Checks each row, while its line number is known, and appends it to compact columns."""

    def __init__(self, path: Path, choice: MetricChoice) -> None:
        self.path = path
        self.choice = choice
        self.first: Row | None = None
        self.metric: str | None = None  # None unless the file is lm-eval's
        self.filters: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.owner = array("q")  # item code -> user code
        self.item, self.seed, self.sample, self.line = array("q"), array("q"), array("q"), array("q")
        self.value = array("d")
        self.targets: dict[str, int] = {}
        self.target = array("q")

    def add(self, row: Row) -> None:
        """Check one row and append it."""
        if self.first is None:
            self.first = row
            self.metric = _metric(row, self.choice)
        if self.metric is not None and not self._wanted(row):
            return
        code = self.items.setdefault(row.text(self._item_field), len(self.items))
        self._set_owner(code, row)
        self.item.append(code)
        self.value.append(
            row.score(
                self.metric or "score",
                allow_missing=self.choice.allow_missing,
            )
        )
        self.seed.append(row.integer("train_seed") if self._given(row, "train_seed") else 0)
        sample = "sample" if self.metric is None else "doc_id"
        self.sample.append(row.integer(sample) if self._given(row, sample) else 0)
        self.line.append(row.line)
        target = str(row.fields.get("target_hash") or "") if self.metric is not None else ""
        self.target.append(self.targets.setdefault(target, len(self.targets)))

    def finish(self) -> ScoreFile:
        """Make the checks that need all rows, and turn the columns into arrays."""
        if self.first is None:
            raise UserError(f"{self.path}: the file is empty; at least one row with a score is needed.")
        chosen = self._one_filter()
        codes, sample = np.asarray(self.item, dtype=np.int64), np.asarray(self.sample, dtype=np.int64)
        self._refuse_duplicates(codes, sample)
        place = np.zeros_like(codes) if self.metric is None else self._occurrence(codes, sample)
        names = np.asarray(list(self.items), dtype=object)
        items = names[codes]
        for row in np.flatnonzero(place):
            items[row] = f"{items[row]} #{place[row] + 1}"
        scores = Scores(
            item=items,
            value=np.asarray(self.value, dtype=np.float64),
            cluster=self._clusters(codes),
            seed=np.asarray(self.seed, dtype=np.int64) if self.first.has("train_seed") else None,
            sample=sample if self.metric is None else None,
        )
        return ScoreFile(
            self.path,
            scores,
            np.asarray(self.line, dtype=np.int64),
            names[codes],
            self.metric,
            chosen,
            repeated=len(np.unique(codes[place > 0])),
            target=np.asarray(list(self.targets), dtype=object)[self.target] if any(self.targets) else None,
        )

    def _occurrence(self, items: NDArray[np.int64], doc_id: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many rows with the same document and training seed have a smaller doc_id, for each row."""
        seed = np.asarray(self.seed, dtype=np.int64)
        order = np.lexsort((doc_id, seed, items))
        key = np.column_stack((items, seed))[order]
        is_first = np.concatenate(([True], (key[1:] != key[:-1]).any(axis=1)))
        position = np.arange(len(order))
        place = np.empty_like(position)
        place[order] = position - np.maximum.accumulate(np.where(is_first, position, 0))
        return place

    @property
    def _item_field(self) -> str:
        return "item_id" if self.metric is None else "doc_hash"

    def _wanted(self, row: Row) -> bool:
        name = str(row.fields.get("filter", NO_FILTER))
        self.filters.setdefault(name, row.line)
        return self.choice.filter in {None, name}

    def _one_filter(self) -> str | None:
        names = list(self.filters)
        if not names:
            return None
        if self.choice.filter and self.choice.filter not in names:
            raise UserError(f"{self.path}: {unknown('filter', self.choice.filter, names)}")
        if not self.choice.filter and len(names) > 1:
            raise UserError(f"{self.path}: several filters; choose one with --filter: {', '.join(names)}.")
        return self.choice.filter or names[0]

    def _set_owner(self, code: int, row: Row) -> None:
        """Record the user of an item; fail if the item has two."""
        if not self._given(row, "user_id"):
            return
        user = self.users.setdefault(row.text("user_id"), len(self.users))
        if code == len(self.owner):
            self.owner.append(user)
        elif self.owner[code] != user:
            earlier, line = list(self.users)[self.owner[code]], self.line[self.item.index(code)]
            row.fail(
                f"item {row.text(self._item_field)!r} has user_id {row.text('user_id')!r}, but {earlier!r} "
                f"on line {line}; an item belongs to one user"
            )

    def _given(self, row: Row, field: str) -> bool:
        """Whether the row has an optional field; fail unless all rows have it or none."""
        given, first = row.has(field), self.first is not None and self.first.has(field)
        if given != first:
            lacks, has = ("the first row", "this one") if given else ("this row", "the first one")
            row.fail(f"{lacks} has no {field}, {has} has; give it on every row or on none")
        return given

    def _clusters(self, items: NDArray[np.int64]) -> NDArray[Any] | None:
        if not self.users:
            return None
        return np.asarray(list(self.users), dtype=object)[np.asarray(self.owner, dtype=np.int64)[items]]

    def _refuse_duplicates(self, items: NDArray[np.int64], sample: NDArray[np.int64]) -> None:
        key = np.column_stack((items, np.asarray(self.seed, dtype=np.int64), sample))
        order = np.lexsort(key.T)  # stable: equal keys stay in the order of the file
        again = np.flatnonzero((key[order][1:] == key[order][:-1]).all(axis=1))
        if again.size:
            first, second = order[again[0]], order[again[0] + 1]
            name = list(self.items)[items[second]]
            same = (
                "train_seed and sample. Number the samples of a prompt, or remove one row."
                if self.metric is None
                else "train_seed and doc_id. Write one run to each file."
            )
            raise UserError(
                f"{self.path}:{self.line[second]}: {self._item_field} {name!r} is on line {self.line[first]} "
                f"too, with the same {same}"
            )


def _metric(first: Row, choice: MetricChoice) -> str | None:
    """The metric of an lm-eval file; None for mipo-bench's own format. The first row determines the format."""
    if "item_id" in first.fields:
        if choice.metric or choice.filter:
            first.fail("--metric and --filter choose within lm-eval files, and this row has an item_id")
        return None
    if "doc_hash" not in first.fields and "doc_id" in first.fields:
        first.fail(
            "doc_id without doc_hash, as older versions of lm-eval wrote samples: nothing shows that two files have "
            "the same documents. If they have, write doc_id as item_id and the metric as score"
        )
    if "doc_hash" not in first.fields:
        first.fail(
            f"neither item_id nor doc_hash; the fields are {', '.join(sorted(first.fields)) or 'none'}. "
            'A row is {"item_id": ..., "score": ...} or a line that lm-eval wrote with --log_samples'
        )
    listed = first.fields.get("metrics")
    metrics = [str(name) for name in listed] if isinstance(listed, list) else []
    if choice.metric and metrics and choice.metric not in metrics:
        first.fail(unknown("metric", choice.metric, metrics).rstrip("."))
    if not choice.metric and len(metrics) != 1:
        first.fail(f"choose a metric with --metric: {', '.join(metrics) or 'the row lists none'}")
    return choice.metric or metrics[0]
