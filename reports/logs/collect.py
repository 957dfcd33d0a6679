"""Collects the scores of one arm in compact columns, and makes the checks that all formats need."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.record import Header, ScoreFile, place_text
from mipo_bench.reports.logs.rows import listed
from mipo_bench.reports.statistics.records import Caveat, Scores


class Columns:
    """The scores of one arm, row by row. `finish` turns them into a ScoreFile.

    `add` raises UserError for an item with two users, and for a user or a training seed on some rows only.
    """

    def __init__(self, path: Path, unit: str = "line", user_name: str = "user_id") -> None:
        self.path, self.unit, self.user_name = path, unit, user_name
        self._item_codes: dict[str, int] = {}
        self._user_codes: dict[str, int] = {}
        self.items: Collection[str] = self._item_codes
        self.users: Collection[str] = self._user_codes
        self.texts: dict[str, int] = {}
        self.owner = array("q")  # item code -> user code
        self.item, self.seed, self.sample, self.place = array("q"), array("q"), array("q"), array("q")
        self.input = array("q")
        self.value = array("d")
        self.has_seed = self.has_user = False

    def __len__(self) -> int:
        return len(self.item)

    def add(
        self,
        item: str,
        value: float,
        place: int,
        *,
        user: str | None = None,
        seed: int | None = None,
        sample: int = 0,
        input_: str = "",
    ) -> None:
        """Append a score, NaN for a missing one. `input_` is a fingerprint of the item's input or target."""
        if not self.item:
            self.has_seed, self.has_user = seed is not None, user is not None
        elif (seed is not None) != self.has_seed:
            self._uneven("train_seed", place, given=seed is not None)
        elif (user is not None) != self.has_user:
            self._uneven(self.user_name, place, given=user is not None)
        code = self._item_codes.setdefault(item, len(self.items))
        if user is not None:
            self._set_owner(code, item, user, place)
        self.item.append(code)
        self.value.append(value)
        self.seed.append(seed or 0)
        self.sample.append(sample)
        self.place.append(place)
        self.input.append(self.texts.setdefault(input_, len(self.texts)))

    def add_all(
        self,
        item: Any,
        value: NDArray[np.float64],
        user: Any | None,
        seed: NDArray[np.int64] | None,
        sample: Any | None,
    ) -> bool:
        """Append every row of a table of plain lines; `item` and `user` are pyarrow arrays of texts.

        Returns False, with nothing appended, where an item has two users or a text is no UTF-8: `add` names the row.
        """
        try:
            codes, self.items = _coded(item)
            owners, self.users = (codes, ()) if user is None else _coded(user)
        except UnicodeDecodeError:
            return False
        if user is not None:
            owner = np.empty(len(self.items), dtype=np.int64)
            owner[codes[::-1]] = owners[::-1]  # of the first row with the item
            if (owner[codes] != owners).any():
                return False
            self.owner = array("q", owner.tobytes())
        zeros = np.zeros_like(codes)
        self.has_seed, self.has_user = seed is not None, user is not None
        self.item, self.value = array("q", codes.tobytes()), array("d", value.tobytes())
        self.seed = array("q", (zeros if seed is None else seed).tobytes())
        self.sample = array("q", (zeros if sample is None else sample).tobytes())
        self.place = array("q", np.arange(1, len(codes) + 1).tobytes())
        self.input, self.texts = array("q", zeros.tobytes()), {"": 0}
        return True

    def _uneven(self, field: str, place: int, *, given: bool) -> None:
        lacks, has = ("the first row", "this one") if given else ("this row", "the first one")
        self._fail(place, f"{lacks} has no {field}, {has} has; give it on every row or on none")

    def _fail(self, place: int, message: str) -> None:
        raise UserError(f"{place_text(self.path, place, self.unit)}: {message}.")

    def _set_owner(self, code: int, item: str, user: str, place: int) -> None:
        """Record the user of an item; fail if the item has two."""
        number = self._user_codes.setdefault(user, len(self.users))
        if code == len(self.owner):
            self.owner.append(number)
        elif self.owner[code] != number:
            earlier, line = list(self.users)[self.owner[code]], self.place[self.item.index(code)]
            self._fail(
                place,
                f"item {item!r} has {self.user_name} {user!r}, but {earlier!r} on {self.unit} {line}; "
                "an item belongs to one user",
            )

    def finish(self, header: Header, *, samples: bool = True, twice: str = "") -> ScoreFile:
        """The scores as arrays. Raises UserError if there are none, or two for one item, training seed and sample.

        `samples` says that rows with different samples are samples of one prompt, else they are occurrences of one
        document: items of their own, in one cluster. `twice` is the advice for two rows of the same.
        """
        if not self.item:
            raise UserError(f"{self.path}: the file is empty; at least one row with a score is needed.")
        codes, sample = np.asarray(self.item, dtype=np.int64), np.asarray(self.sample, dtype=np.int64)
        self._refuse_duplicates(codes, sample, f"{header.item_name} {{!r}}", twice)
        names = np.asarray(list(self.items), dtype=object)
        occurrence = np.zeros_like(codes) if samples else self._occurrence(codes, sample)
        items = names[codes]
        for row in np.flatnonzero(occurrence):
            items[row] = f"{items[row]} #{occurrence[row] + 1}"
        scores = Scores(
            item=items,
            value=np.asarray(self.value, dtype=np.float64),
            cluster=self._clusters(codes),
            seed=np.asarray(self.seed, dtype=np.int64) if self.has_seed else None,
            sample=sample if samples else None,
        )
        return ScoreFile(
            self.path,
            header,
            scores,
            np.asarray(self.place, dtype=np.int64),
            names[codes],
            repeated=len(np.unique(codes[occurrence > 0])),
            inputs=np.asarray(list(self.texts), dtype=object)[self.input] if any(self.texts) else None,
        )

    def _occurrence(self, items: NDArray[np.int64], sample: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many rows with the same document and training seed have a smaller number, for each row."""
        seed = np.asarray(self.seed, dtype=np.int64)
        order = np.lexsort((sample, seed, items))
        key = np.column_stack((items, seed))[order]
        is_first = np.concatenate(([True], (key[1:] != key[:-1]).any(axis=1)))
        position = np.arange(len(order))
        place = np.empty_like(position)
        place[order] = position - np.maximum.accumulate(np.where(is_first, position, 0))
        return place

    def _clusters(self, items: NDArray[np.int64]) -> NDArray[Any] | None:
        if not self.users:
            return None
        return np.asarray(list(self.users), dtype=object)[np.asarray(self.owner, dtype=np.int64)[items]]

    def _refuse_duplicates(self, items: NDArray[np.int64], sample: NDArray[np.int64], name: str, twice: str) -> None:
        key = np.column_stack((items, np.asarray(self.seed, dtype=np.int64), sample))
        order = np.lexsort(key.T)  # stable: equal keys stay in the order of the file
        again = np.flatnonzero((key[order][1:] == key[order][:-1]).all(axis=1))
        if again.size:
            first, second = order[again[0]], order[again[0] + 1]
            item = name.format(list(self.items)[items[second]])
            self._fail(self.place[second], f"{item} is on {self.unit} {self.place[first]} too, with the same {twice}")


def _coded(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """The code of each text of a pyarrow array, and the texts by code, in the order of first rows."""
    encoded = column.dictionary_encode()
    return np.from_dlpack(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()


def pooled(path: Path, tasks: Mapping[str, ScoreFile]) -> ScoreFile:
    """The documents of several tasks (name -> scores) as one arm: each document weighs the same.

    A user of several tasks is one user. Raises UserError for tasks that are scored in different ways.
    """
    found = list(tasks.values())
    metrics = {(one.header.metric, one.header.filter, one.header.turned) for one in found}
    if len(metrics) > 1:
        different = listed(sorted(f"{metric} ({name})" for metric, name, _ in metrics))
        raise UserError(f"{path}: the tasks have different metrics: {different}. Choose with --task or --metric.")
    scores = Scores(
        item=_of_tasks({task: one.scores.item for task, one in tasks.items()}),
        value=np.concatenate([one.scores.value for one in found]),
        cluster=_joined(path, "users", [one.scores.cluster for one in found]),
        seed=_joined(path, "training seeds", [one.scores.seed for one in found]),
    )
    told = {f"{key} of {task}": value for task, one in tasks.items() for key, value in one.header.told.items()}
    alike = {f"{key} of {task}": value for task, one in tasks.items() for key, value in one.header.alike.items()}
    note = Caveat("pooled_tasks", f"{len(tasks)} tasks as one: {', '.join(tasks)}")
    notes = (*dict.fromkeys(note for one in found for note in one.header.notes), note)
    return ScoreFile(
        path,
        replace(found[0].header, told=told, alike=alike, notes=notes, unit="row"),
        scores,
        np.concatenate([one.place for one in found]),
        _of_tasks({task: one.document for task, one in tasks.items()}),
        repeated=sum(one.repeated for one in found),
        inputs=_joined(path, "target hashes", [one.inputs for one in found]),
    )


def _of_tasks(names: Mapping[str, Iterable[Any]]) -> NDArray[Any]:
    """The names of documents with that of their task before them."""
    return np.asarray([f"{task}/{name}" for task, of_task in names.items() for name in of_task], dtype=object)


def _joined(path: Path, what: str, parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """The columns of all tasks as one; None if no task has one. Raises UserError if only some do."""
    given = [part for part in parts if part is not None]
    if given and len(given) < len(parts):
        raise UserError(
            f"{path}: {len(given)} of {len(parts)} tasks have {what}; choose tasks that are alike (--task)."
        )
    return np.concatenate(given) if given else None
