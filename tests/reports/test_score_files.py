"""`mipo-bench compare`: its output, errors and exit codes.

See `golden_files` for how its files are written anew.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden_files import Printed, check_golden, run
from paths import GOLDEN

from mipo_bench.reports.stats import Scores, compare

Row = dict[str, Any]  # one line of a score file


def graded(seed: int, gain: float = 0.0, train_seeds: Sequence[int] = ()) -> list[Row]:
    """40 items of 10 users; each training seed has its own offset."""
    rng, noise = random.Random(1), random.Random(seed)
    rows: list[Row] = [
        {"item_id": f"q{i}", "score": round(rng.random(), 2), "user_id": f"u{i % 10}"} for i in range(40)
    ]
    if not train_seeds:
        return [{**row, "score": round(row["score"] + noise.gauss(gain, 0.1), 3)} for row in rows]
    return [
        {**row, "score": round(row["score"] + noise.gauss(gain + 0.01 * s, 0.1), 3), "train_seed": s}
        for s in train_seeds
        for row in rows
    ]


def binary(seed: int, rate: float) -> list[Row]:
    rng = random.Random(seed)
    return [{"item_id": i, "score": int(rng.random() < rate)} for i in range(60)]


def lm_eval(seed: int, rate: float, filters: Sequence[str] = ("none",), metrics: Sequence[str] = ("acc",)) -> list[Row]:
    """Rows in the format of `lm_eval --log_samples`; document 8 repeats document 3."""
    rng = random.Random(seed)
    return [
        {
            "doc_id": i,
            "doc": {"question": f"{3 if i == 8 else i} + 1?"},
            "target": "x",
            "arguments": [["prompt", {"until": ["\n"]}]],
            "resps": [["5"]],
            "filtered_resps": ["5"],
            "filter": name,
            "metrics": list(metrics),
            "doc_hash": f"{3 if i == 8 else i:04x}",
            "prompt_hash": "p",
            "target_hash": "t",
            **{metric: float(rng.random() < rate) for metric in metrics},
        }
        for name in filters
        for i in range(30)
    ]


def values(*scores: object, start: int = 0) -> list[Row]:
    return [{"item_id": f"q{start + i}", "score": score} for i, score in enumerate(scores)]


Files = dict[str, "list[Row] | str"]
GRADED: Files = {
    "base.jsonl": graded(2),
    "mipo-random.jsonl": graded(3, 0.08, (0, 1, 2)),
    "mipo-missing.jsonl": graded(4, 0.0, (0, 1, 2)),
    "one-seed.jsonl": graded(5, 0.05, (0,)),
}
MANY = "compare base.jsonl mipo-random.jsonl mipo-missing.jsonl one-seed.jsonl"
PAIR = "compare base.jsonl method.jsonl"
LONG = "a-file-whose-name-is-much-longer-than-any-table-can-show-it.jsonl"
RED = "\x1b[31mred"
HALVES = [0.5, 0.25, 0.75, 0.5, 0.5, 0.25]
HOSTILE = f"compare base.jsonl {LONG} '{RED}' '=1+2|x' --missing drop"
NAMES_OF_OTHERS: Files = {
    "base.jsonl": values(*HALVES),
    LONG: values(*HALVES),
    RED: [*values(*HALVES), {"item_id": RED, "score": 1}],
    "=1+2|x": values(*HALVES[1:], 1),
}

GOOD: dict[str, tuple[str, Files]] = {
    "several-methods": (MANY, GRADED),
    "margin-and-users": (f"{MANY} --margin 0.03 --average macro --alpha 0.1", GRADED),
    "one-method": ("compare base.jsonl mipo-random.jsonl", GRADED),
    "trained-base": ("compare mipo-missing.jsonl mipo-random.jsonl", GRADED),
    "binary": (PAIR, {"base.jsonl": binary(1, 0.4), "method.jsonl": binary(2, 0.7)}),
    "lm-eval": (PAIR, {"base.jsonl": lm_eval(1, 0.4), "method.jsonl": lm_eval(2, 0.7)}),
    "lm-eval-choice": (
        f"{PAIR} --metric em --filter strict",
        {
            "base.jsonl": lm_eval(1, 0.4, ("flexible", "strict"), ("em", "f1")),
            "method.jsonl": lm_eval(2, 0.7, ("strict", "flexible"), ("f1", "em")),
        },
    ),
    "drop": (
        f"{PAIR} --missing drop",
        {"base.jsonl": values(*HALVES, 0.1), "method.jsonl": values(*HALVES[1:], None, 1)},
    ),
    "zero": (f"{PAIR} --missing zero", {"base.jsonl": values(*HALVES), "method.jsonl": values(*HALVES, start=2)}),
    "identical": (PAIR, {"base.jsonl": values(*HALVES), "method.jsonl": values(*HALVES)}),
    "constant-shift": (
        PAIR,
        {"base.jsonl": values(*HALVES[:5]), "method.jsonl": values(*(h + 0.1 for h in HALVES[:5]))},
    ),
    "one-item": (PAIR, {"base.jsonl": values(0), "method.jsonl": values(1)}),
    "samples": (
        PAIR,
        {
            "base.jsonl": values(0, 0, 0, 1, 0, 1, 0, 0),
            "method.jsonl": [{**row, "sample": s} for s in (0, 1) for row in values(s, 1, 1, 1, s, 1, 1, 1)],
        },
    ),
    "names-of-others": (f"{HOSTILE} --format terminal", NAMES_OF_OTHERS),
}
FORMATS: dict[str, tuple[str, Files]] = {
    **{
        f"several-methods-{form}": (f"{MANY} --margin 0.06 --format {form}", GRADED)
        for form in ("markdown", "latex", "csv")
    },
    **{
        f"names-of-others-{form}": (f"{HOSTILE} --format {form}", NAMES_OF_OTHERS)
        for form in ("markdown", "latex", "csv")
    },
}

ONE: Files = {"base.jsonl": values(0.5, 0.25)}
BAD: dict[str, tuple[str, Files]] = {
    "duplicate": (PAIR, ONE | {"method.jsonl": [*values(0.5, 0.25), *values(0.75)]}),
    "duplicate-sample": (
        PAIR,
        ONE | {"method.jsonl": [{**row, "sample": 0, "train_seed": 1} for row in values(0, 1) + values(1)]},
    ),
    "duplicate-document": (
        PAIR,
        {"base.jsonl": lm_eval(1, 0.5), "method.jsonl": lm_eval(1, 0.5) + lm_eval(1, 0.5)[:1]},
    ),
    "one-sided": (PAIR, {"base.jsonl": values(1, 0, 1), "method.jsonl": values(1, 0, 1, 1, 0, 1, 0, 1, start=1)}),
    "one-sided-seed": (
        PAIR,
        ONE
        | {
            "method.jsonl": [{**r, "train_seed": 0} for r in values(1, 0)]
            + [{"item_id": "q0", "score": 1, "train_seed": 1}]
        },
    ),
    "other-seeds": (PAIR, {"base.jsonl": graded(1, 0, (0, 1)), "method.jsonl": graded(1, 0, (1, 2))}),
    "text": (PAIR, ONE | {"method.jsonl": values(0.5, "0.25")}),
    "true": (PAIR, ONE | {"method.jsonl": values(0.5, True)}),
    "list": (PAIR, ONE | {"method.jsonl": values(0.5, list(range(100)))}),
    "null": (PAIR, ONE | {"method.jsonl": values(0.5, None)}),
    "nan": (PAIR, ONE | {"method.jsonl": values(float("nan"), 0.5)}),
    "infinite": (f"{PAIR} --missing drop", ONE | {"method.jsonl": values(0.5, float("-inf"))}),
    "huge": (PAIR, ONE | {"method.jsonl": values(0.5, 10**400)}),
    "two-users": (
        PAIR,
        ONE | {"method.jsonl": [{**values(1)[0], "user_id": u, "sample": i} for i, u in enumerate("uv")]},
    ),
    "other-user": (
        PAIR,
        {"base.jsonl": graded(1), "method.jsonl": graded(1)[:5] + [{**row, "user_id": 99} for row in graded(1)[5:]]},
    ),
    "some-users": (PAIR, ONE | {"method.jsonl": [{**values(1)[0], "user_id": "u"}, *values(0, start=1)]}),
    "seed-as-text": (PAIR, ONE | {"method.jsonl": [{**values(1)[0], "train_seed": "0"}]}),
    "no-id": (PAIR, ONE | {"method.jsonl": [*values(1), {"id": "q1", "score": 1}]}),
    "no-format": (PAIR, ONE | {"method.jsonl": [{"id": "q1", "value": 1}]}),
    "no-score": (PAIR, ONE | {"method.jsonl": [{"item_id": "q1", "value": 1}]}),
    "empty": (PAIR, ONE | {"method.jsonl": "\n\n"}),
    "no-json": (PAIR, ONE | {"method.jsonl": '{"item_id": "q0", "score": 1}\n{"item_id": "q1", '}),
    "no-object": (PAIR, ONE | {"method.jsonl": '[{"item_id": "q0", "score": 1}]\n'}),
    "no-utf8": (PAIR, ONE | {"method.jsonl": '{"item_id": "\udcff", "score": 1}\n'}),
    "no-file": (PAIR, ONE),
    "folder": ("compare base.jsonl .", ONE),
    "metrics": (PAIR, {"base.jsonl": lm_eval(1, 0.4, metrics=("acc", "acc_norm"))}),
    "unknown-metric": (f"{PAIR} --metric acc_nrm", {"base.jsonl": lm_eval(1, 0.4, metrics=("acc", "acc_norm"))}),
    "filters": (PAIR, {"base.jsonl": lm_eval(1, 0.4, filters=("strict-match", "flexible-extract"))}),
    "unknown-filter": (
        f"{PAIR} --filter strict",
        {"base.jsonl": lm_eval(1, 0.4, filters=("strict-match", "flexible"))},
    ),
    "other-metric": (PAIR, {"base.jsonl": lm_eval(1, 0.4), "method.jsonl": lm_eval(1, 0.4, metrics=("em",))}),
    "other-filter": (PAIR, {"base.jsonl": lm_eval(1, 0.4), "method.jsonl": lm_eval(1, 0.4, filters=("strict",))}),
    "list-metric": (
        f"{PAIR} --metric f1",
        {"base.jsonl": [{**row, "f1": [1, 0]} for row in lm_eval(1, 0.4, metrics=("f1",))]},
    ),
    "metric-of-own-rows": (f"{PAIR} --metric acc", ONE),
    "alpha": (f"{PAIR} --alpha 5", ONE | {"method.jsonl": values(0.5, 0.5)}),
    "margin": (f"{PAIR} --margin -0.1", ONE | {"method.jsonl": values(0.5, 0.5)}),
}


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize(("name", "expected"), [*((n, 0) for n in GOOD | FORMATS), *((n, 2) for n in BAD)])
def test_golden(
    name: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, files = (GOOD | BAD | FORMATS)[name]
    write(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    printed = rounded(run(command, capsys))
    assert printed.code == expected, printed.err
    assert name in FORMATS or all(len(line) <= 80 for line in printed.out.splitlines())
    assert (printed.out == "") == (printed.err != "")
    assert "\x1b" not in printed.out
    check_golden(f"compare/{name}.txt", printed.text(command.replace(RED, repr(RED))))


def rounded(printed: Printed) -> Printed:
    """Numbers rounded to six digits, because the last digits depend on the machine."""
    out = re.sub(r"\d+\.\d{7,}(e-\d+)?", lambda number: f"{float(number[0]):.6g}", printed.out)
    return replace(printed, out=out)


def test_golden_files_all_belong_to_a_test() -> None:
    assert {path.stem for path in (GOLDEN / "compare").iterdir()} == set(GOOD) | set(BAD) | set(FORMATS)


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
    write(tmp_path, GOOD["one-item"][1])
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


STREAM = """
import resource, sys
from pathlib import Path
from mipo_bench.reports.score_files.read import MetricChoice, read_scores

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

small, large = (Path(name) for name in sys.argv[1:])
read_scores(small, MetricChoice())
before = peak()
scores = read_scores(large, MetricChoice()).scores
print(len(scores.item), peak() - before)
"""


@pytest.mark.slow
def test_a_large_file_streams(tmp_path: Path) -> None:
    """Reading 60 MB of long documents keeps only a few numbers per row in memory."""
    row = json.dumps({**lm_eval(1, 0.5)[0], "doc": {"text": "x" * 60_000}})
    for name, count in (("small", 1), ("large", 1000)):
        lines = (row.replace('"0000"', f'"{i:04x}"') + "\n" for i in range(count))
        with (tmp_path / name).open("w") as stream:
            stream.writelines(lines)
    command = [sys.executable, "-c", STREAM, str(tmp_path / "small"), str(tmp_path / "large")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows, grown = (int(figure) for figure in printed.split())
    assert rows == 1000
    assert grown < 10  # MiB
