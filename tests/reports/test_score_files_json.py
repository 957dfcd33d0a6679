"""`mipo-bench compare` as JSON and CSV: the same figures as the comparison in Python."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from score_rows import GRADED, Row, graded, values, write

from mipo_bench.reports.stats import Scores, compare


def as_json(arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    printed = run(f"compare {arguments} --json", capsys)
    assert (printed.err, printed.code) == ("", 0)
    record: dict[str, Any] = json.loads(printed.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return record


def arm(rows: Iterable[Row]) -> Scores:
    columns = {key: [row[key] for row in rows] for key in next(iter(rows))}
    return Scores.from_columns(columns["item_id"], columns["score"], columns.get("user_id"), columns.get("train_seed"))


def test_json_is_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, GRADED)
    monkeypatch.chdir(tmp_path)
    record = as_json("base.jsonl one-seed.jsonl", capsys)
    keys = "delta ci_low ci_high p_value test n_items n_clusters n_seeds mde effect_size only_base only_method"
    assert set(f"{keys} average warnings p_holm base method relative_delta".split()) <= set(record)
    assert "noninferior" not in record
    assert [warning["code"] for warning in record["warnings"]] == ["single_checkpoint"]
    assert all(set(warning) == {"code", "message"} for warning in record["warnings"])
    base, method = GRADED["base.jsonl"], GRADED["one-seed.jsonl"]
    assert isinstance(base, list)
    assert isinstance(method, list)
    found = compare(arm(base), arm(method))
    assert (record["delta"], record["ci_low"], record["p_value"]) == (found.delta, found.ci_low, found.p_value)
    margin = as_json("base.jsonl one-seed.jsonl --margin 0.05 --average macro", capsys)
    assert margin["noninferior"] is True
    assert margin["p_noninferiority"] < 0.05
    assert margin["average"] == "macro"


def test_json_is_a_format_and_excludes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, GRADED)
    monkeypatch.chdir(tmp_path)
    command = "compare base.jsonl one-seed.jsonl"
    assert run(f"{command} --format json", capsys).out == run(f"{command} --json", capsys).out
    refused = run(f"{command} --json --format csv", capsys)
    assert (refused.out, refused.code) == ("", 2)
    assert "--format csv" in refused.err


def test_csv_has_what_json_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, GRADED)
    monkeypatch.chdir(tmp_path)
    files = "base.jsonl mipo-random.jsonl one-seed.jsonl --margin 0.06"
    rows = list(csv.DictReader(io.StringIO(run(f"compare {files} --format csv", capsys).out)))
    records = as_json(files, capsys)["comparisons"]
    assert [set(row) for row in rows] == [set(record) for record in records]
    for row, record in zip(rows, records, strict=True):
        assert (row["base"], row["method"]) == (record["base"], record["method"])
        assert float(row["delta"]) == record["delta"]
        assert float(row["p_holm"]) == record["p_holm"]
        assert row["warnings"].split(";") == [w["code"] for w in record["warnings"]] or not record["warnings"]


def test_json_of_several_methods_is_a_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, GRADED)
    monkeypatch.chdir(tmp_path)
    record = as_json("base.jsonl mipo-random.jsonl mipo-missing.jsonl one-seed.jsonl", capsys)
    raw = [row["p_value"] for row in record["comparisons"]]
    assert record["family_size"] == 3
    assert [row["method"] for row in record["comparisons"]] == [name for name in GRADED if name != "base.jsonl"]
    assert min(row["p_holm"] for row in record["comparisons"]) == pytest.approx(3 * min(raw))


def test_undefined_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"base.jsonl": values(0), "method.jsonl": values(1)})
    monkeypatch.chdir(tmp_path)
    record = as_json("base.jsonl method.jsonl", capsys)
    assert all(record[key] is None for key in ("p_value", "ci_low", "ci_high", "mde", "effect_size", "relative_delta"))
    assert "untestable" in [warning["code"] for warning in record["warnings"]]


def test_the_seed_moves_only_drawn_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"base.jsonl": graded(1), "method.jsonl": graded(9, 0.02)})
    loose = {
        name: [{k: v for k, v in row.items() if k != "user_id"} for row in graded(s)]
        for name, s in (("a", 1), ("b", 9))
    }
    write(tmp_path, dict(loose))
    monkeypatch.chdir(tmp_path)
    users = [as_json(f"base.jsonl method.jsonl --seed {seed}", capsys)["p_value"] for seed in (1, 1, 2)]
    items = [as_json(f"a b --seed {seed}", capsys)["p_value"] for seed in (1, 1, 2)]
    assert users[0] == users[1] == users[2]
    assert items[0] == items[1] != items[2]
