"""HELM's runs. Those in tests/logs/data/helm were written by the records of HELM 0.5.16."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.score_files.compare import Settings, compare_scores

RUNS = ROOT / "tests/logs/data/helm"
EXACT = Settings("micro", "error", None, 0.05, 0)
Rows = list[dict[str, Any]]


def read_one(path: Path, choice: Choice) -> ScoreFile:
    (found,) = read_files(path, choice)
    return found


def changed(tmp_path: Path, change: Callable[[Any], object], name: str = "per_instance_stats.json") -> Path:
    folder = tmp_path / "changed"
    shutil.copytree(RUNS / "small", folder)
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("model", ["small", "large"])
def test_the_mean_is_that_of_helm(model: str) -> None:
    (own,) = json.loads((RUNS / model / "stats.json").read_text())
    found = read_one(RUNS / model, Choice(own["name"]["name"]))
    assert found.scores.value.mean() == pytest.approx(own["mean"])
    assert (len(set(found.scores.item)), len(found.scores.item), found.header.arm) == (6, 12, f"org/{model}")
    assert [note.code for note in found.header.notes] == ["train_trials"]


def test_runs_are_compared() -> None:
    (found,) = compare_scores([RUNS / "small/per_instance_stats.json", RUNS / "large"], Choice("exact_match"), EXACT)
    assert (found.name, found.comparison.n_items) == ("org/large", 6)


def differ(rows: Rows) -> None:
    rows[1]["stats"][0]["mean"] = 1 - rows[1]["stats"][0]["mean"]


def perturb(rows: Rows) -> None:
    rows.append({**rows[0], "perturbation": {"name": "typos"}})


REFUSED: dict[str, tuple[Callable[[Rows], object], Choice, str]] = {
    "several": (
        lambda _: None,
        Choice(),
        "choose a metric with --metric: exact_match, ifeval_strict, num_prompt_tokens",
    ),
    "unknown": (lambda _: None, Choice("exact"), "unknown metric 'exact'. Did you mean 'exact_match'"),
    "two values": (differ, Choice("exact_match"), ", row 2: exact_match of id0 is"),
    "perturbed": (perturb, Choice("exact_match"), "perturbed instances; choose with --filter: none, typos"),
    "count": (
        lambda rows: rows[0]["stats"][0].update(count=3),
        Choice("exact_match"),
        ", row 1: exact_match is a mean of 3 values",
    ),
    "left out": (
        lambda rows: [rows[k]["stats"].pop(0) for k in (0, 1)],
        Choice("exact_match"),
        ", row 1: exact_match is null; a finite number is needed. --missing drop",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    change, choice, message = REFUSED[name]
    with pytest.raises(UserError) as error:
        read_files(changed(tmp_path, change), choice)
    assert message in str(error.value)


def test_a_perturbation_is_chosen(tmp_path: Path) -> None:
    folder = changed(tmp_path, perturb)
    assert len(read_one(folder, Choice("exact_match", filter="none")).scores.item) == 12
    assert len(read_one(folder, Choice("exact_match", filter="typos")).scores.item) == 1


def test_other_splits_are_left_out(tmp_path: Path) -> None:
    def split(rows: Rows) -> None:
        other = {**rows[0]["stats"][0], "name": {"name": "exact_match", "split": "valid"}, "mean": 7}
        rows.append({**rows[0], "instance_id": "id99", "stats": [other]})

    assert "id99" not in read_one(changed(tmp_path, split), Choice("exact_match")).scores.item


def test_another_scenario_is_not_comparable(tmp_path: Path) -> None:
    folder = changed(tmp_path, lambda run: run["scenario_spec"]["args"].update(subject="law"), "run_spec.json")
    with pytest.raises(NotComparableError, match=r"the scenario is .*sums.* in the first and .*law"):
        compare_scores([RUNS / "small", folder], Choice("exact_match"), EXACT)


def test_without_a_run_spec_ids_mean_nothing(tmp_path: Path) -> None:
    folder = changed(tmp_path, lambda _: None)
    (folder / "run_spec.json").unlink()
    with pytest.raises(UserError, match=r"no run_spec.json beside it"):
        read_files(folder, Choice("exact_match"))


def test_several_runs() -> None:
    with pytest.raises(UserError, match=r"several runs \(large, small\); name the folder of one"):
        read_files(RUNS, Choice("exact_match"))


def test_options_that_helm_has_no_use_for() -> None:
    for choice in (Choice("exact_match", task="t"), Choice("exact_match", columns={"user": "u"})):
        with pytest.raises(UserError, match=r"--(task t|user u): a file of the format HELM has none\."):
            read_files(RUNS / "small", choice)
