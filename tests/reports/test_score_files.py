"""`mipo-bench compare`: its output, errors and exit codes, and the memory it needs.

See `golden_files` for how its files are written anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from golden_files import Printed, check_golden, run
from paths import GOLDEN
from score_rows import GRADED, Files, Row, binary, graded, lm_eval, values, write

from mipo_bench.reports.logs.record import Choice
from mipo_bench.reports.score_files.compare import Settings, compare_scores

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
    "truth-values": (PAIR, {"base.jsonl": values(True, False, False), "method.jsonl": values(True, True, 1.0)}),
    "pandas": (
        PAIR,
        {
            "base.jsonl": [{"item_id": i, "score": i % 2, "user_id": i % 3} for i in range(6)],
            "method.jsonl": [
                {"item_id": float(i), "score": 1.0, "user_id": float(i % 3), "train_seed": 0.0} for i in range(6)
            ],
        },
    ),
    "csv": (
        "compare base.csv method.csv",
        {
            "base.csv": "item_id,user_id,score\n007,u1,0.5\n8,u1,False\n9,u2,1\n",
            "method.csv": "item_id;user_id;score\n9;u2;1\n007;u1;True\n8;u1;1e-1\n",
        },
    ),
    "two-items": (PAIR, {"base.jsonl": values(0.5, 0), "method.jsonl": values(1, 0.25)}),
    "repeated-unevenly": (
        f"{PAIR} --missing drop",
        {"base.jsonl": lm_eval(1, 0.4), "method.jsonl": lm_eval(2, 0.7)[:8] + lm_eval(2, 0.7)[9:]},
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
    "nothing-shared": (
        f"{PAIR} --missing zero",
        {"base.jsonl": values(1, 0, 1), "method.jsonl": [{"item_id": 1.0, "score": 1}]},
    ),
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
    "object": (PAIR, ONE | {"method.jsonl": values(0.5, {"value": "C"})}),
    "half-id": (PAIR, ONE | {"method.jsonl": [{"item_id": 0.5, "score": 1}]}),
    "nothing-but-null": (f"{PAIR} --missing zero", ONE | {"method.jsonl": values(None, None)}),
    "other-target": (
        PAIR,
        {
            "base.jsonl": lm_eval(1, 0.5),
            "method.jsonl": [{**r, "target_hash": "u" if r["doc_id"] > 20 else "t"} for r in lm_eval(2, 0.5)],
        },
    ),
    "old-lm-eval": (PAIR, {"base.jsonl": [{"doc_id": 0, "doc": {}, "target": "1", "acc": 1.0}]}),
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
    "heading-alone": (PAIR, ONE | {"method.jsonl": "item_id,score\n"}),
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


def test_the_mean_of_repeated_documents_is_that_of_lm_eval(tmp_path: Path) -> None:
    """lm-eval's headline is the mean over all rows, and document 8 repeats document 3."""
    rows = {name: lm_eval(seed, 0.5) for name, seed in (("base", 1), ("method", 2))}
    files = {name: tmp_path / f"{name}.jsonl" for name in rows}
    write(tmp_path, {f"{name}.jsonl": list(reversed(some)) for name, some in rows.items()})
    settings = Settings("micro", "error", None, 0.05, 0)
    (found,) = compare_scores([files["base"], files["method"]], Choice(), settings)
    means = [sum(row["acc"] for row in some) / 30 for some in rows.values()]
    assert [found.comparison.base_mean, found.comparison.method_mean] == pytest.approx(means)
    assert (found.comparison.n_items, found.comparison.n_clusters) == (30, 29)
    pairs = [tuple(some[i]["acc"] for some in rows.values()) for i in (3, 8)]
    assert sum(b < m for b, m in pairs) + sum(b > m for b, m in pairs) > 0  # the order of the file is not that of ids
    wins = [sum(b < m for b, m in zip(*(column(r) for r in rows.values()), strict=True))]
    assert found.comparison.only_method == wins[0]


def column(rows: list[Row]) -> list[float]:
    return [row["acc"] for row in rows]


def rounded(printed: Printed) -> Printed:
    """Numbers rounded to six digits, because the last digits depend on the machine."""
    out = re.sub(r"\d+\.\d{7,}(e-\d+)?", lambda number: f"{float(number[0]):.6g}", printed.out)
    return replace(printed, out=out)


def test_golden_files_all_belong_to_a_test() -> None:
    assert {path.stem for path in (GOLDEN / "compare").iterdir()} == set(GOOD) | set(BAD) | set(FORMATS)


STREAM = """
import resource, sys
from pathlib import Path
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

small, large = (Path(name) for name in sys.argv[1:])
read_files(small, Choice())
before = peak()
scores = read_files(large, Choice())[0].scores
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
