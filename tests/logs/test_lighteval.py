"""lighteval's details. Those in tests/logs/data/lighteval were written by the tracker of lighteval 0.13."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import ROOT

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.score_files.compare import Settings, compare_scores

LOGS = ROOT / "tests/logs/data/lighteval"
SMALL, LARGE = (LOGS / "details/org" / name for name in ("small", "large"))
EXACT = Settings("micro", "error", None, 0.05, 0)


def read_one(path: Path, choice: Choice) -> ScoreFile:
    (found,) = read_files(path, choice)
    return found


def changed(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    (file,) = SMALL.rglob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("model", ["small", "large"])
@pytest.mark.parametrize("metric", ["acc", "acc_norm", "extractive_match"])
def test_the_mean_is_that_of_lighteval(model: str, metric: str) -> None:
    """Each document is in the file twice: once with the metric of the text, once with those of the likelihoods."""
    (results,) = (LOGS / "results/org" / model).glob("results_*.json")
    own = json.loads(results.read_text())["results"]["made|0"][metric]
    found = read_one(LOGS / "details/org" / model, Choice(metric))
    assert found.scores.value.mean() == pytest.approx(own)
    assert (len(found.scores.item), found.repeated, found.header.arm) == (9, 1, f"org/{model}")


def test_folders_are_compared_by_query() -> None:
    choice = Choice("acc", columns={"user": "doc.specific.user"})
    (found,) = compare_scores([SMALL, LARGE], choice, EXACT)
    assert (found.name, found.comparison.n_items, found.comparison.n_clusters) == ("org/large", 9, 3)


def test_a_document_without_any_score(tmp_path: Path) -> None:
    def remove(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["doc"]["id"] == "0":
                row["metric"]["acc"] = None

    path = changed(tmp_path / "d.parquet", remove)
    with pytest.raises(UserError, match=r"d.parquet, row \d+: acc is null; .*--missing drop"):
        read_files(path, Choice("acc"))
    assert len(read_one(path, Choice("acc", allow_missing=True)).scores.item) == 9


def test_a_document_scored_twice(tmp_path: Path) -> None:
    path = changed(tmp_path / "d.parquet", lambda rows: rows.extend(rows[-1:]))
    with pytest.raises(UserError, match=r"d.parquet, row 19: the document '\d' has acc on row 18 too"):
        read_files(path, Choice("acc"))


def test_a_metric_of_the_whole_corpus(tmp_path: Path) -> None:
    def corpus(rows: list[dict[str, Any]]) -> None:
        rows[:] = [{**row, "metric": {"f1": {"golds": [1]}}} for row in rows if row["metric"]["acc"] is None]

    path = changed(tmp_path / "d.parquet", corpus)
    with pytest.raises(UserError, match=r'd.parquet, row \d+: f1 is {"golds": \[1\]}; a finite number is needed'):
        read_files(path, Choice())


def test_metrics_and_models_need_a_choice() -> None:
    with pytest.raises(UserError, match="choose a metric with --metric: extractive_match, acc, acc_norm"):
        read_files(SMALL, Choice())
    with pytest.raises(UserError, match="unknown metric 'acc_nrm'"):
        read_files(SMALL, Choice("acc_nrm"))
    with pytest.raises(UserError, match=r"details of several models \(org/large, org/small\)"):
        read_files(LOGS, Choice("acc"))


def test_tasks_need_a_choice_and_the_newest_date_counts(tmp_path: Path) -> None:
    folder = tmp_path / "details/org/small/2030-01-01T00-00-00.000000"
    shutil.copytree(SMALL, tmp_path / "details/org/small")
    folder.mkdir()
    changed(folder / f"details_made|0_{folder.name}.parquet", lambda rows: rows.__delitem__(slice(1, None)))
    assert len(read_one(tmp_path, Choice("extractive_match")).scores.item) == 1
    changed(folder / f"details_other|0_{folder.name}.parquet", lambda _: None)
    with pytest.raises(UserError, match=r"2 tasks; choose one with --task: made\|0, other\|0"):
        read_files(tmp_path, Choice("acc"))
    other = read_one(tmp_path, Choice("acc", task="other*"))
    assert len(other.scores.item) == 9
    with pytest.raises(NotComparableError, match="the task is"):
        compare_scores([next(SMALL.rglob("*.parquet")), next(folder.glob("*other*"))], Choice("acc"), EXACT)
