"""Large tables of plain JSON lines, which are read by columns: the same scores as row by row, and the same refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs import table
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.logs.source import LARGE_TABLE, open_source

COUNT = 12000
TEXT = "a response of some length, so that the file is large; " * 7
Fields = dict[str, Any]


def plain(n: int) -> Fields:
    return {"item_id": f"item {n // 2}", "score": n % 7 / 7, "train_seed": n % 2, "response": f"{TEXT}{n} \u00e9"}


def with_user(n: int) -> Fields:
    return {"item_id": n, "score": n % 3, "user_id": f"user {n % 50}", "sample": 0, "model": "one"}


def numbered_users(n: int) -> Fields:
    return {
        "item_id": f"item {n}",
        "user_id": n % 9,
        "score": -1.5e-3 * n,
        "nested": {"item_id": "other", "a": [1, None]},
    }


def write(path: Path, rows: Sequence[Mapping[str, Any]], more: str = "") -> Path:
    lines = [json.dumps({**row, "padding": TEXT}) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines) + more, encoding="utf-8")
    assert path.stat().st_size > LARGE_TABLE
    return path


def read(path: Path) -> ScoreFile:
    [found] = table.read(open_source(path), Choice())
    return found


def is_read_by_columns(path: Path) -> bool:
    names = {"item_id": "text", "score": "number"}
    return open_source(path).plain_columns(names) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [plain, with_user, numbered_users])
def test_columns_give_the_scores_of_the_rows(row: Callable[[int], Fields], tmp_path: Path) -> None:
    rows = [row(n) for n in range(COUNT)]
    by_columns = read(write(tmp_path / "a.jsonl", rows))
    by_rows = read(write(tmp_path / "b.jsonl", rows, more="\n"))  # a blank line at the end
    assert not is_read_by_columns(tmp_path / "b.jsonl")
    for name in ("item", "value", "cluster", "seed", "sample"):
        one, other = getattr(by_columns.scores, name), getattr(by_rows.scores, name)
        assert (one is None) == (other is None)
        assert one is None or (one.dtype, one.tolist()) == (other.dtype, other.tolist())
    for name in ("place", "document"):
        assert np.array_equal(getattr(by_columns, name), getattr(by_rows, name))
    assert by_columns.header == by_rows.header


def test_the_plain_table_is_read_by_columns(tmp_path: Path) -> None:
    assert is_read_by_columns(write(tmp_path / "a.jsonl", [plain(n) for n in range(COUNT)]))
    assert not is_read_by_columns(write(tmp_path / "b.jsonl", [with_user(n) for n in range(COUNT)]))  # ids are numbers


BROKEN: list[tuple[str, str]] = [
    ('{"item_id": "x", "score": null}', "score is null; a finite number is needed"),
    ('{"item_id": "x", "score": "0.5"}', "score is the text"),
    ('{"item_id": "x", "score": NaN}', "score is NaN; a finite number is needed"),
    ('{"item_id": "x", "score": 1e60}', "a finite number is needed, at most 1e+50"),
    ('{"item_id": "x"}', "the field score is missing"),
    ('{"item_id": null, "score": 1}', "item_id is null"),
    ('{"item_id": ["x"], "score": 1}', "item_id is"),
    ('{"item_id": "x", "score": 1, "score": 0}', "the key 'score' occurs twice"),
    ('{"item_id": "x", "score": 1, "user_id": "u"}', "the first row has no user_id"),
    ('{"item_id": "x", "score": 1} {"item_id": "y", "score": 1}', "Extra data"),
    ('{"item_id": "item 3", "score": 1}', "item_id 'item 3' is on line 4 too"),
    ('{"item_id": "x", "score": 1', "not JSON"),
    ("[1]", "is not a JSON object"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN)
def test_the_first_wrong_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    rows = [{"item_id": f"item {n}", "score": 0.5} for n in range(COUNT)]
    path = write(tmp_path / "a.jsonl", rows, more=f"{line}\n")
    with pytest.raises(UserError) as refused:
        read(path)
    assert f"{path}:{COUNT + 1}: " in str(refused.value)
    assert message in str(refused.value)


def test_two_users_of_one_item_and_two_models_are_named(tmp_path: Path) -> None:
    rows = [{"item_id": f"i{n}", "train_seed": 0, "score": 1, "user_id": "u", "model": "m"} for n in range(COUNT)]
    for change, message in (
        ({"user_id": "v", "train_seed": 1, "item_id": "i3"}, "item 'i3' has user_id 'v', but 'u' on line 4"),
        ({"model": "other", "item_id": "x"}, 'the column model is "other" here and "m" on line 1'),
    ):
        path = write(tmp_path / "a.jsonl", [*rows, {**rows[0], **change}])
        with pytest.raises(UserError) as refused:
            read(path)
        assert message in str(refused.value)
