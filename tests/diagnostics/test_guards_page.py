"""Mutual information and guards on the pages of a report."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from golden_files import check_golden, run
from made_reports import Made

from mipo_bench.reports.analysis.information import InformationBlock
from mipo_bench.reports.records.guards import GuardRecord, MarginRecord, NearRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.information import InformationRecord, MeasuredRecord, Weights
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import to_json

CONTEXTS = [1, 4, 16]


def measured(report: Report, method: str, seed: int | None, weights: Weights, mean: float) -> MeasuredRecord:
    rng = random.Random(f"{method} {seed} {weights}")
    items = report.tasks[1].items
    rows = [[round(mean + 4 / k + rng.gauss(0, 1), 4) for _ in items] for k in CONTEXTS]
    return MeasuredRecord(method=method, train_seed=seed, weights=weights, pmi=rows)


def informed(report: Report) -> InformationRecord:
    """Information on the users' task: training adds two nats under the trained model, and one under the base model."""
    task = report.tasks[1]
    cells = [measured(report, "profile", None, "own", 1.0)]
    for seed in (0, 1):
        cells.append(measured(report, "mipo-random", seed, "own", 3.0))
        cells.append(measured(report, "mipo-random", seed, "base", 2.0))
    scores = {(a.method, a.train_seed): np.array(a.scores) for a in report.arms if a.task == task.name}
    block = InformationBlock(CONTEXTS, task.items, task.users, cells, "micro", 0.05)
    return InformationRecord(
        task=task.name,
        over="contexts",
        reference="profile",
        contexts=CONTEXTS,
        items=task.items,
        left_out=1,
        temperature=None,
        end=True,
        measured=cells,
        estimates=block.estimates(),
        changes=block.changes("profile", scores),
    )


def guarded() -> GuardRecord:
    """Guards with every figure beyond its threshold."""
    figures = {"responses": 36, "matched": 30, "matched_words": 12, "distinct_1": 0.2, "measured": 36}
    usual = {"empty": 0, "distinct_2": 0.6, "self_bleu": 0.3, "perplexity": 2.5}
    worse = {"empty": 2, "distinct_2": 0.3, "self_bleu": 0.5, "perplexity": 7.5}
    near = [NearRecord(evaluation="persona-001", training="train-17", similarity=0.91)]
    return GuardRecord(
        task="persona",
        overlap=[
            OverlapRecord(of="prompts", evaluation=36, training=80, same=0, near=3, examples=near),
            OverlapRecord(of="users", evaluation=12, training=40, same=0, near=0),
        ],
        wording=[
            WordingRecord.model_validate({"method": "profile", **figures, **usual}),
            WordingRecord.model_validate({"method": "mipo-random", **figures, **worse}),
        ],
        margins=[MarginRecord(recipe="mipo-random", pairs=100, margin=12.5, accuracy=0.99)],
    )


def test_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    report = Made(suites=("math", "personalized"), gains={"mipo-random": -0.3}, train_seeds=(0, 1)).report()
    report = report.model_copy(update={"information": [informed(report)], "guards": [guarded()]})
    (tmp_path / "report.json").write_text(to_json(report), encoding="utf-8")
    command = "show report.json"
    check_golden("show/guards.txt", run(command, capsys).text(command))
