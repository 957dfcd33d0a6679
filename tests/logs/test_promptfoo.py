"""promptfoo's results. tests/logs/data/promptfoo/results.json was made by promptfoo 0.121 with providers in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.score_files.compare import Pairing, Settings, compare_scores

RESULTS = ROOT / "tests/logs/data/promptfoo/results.json"
EXACT = Settings("micro", "error", None, 0.05, 0)
Document = dict[str, Any]


def document() -> Document:
    found: Document = json.loads(RESULTS.read_text())
    return found


def changed(path: Path, change: Callable[[list[Document]], object]) -> Path:
    content = document()
    change(content["results"]["results"])
    path.write_text(json.dumps(content))
    return path


def by_arm(path: Path, choice: Choice | None = None) -> dict[str, ScoreFile]:
    return {file.header.arm: file for file in read_files(path, choice or Choice())}


@pytest.mark.parametrize(("metric", "figure"), [("score", "score"), ("success", "testPassCount")])
def test_the_mean_is_that_of_promptfoo(metric: str, figure: str) -> None:
    """promptfoo sums over outputs; one with an error counts as 0 there, and is a missing score here."""
    own = {p["provider"]: p["metrics"] for p in document()["results"]["prompts"]}
    arms = by_arm(RESULTS, Choice(metric))
    assert list(arms) == list(own) == ["small", "large", "broken"]
    for name, file in arms.items():
        assert np.nansum(file.scores.value) == pytest.approx(own[name][figure])
        assert np.isnan(file.scores.value).sum() == own[name]["testErrorCount"]


def test_named_scores_and_repeats() -> None:
    file = by_arm(RESULTS, Choice("exact", columns={"user": "vars.user"}))["large"]
    own = next(p for p in document()["results"]["prompts"] if p["provider"] == "large")["metrics"]["namedScores"]
    assert file.scores.value.sum() == own["exact"]
    assert file.scores.sample is not None
    assert sorted(file.scores.sample) == [0] * 4 + [1] * 4
    assert file.scores.cluster is not None
    assert set(file.scores.cluster) == {"u0", "u1", "u2"}


def test_lines_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in document()["results"]["results"]))
    one, other = by_arm(RESULTS), by_arm(path)
    assert list(one) == list(other)
    assert all(np.array_equal(one[n].scores.value, other[n].scores.value, equal_nan=True) for n in one)


def test_an_output_with_an_error_is_missing() -> None:
    (found,) = compare_scores([RESULTS], Choice(), EXACT, Pairing(methods=("large",)))
    assert (found.base, found.name) == (f"{RESULTS}: small", "large")
    with pytest.raises(UserError, match=r"no score in .* for 1 item \('sum 7.*--missing drop"):
        compare_scores([RESULTS], Choice(), EXACT)


def test_prompts_are_arms_too(tmp_path: Path) -> None:
    def label(rows: list[Document]) -> None:
        for row in rows:
            row["provider"]["label"] = "m"
            row["prompt"]["label"] = f"p{row['promptIdx']}"

    assert list(by_arm(changed(tmp_path / "r", label))) == ["p0", "p1", "p2"]


def test_other_assertions_are_not_comparable(tmp_path: Path) -> None:
    path = changed(tmp_path / "r", lambda rows: rows[0]["testCase"]["assert"].pop())
    with pytest.raises(NotComparableError, match="has the assertions"):
        compare_scores([RESULTS, path], Choice(), EXACT, Pairing(base=f"{RESULTS}: small", methods=(f"{path}: small",)))


def test_cached_repeats_are_noted(tmp_path: Path) -> None:
    path = changed(tmp_path / "r", lambda rows: [row["response"].update(cached=True) for row in rows])
    assert [note.code for note in by_arm(path)["small"].header.notes] == ["cached_repeats"]


REFUSED: dict[str, tuple[Callable[[list[Document]], object], Choice, str]] = {
    "ranking": (
        lambda rows: rows[2]["testCase"]["assert"].append({"type": "select-best"}),
        Choice(),
        "result 3: the assertion select-best compares outputs with one another",
    ),
    "no rows": (lambda rows: rows.clear(), Choice(), "the file holds no results"),
    "metric": (lambda _: None, Choice("exactly"), "result 1: unknown metric 'exactly'. Did you mean 'exact'?"),
    "text": (lambda rows: rows[0].update(score="1"), Choice(), 'result 1: score is the text "1"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    change, choice, message = REFUSED[name]
    with pytest.raises(UserError) as error:
        read_files(changed(tmp_path / "r", change), choice)
    assert message in str(error.value)


def test_an_older_version(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text(json.dumps({"evalId": "x", "results": {"version": 2, "table": {}}}))
    with pytest.raises(UserError, match="results of promptfoo with version 2; 3 can be read"):
        read_files(path, Choice())
