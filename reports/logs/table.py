"""Tables with named columns: CSV, Parquet, JSON Lines, or one JSON array of objects.

{"item_id": "q1", "score": 0.5, "user_id": "u1", "train_seed": 0, "sample": 0}     the last three optional

These are mipo-bench's own names; `Choice.columns` names others. `a.b` is the field b of the object in column a.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.collect import Columns
from mipo_bench.reports.logs.record import Choice, Header, ScoreFile
from mipo_bench.reports.logs.rows import LARGEST, Row, listed, show, unknown_name
from mipo_bench.reports.logs.source import ColumnKind, Source

NAME = "table"
CHOICES = ("user",)
OPTIONS = {"item": "--item", "score": "--score", "user": "--user", "sample": "--sample"}
OPTIONS |= {"train_seed": "--train-seed", "arm": "--arm"}
_OWN = {"item": "item_id", "score": "score", "user": "user_id", "sample": "sample", "train_seed": "train_seed"}
_ARMS = ("model", "arm", "system", "method", "model_name", "generator")
_DEEPEST = 3
_INTEGER: ColumnKind = "integer"
_TWICE = (
    "train_seed and sample. Name the column that numbers the trainings (--train-seed) or the samples of a prompt "
    "(--sample), or remove one row"
)


@dataclass(frozen=True, slots=True)
class _Names:
    """The column of each role; None for one that the table lacks. `other_arm` is a column that may tell arms apart."""

    item: str
    score: str
    user: str | None
    sample: str | None
    train_seed: str | None
    arm: str | None
    other_arm: str | None

    def used(self) -> list[str]:
        """The columns that have to be read."""
        given = (self.item, self.score, self.user, self.sample, self.train_seed, self.arm, self.other_arm)
        return [name for name in given if name is not None]


def read(source: Source, choice: Choice) -> list[ScoreFile]:
    """The arms of a table in the order of their first rows; one without `--arm`.

    Raises UserError, with file and line, for a column that is not there, a field that is missing, a score that is not a
    finite number, an item with two users, two rows for one item, training seed and sample, and several models in a
    column that `--arm` does not name.
    """
    names = _names(source, choice)
    if (plain := _plain(source, names)) is not None:
        return [_finish(plain, "", names)]
    arms: dict[str, Columns] = {}
    other: Row | None = None
    for row in source.rows(names.used()):
        arm = row.text(names.arm) if names.arm else ""
        if arm not in arms:
            arms[arm] = Columns(source.path, row.unit, names.user or "user_id")
        _add(arms[arm], row, names, choice)
        if names.other_arm is not None:
            other = other or row
            _refuse_other_arm(other, row, names.other_arm)
    return [_finish(columns, arm, names) for arm, columns in arms.items()]


def _plain(source: Source, names: _Names) -> Columns | None:
    """The only arm of a large table of plain rows; None for any other table, whose rows are read one by one."""
    texts = [name for name in (names.item, names.user, names.other_arm) if name]
    numbers = [name for name in (names.sample, names.train_seed) if name]
    kinds = {name: _kind(source.first.get(name)) for name in texts} | dict.fromkeys(numbers, _INTEGER)
    if names.arm or None in kinds.values() or not isinstance(source.first.get(names.score), int | float):
        return None
    found = source.plain_columns({name: kind for name, kind in kinds.items() if kind} | {names.score: "number"})
    if found is None or not {names.item, names.score} <= {*found}:
        return None
    values = _numbers(found[names.score])
    one_arm = names.other_arm is None or (names.other_arm in found and len(found[names.other_arm].unique()) == 1)
    if not one_arm or not (np.abs(values) <= LARGEST).all():
        return None
    seeds, samples = (_numbers(found[n]) if n and n in found else None for n in (names.train_seed, names.sample))
    users = found[names.user].cast("string") if names.user and names.user in found else None
    columns = Columns(source.path, user_name=names.user or "user_id")
    return columns if columns.add_all(found[names.item].cast("string"), values, users, seeds, samples) else None


def _numbers(column: Any) -> NDArray[Any]:
    """The numbers of a pyarrow array, whose own `to_numpy` imports pandas."""
    return np.from_dlpack(column)


def _kind(value: object) -> ColumnKind | None:
    """The kind of a column of ids, by the value in the first row; None for one that is no id."""
    if value is None or isinstance(value, str):
        return "text"
    return _INTEGER if isinstance(value, int) and not isinstance(value, bool) else None


def metrics(_source: Source, choice: Choice) -> list[Choice]:
    """The only way to read the table: by its own columns or those named."""
    return [choice]


def _finish(columns: Columns, arm: str, names: _Names) -> ScoreFile:
    header = Header(arm, unit=columns.unit, item_name=names.item, user_name=names.user or "user_id")
    return columns.finish(header, twice=_TWICE)


def _add(columns: Columns, row: Row, names: _Names, choice: Choice) -> None:
    columns.add(
        row.text(names.item),
        row.score(names.score, allow_missing=choice.allow_missing, values=choice.values),
        row.place,
        user=row.text(names.user) if names.user and row.has(names.user) else None,
        seed=row.integer(names.train_seed) if names.train_seed and row.has(names.train_seed) else None,
        sample=row.integer(names.sample) if names.sample and row.has(names.sample) else 0,
    )


def _names(source: Source, choice: Choice) -> _Names:
    for role, name in choice.columns.items():
        if source.first and name.split(".")[0] not in source.columns and name not in source.columns:
            raise UserError(f"{source.path}: {OPTIONS[role]}: {unknown_name('column', name, source.columns)}")
    found = {**_OWN, **choice.columns}
    for role in ("item", "score"):
        if role not in choice.columns and source.first and found[role] not in source.columns:
            raise UserError(_no_column(source, role, found[role]))
    optional = {
        role: found[role] if _is_there(source, found[role]) else None for role in ("user", "sample", "train_seed")
    }
    arm = choice.columns.get("arm")
    taken = {*choice.columns.values()}
    other = next((name for name in _ARMS if name in source.columns and name not in taken), None)
    return _Names(found["item"], found["score"], **optional, arm=arm, other_arm=None if arm else other)


def _is_there(source: Source, name: str) -> bool:
    """Whether rows may have the column. A row of JSON may have a field that the first row lacks."""
    return source.kind == "rows" or name in source.columns or name.split(".", maxsplit=1)[0] in source.columns


def _no_column(source: Source, role: str, name: str) -> str:
    return (
        f"{source.path}: no column {name}; the columns are {listed(sorted(_flat(source.first)))}. "
        f"Name the one with the {role}s by {OPTIONS[role]}. "
        "mipo-bench compare --list FILE says what a file is."
    )


def _flat(fields: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The names of all fields, those of objects inside as `a.b`."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and prefix.count(".") < _DEEPEST:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _refuse_other_arm(first: Row, row: Row, column: str) -> None:
    one, two = first.get(column), row.get(column)
    if one != two and isinstance(one, Mapping) == isinstance(two, Mapping):
        row.fail(
            f"the column {column} is {show(two)} here and {show(one)} on {first.unit} {first.place}: one side "
            f"of a comparison has one model. --arm {column} compares them with one another"
        )
