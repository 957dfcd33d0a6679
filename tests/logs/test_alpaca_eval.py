"""AlpacaEval's annotations, in the form of the files that it publishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice
from mipo_bench.reports.score_files.compare import Pairing, Settings, compare_scores

EXACT = Settings("micro", "error", None, 0.05, 0)
Rows = list[dict[str, Any]]


def rows(*preferences: float | None, model: str = "m", **fields: object) -> Rows:
    return [
        {
            "instruction": f"Do {i}." + " Really." * (10 * (i == 1)),
            "output_1": f"base {i}",
            "generator_1": "gpt4_1106_preview",
            "dataset": "vicuna",
            "output_2": "text",
            "generator_2": model,
            "annotator": "weighted_alpaca_eval_gpt4_turbo",
            "preference": preference,
            **fields,
        }
        for i, preference in enumerate(preferences)
    ]


def write(path: Path, content: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))
    return path


def test_the_win_rate_is_the_mean(tmp_path: Path) -> None:
    """AlpacaEval's win rate is the mean of preference - 1, where 0 is an old code for a tie."""
    path = write(tmp_path / "annotations.json", rows(1.9, 1.0, 2.0, 0))
    (found,) = read_files(path, Choice())
    assert list(found.scores.value) == pytest.approx([0.9, 0, 1, 0.5])
    assert (found.header.arm, [note.code for note in found.header.notes]) == ("m", ["old_ties"])


def test_one_file_against_a_value(tmp_path: Path) -> None:
    path = write(tmp_path / "annotations.json", rows(*[2.0] * 9, 1.0))
    (found,) = compare_scores([path], Choice(), EXACT, Pairing(against=0.5))
    assert found.base == "the value 0.5"
    assert found.comparison.delta == pytest.approx(0.4)
    assert found.comparison.p_value == pytest.approx(2 * 11 / 2**10)  # as many signs as 9 or more of 10 heads
    with pytest.raises(UserError, match=r"one arm alone; name a second file, or a value .*--against 0.5"):
        compare_scores([path], Choice(), EXACT)


def test_folders_are_compared(tmp_path: Path) -> None:
    for name, score in (("a", 1.2), ("b", 1.6)):
        write(tmp_path / name / "weighted_alpaca_eval_gpt4_turbo/annotations.json", rows(*[score] * 4, model=name))
    (found,) = compare_scores([tmp_path / "a", tmp_path / "b"], Choice(), EXACT)
    assert found.name == "b"
    assert found.comparison.delta == pytest.approx(0.4)


def test_a_preference_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", rows(1.5, None))
    with pytest.raises(UserError, match=r"a.json, row 2: preference is null; .*--missing drop"):
        read_files(path, Choice())
    (found,) = read_files(path, Choice(allow_missing=True))
    assert list(np.isnan(found.scores.value)) == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (rows(1.5) + rows(2.5)[:1], "row 2: preference is 2.5; it lies between 1"),
        (rows(1.5) + rows(0, 1.5, annotator="other")[1:], 'row 2: the annotator is "other", and "weighted'),
        (rows(1.5) + rows(0, 1.5, generator_1="other")[1:], 'row 2: the reference is "other"'),
        (rows(1.5) + rows(1.5), "row 2: instruction 'Do 0.' is on row 1 too"),
    ],
)
def test_refused(content: Rows, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_files(write(tmp_path / "a.json", content), Choice())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotator": "gpt-5"}, 'the annotator is "weighted_alpaca_eval_gpt4_turbo" in the first'),
        ({"generator_1": "davinci"}, 'the reference is "gpt4_1106_preview" in the first and "davinci"'),
        ({"output_1": "else"}, "has the output_1 .*changed on 3 of 3 items"),
    ],
)
def test_another_judge_or_reference_is_not_comparable(changed: Any, message: str, tmp_path: Path) -> None:
    paths = [write(tmp_path / "a", rows(1.5, 1.2, 2)), write(tmp_path / "b", rows(1.5, 1.2, 2, **changed))]
    with pytest.raises(NotComparableError, match=message):
        compare_scores(paths, Choice(), EXACT)


def test_weighted_and_discrete_preferences_are_noted(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a", rows(1.5, 1.2, 2)), write(tmp_path / "b", rows(1.5, 1, 2))]
    (found,) = compare_scores(paths, Choice(), EXACT)
    assert "other_preferences" in {caveat.code for caveat in found.comparison.warnings}


def test_several_models_in_one_file_are_arms(tmp_path: Path) -> None:
    path = write(tmp_path / "a", rows(1.5, 1.2, 2, model="x") + rows(1.5, 1.2, 1, model="y"))
    (found,) = compare_scores([path], Choice(), EXACT)
    assert (found.base, found.name) == (f"{path}: x", "y")
    assert found.comparison.delta == pytest.approx(-1 / 3)
