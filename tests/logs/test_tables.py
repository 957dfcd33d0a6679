"""Tables with named columns: CSV, Parquet, JSON Lines, arrays."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mipo_bench.harness.errors import UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile

ROWS: list[dict[str, Any]] = [
    {"q": "a", "em": 1.0, "who": "u", "k": 0, "system": "x"},
    {"q": "a", "em": 0.0, "who": "u", "k": 1, "system": "x"},
    {"q": "b", "em": 0.5, "who": "v", "k": 0, "system": "x"},
]
COLUMNS = {"item": "q", "score": "em", "user": "who", "sample": "k"}


def csv_text(rows: list[dict[str, Any]], mark: str = ",") -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(mark.join(str(cell) for cell in line) + "\r\n" for line in lines)


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "csv": lambda path: path.write_text(csv_text(ROWS)),
    "semicolons": lambda path: path.write_text(csv_text(ROWS, ";"), encoding="utf-8-sig"),
    "tabs": lambda path: path.write_text(csv_text(ROWS, "\t"), encoding="utf-16"),
    "gzip": lambda path: path.write_bytes(gzip.compress(csv_text(ROWS).encode())),
    "parquet": lambda path: parquet(path, ROWS),
    "lines": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "array": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
}


def read_one(path: Path, choice: Choice) -> ScoreFile:
    (found,) = read_files(path, choice)
    return found


@pytest.mark.parametrize("form", WRITERS)
def test_every_form_gives_the_same_scores(form: str, tmp_path: Path) -> None:
    path = tmp_path / "no-suffix"
    WRITERS[form](path)
    scores = read_one(path, Choice(columns=COLUMNS)).scores
    assert list(scores.item) == ["a", "a", "b"]
    assert list(scores.value) == [1, 0, 0.5]
    assert scores.cluster is not None
    assert scores.sample is not None
    assert (list(scores.cluster), list(scores.sample)) == (["u", "u", "v"], [0, 1, 0])


@pytest.mark.parametrize("form", ["lines", "parquet"])
def test_a_column_inside_another(form: str, tmp_path: Path) -> None:
    rows = [
        {"meta": {"id": 7.0}, "scores": {"em": {"value": "C"}}},
        {"meta": {"id": 8.0}, "scores": {"em": {"value": "I"}}},
    ]
    path = tmp_path / "scores"
    if form == "parquet":
        parquet(path, rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"item": "meta.id", "score": "scores.em.value"}
    scores = read_one(path, Choice(columns=columns, values={"C": 1.0, "I": 0.0})).scores
    assert (list(scores.item), list(scores.value)) == (["7", "8"], [1, 0])


def test_a_name_with_a_point_is_a_name_first(tmp_path: Path) -> None:
    path = tmp_path / "scores"
    path.write_text('{"item_id": "a", "x.y": 1, "x": {"y": 0}}\n')
    assert read_one(path, Choice(columns={"score": "x.y"})).scores.value == [1]


def test_arms_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("item_id,score,model\nq1,1,b\nq1,0,a\nq2,1,b\nq2,1,a\n")
    found = read_files(path, Choice(columns={"arm": "model"}))
    assert [(file.header.arm, list(file.scores.value)) for file in found] == [("b", [1, 1]), ("a", [0, 1])]


def test_cells_without_a_score(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("item_id,score\nq1,\nq2,NaN\nq3,n/a\nq4,True\n")
    found = read_one(path, Choice(allow_missing=True)).scores.value
    assert [math.isnan(value) for value in found] == [True, True, True, False]
    with pytest.raises(UserError, match=r"scores.csv:2: score is null; a finite number is needed. --missing drop"):
        read_files(path, Choice())


REFUSED: dict[str, tuple[str, dict[str, str], str]] = {
    "no-such-column": (
        "item_id,scores\nq,1\n",
        {"score": "score"},
        "--score: unknown column 'score'. Did you mean 'scores'",
    ),
    "no-score": ("item_id,acc\nq,1\n", {}, "no column score; the columns are acc, item_id"),
    "text": ("item_id,score\nq,good\n", {}, ':2: score is the text "good"'),
    "thousands": ('item_id,score\nq,"1,234"\n', {}, ':2: score is the text "1,234"; a number with a decimal point'),
    "comma": ("item_id;score\nq;0,5\n", {}, ':2: score is the text "0,5"'),
    "infinite": ("item_id,score\nq,inf\n", {}, ":2: score is Infinity"),
    "underscore": ("item_id,score\nq,1_0\n", {}, ':2: score is the text "1_0"'),
    "twice": (
        "item_id,score\nq,1\np,1\nq,0\n",
        {},
        ":4: item_id 'q' is on line 2 too, with the same train_seed and sample",
    ),
    "heading-twice": ("item_id,score,score\nq,1,0\n", {}, ":1: the column 'score' occurs twice"),
    "heading-again": ("item_id,score\nq,1\nitem_id,score\n", {}, ':3: score is the text "score"'),
    "short": ("item_id,score\nq\n", {}, ":2: 1 cells, and the heading has 2"),
    "no-id": ("item_id,score\n,1\n", {}, ':2: item_id is ""; a string or an integer is needed'),
    "models": (
        "item_id,score,model\nq,1,x\np,1,y\n",
        {},
        ':3: the column model is "y" here and "x" on line 2: one side of a comparison has one model. --arm model',
    ),
    "two-users": (
        "item_id,score,sample,who\nq,1,0,u\nq,1,1,v\n",
        {"user": "who"},
        ":3: item 'q' has who 'v', but 'u' on line 2",
    ),
    "half-sample": ("item_id,score,sample\nq,1,0.5\n", {}, ':2: sample is "0.5"; an integer is needed'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    text, columns, message = REFUSED[name]
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_files(path, Choice(columns=columns))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [6, 60])
def test_a_damaged_parquet_file(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet(path, ROWS)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="damaged or incomplete Parquet file"):
        read_files(path, Choice(columns=COLUMNS))


def test_a_text_that_map_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"item_id": 1, "score": "C"}\n{"item_id": 2, "score": "X"}\n')
    with pytest.raises(UserError, match=r't.jsonl:2: score is the text "X", and --map gives a score for C, I only'):
        read_files(path, Choice(values={"C": 1.0, "I": 0.0}))


def test_a_metric_of_a_table_is_its_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item_id,score\nq,1\n")
    with pytest.raises(
        UserError, match=r"--metric em: a file of the format table has none\. Name its columns with --item"
    ):
        read_files(path, Choice(metric="em"))
