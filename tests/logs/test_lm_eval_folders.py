"""lm-eval's output folders. Those in tests/logs/data/lm_eval were made by lm-eval 0.4.13 with its model `dummy`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.score_files.compare import Pairing, Settings, compare_scores

LOGS = ROOT / "tests/logs/data/lm_eval"
EXACT = Settings("micro", "error", None, 0.05, 0)
SUMS = Choice("acc", task="made_sums")


def read_one(path: Path, choice: Choice) -> ScoreFile:
    (found,) = read_files(path, choice)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LOGS / "org__small", tmp_path / "small"))


def change_results(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    (path,) = folder.glob("results_*.json")
    results = json.loads(path.read_text())
    change(results)
    path.write_text(json.dumps(results))


@pytest.mark.parametrize("model", ["small", "large"])
@pytest.mark.parametrize(("task", "metric"), [("made_sums", "acc"), ("made_words", "exact_match")])
def test_the_mean_is_that_of_lm_eval(model: str, task: str, metric: str) -> None:
    folder = LOGS / f"org__{model}"
    results = json.loads(next(folder.glob("results_*.json")).read_text())["results"][task]
    found = read_one(folder, Choice(metric, task=task))
    assert found.scores.value.mean() == pytest.approx(results[f"{metric},none"])
    assert (found.header.arm, found.header.filter, found.repeated) == (f"org/{model}", "none", 1)


def test_a_file_in_its_folder_is_the_same() -> None:
    (path,) = (LOGS / "org__small").glob("samples_made_sums_*.jsonl")
    assert list(read_one(path, Choice("acc")).scores.value) == list(read_one(LOGS / "org__small", SUMS).scores.value)


def test_folders_are_compared() -> None:
    (found,) = compare_scores([LOGS / "org__small", LOGS / "org__large"], SUMS, EXACT)
    assert (found.name, found.comparison.n_items, found.comparison.n_clusters) == ("org/large", 9, 8)
    assert found.comparison.delta == pytest.approx(2 / 9)


def test_several_tasks_need_a_choice() -> None:
    with pytest.raises(UserError, match=r"3 tasks; choose one with --task, .*: made_sums, made_text, made_words"):
        read_files(LOGS / "org__small", Choice())
    with pytest.raises(UserError, match=r"unknown task 'made_sum'\. Did you mean 'made_sums'"):
        read_files(LOGS / "org__small", Choice(task="made_sum"))


def test_tasks_of_one_pattern_are_pooled(folder: Path) -> None:
    """The mean is lm-eval's for a group of tasks: each document weighs the same."""
    for path in list(folder.glob("samples_made_sums_*")):
        rows = [{**json.loads(line), "doc_hash": f"n{i}"} for i, line in enumerate(path.read_text().splitlines()[:4])]
        other = path.with_name(path.name.replace("made_sums", "made_sums_more"))
        other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_one(folder, Choice("acc", task="made_sums*"))
    assert len(found.scores.item) == 13
    assert found.scores.item[0].startswith("made_sums/")
    assert [note.code for note in found.header.notes] == ["pooled_tasks"]
    (compared,) = compare_scores([folder, folder], Choice("acc", task="made_sums*"), EXACT)
    assert compared.comparison.base_mean == pytest.approx(found.scores.value.mean())


def test_pooled_tasks_keep_users_seeds_and_repeated_documents(tmp_path: Path) -> None:
    """As independent documents, the rows of a few users would give p-values that are far too small."""
    for task in ("t_a", "t_b"):
        rows = [
            {"doc_id": n, "doc_hash": f"h{n % 20 // 2}", "metrics": ["acc"], "acc": n % 3 == 0, "train_seed": n // 20}
            for n in range(40)
        ]
        file = tmp_path / f"samples_{task}_2026-01-01T00-00-00.000000.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = read_one(tmp_path, Choice("acc", task="t_*"))
    assert plain.repeated == 20
    assert set(plain.document) == {f"{task}/h{n}" for task in ("t_a", "t_b") for n in range(10)}
    assert len(set(plain.scores.item)) == 40
    assert plain.scores.seed is not None
    assert set(plain.scores.seed) == {0, 1}
    with_users = read_one(tmp_path, Choice("acc", task="t_*", columns={"user": "doc_hash"}))
    assert with_users.scores.cluster is not None
    assert set(with_users.scores.cluster) == {f"h{n}" for n in range(10)}
    with pytest.raises(UserError, match=r"doc\.writer"):
        read_one(tmp_path, Choice("acc", task="t_a", columns={"user": "doc.writer"}))


def test_the_newest_run_of_a_folder(folder: Path) -> None:
    (path,) = folder.glob("samples_made_sums_*")
    path.with_name("samples_made_sums_2020-01-01T00-00-00.000000.jsonl").write_text("no rows")
    found = read_one(folder, SUMS)
    assert len(found.scores.item) == 9
    assert [note.code for note in found.header.notes] == ["newest_run"]


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        ("made_sums", "brier_score", "lm-eval aggregates brier_score by brier_score, and a mean"),
        ("made_text", "word_perplexity", "lm-eval aggregates word_perplexity by weighted_perplexity"),
    ],
)
def test_a_metric_that_is_no_mean(task: str, metric: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_files(LOGS / "org__small", Choice(metric, task=task))


def test_without_results_a_list_or_a_loss_is_refused(folder: Path) -> None:
    next(folder.glob("results_*.json")).unlink()
    with pytest.raises(UserError, match=r"word_perplexity is a list: a metric of the whole corpus"):
        read_files(folder, Choice(task="made_text"))
    (path,) = folder.glob("samples_made_sums_*")
    path.write_text(path.read_text().replace('"acc"', '"loss"'))
    with pytest.raises(UserError, match=r"lower may be better for loss, and there is no results_DATE.json"):
        read_files(folder, Choice("loss", task="made_sums"))


def test_lower_is_better_is_turned(folder: Path) -> None:
    plain = read_one(folder, SUMS)
    change_results(folder, lambda results: results["higher_is_better"]["made_sums"].update(acc=False))
    turned = read_one(folder, SUMS)
    assert list(turned.scores.value) == list(-plain.scores.value)
    (found,) = compare_scores([folder, folder], SUMS, EXACT)
    assert "turned" in {caveat.code for caveat in found.comparison.warnings}


def test_where_lower_is_better_every_value_is_turned_or_refused(folder: Path, tmp_path: Path) -> None:
    plain = read_one(folder, SUMS)
    change_results(folder, lambda results: results["higher_is_better"]["made_sums"].update(acc=False))
    (found,) = compare_scores([folder], SUMS, EXACT, Pairing(against=0.25))
    assert found.comparison.delta == pytest.approx(-(plain.scores.value.mean() - 0.25))
    with pytest.raises(UserError, match="a missing score would count as the best"):
        compare_scores([folder, folder], SUMS, replace(EXACT, missing="zero"))
    (alone,) = (LOGS / "org__small").glob("samples_made_sums_*")
    shutil.copy(alone, tmp_path / "alone.jsonl")
    with pytest.raises(NotComparableError, match=r"lower is better for acc in .*, and .*alone.jsonl does not say so"):
        compare_scores([folder, tmp_path / "alone.jsonl"], SUMS, EXACT)


def test_incomplete_samples(folder: Path) -> None:
    (path,) = folder.glob("samples_made_sums_*")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(UserError, match=r"the mean of acc is 0.2, and 0.222222 in lm-eval's results"):
        read_files(folder, SUMS)


def test_another_version_of_the_task_is_not_comparable(folder: Path) -> None:
    change_results(folder, lambda results: results["versions"].update(made_sums=2.0))
    with pytest.raises(NotComparableError, match=r'the task version is "1.0" in the first and "2.0" in the second'):
        compare_scores([LOGS / "org__small", folder], SUMS, EXACT)


def test_other_prompts_and_shots_are_noted(folder: Path) -> None:
    change_results(folder, lambda results: results["n-shot"].update(made_sums=5))
    (path,) = folder.glob("samples_made_sums_*")
    path.write_text(path.read_text().replace('"prompt_hash": "', '"prompt_hash": "f'))
    (found,) = compare_scores([LOGS / "org__small", folder], SUMS, EXACT)
    notes = {caveat.code: caveat.message for caveat in found.comparison.warnings}
    assert notes["other_number_of_shots"] == 'the number of shots differs: "0" in the base and "5" in the method'
    assert "other_prompts" in notes


def test_fewer_documents_are_another_limit_and_no_other_prompts(folder: Path) -> None:
    (path,) = folder.glob("samples_made_sums_*")
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows[:5]))
    change_results(folder, lambda results: results["results"]["made_sums"].update({"acc,none": 0.2}))
    change_results(folder, lambda results: results["config"].update(limit=5.0))
    (found,) = compare_scores([LOGS / "org__small", folder], SUMS, replace(EXACT, missing="drop"))
    notes = {caveat.code: caveat.message for caveat in found.comparison.warnings}
    assert notes["other_limit"] == 'the limit differs: "none" in the base and "5.0" in the method'
    assert "other_prompts" not in notes


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("results_*", "a folder of lm-eval without samples_TASK_DATE.jsonl; run lm-eval with --log_samples"),
        ("nothing", "is a folder, and a file is needed, or a folder that lm-eval, lighteval, HELM or AlpacaEval wrote"),
    ],
)
def test_a_folder_without_samples(keep: str, message: str, folder: Path) -> None:
    for path in set(folder.iterdir()) - set(folder.glob(keep)):
        path.unlink()
    with pytest.raises(UserError, match=message):
        read_files(folder, Choice())


def test_two_models_in_one_folder() -> None:
    with pytest.raises(UserError, match=r"samples of several models \(org__large, org__small\); name one"):
        read_files(LOGS, Choice())


def test_the_results_alone(folder: Path) -> None:
    (path,) = folder.glob("results_*")
    with pytest.raises(UserError, match=r"a file of lm-eval's results, .* name the folder, with the samples"):
        read_files(path, Choice())
