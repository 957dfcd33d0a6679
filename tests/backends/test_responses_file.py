"""`--model RESPONSES.jsonl`: responses of another program are scored and compared like a model's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mipo_bench.harness.cli import main
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.responses_file import read_responses
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import load_report
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.embedded.facts import Facts

ITEMS = Arithmetic().items("eval")[:8]
Row = dict[str, Any]


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def rows(arm: str, right: int, **more: Any) -> list[Row]:
    """Responses of one arm. The first `right` ones are right."""
    task = Arithmetic()
    texts = [task.gold(item) if n < right else "no idea" for n, item in enumerate(ITEMS)]
    return [{"item_id": i.id, "arm": arm, "response": t, **more} for i, t in zip(ITEMS, texts, strict=True)]


def write(file: Path, lines: list[Row]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    monkeypatch.chdir(tmp_path)

    def go(lines: list[Row], *options: str, code: int = 0) -> Report:
        file = write(tmp_path / "answers.jsonl", lines)
        assert called("run", "--model", str(file), "--limit", "8", *options) == code
        return load_report(tmp_path / "mipo-bench-report")

    return go


ALL = [
    *rows("plain", 4),
    *rows("other-prompt", 6),
    *rows("mine", 8, train_seed=0, n_tokens=5),
    *rows("mine", 7, train_seed=1, n_tokens=5),
]


def test_given_responses_are_scored_and_compared(
    run: Callable[..., Report], capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(ALL, "--task", "arithmetic")
    assert "!" not in capsys.readouterr().err
    means = {e.method: e.mean for e in report.estimates}
    assert means == {"plain": 0.5, "other-prompt": 0.75, "mine": 0.9375}
    families = {(c.base, c.method): c.family for c in report.comparisons}
    assert families["plain", "mine"] == "primary"
    assert families["plain", "other-prompt"] == "exploratory"
    assert [c.n_seeds for c in report.comparisons if c.family == "primary"] == [2]
    trained = [arm for arm in report.arms if arm.recipe == "mine"]
    assert [(arm.baseline, arm.train_seed, arm.n_tokens[0]) for arm in trained] == [("plain", 0, 5), ("plain", 1, 5)]
    assert (report.model.backend, report.model.device) == ("responses", "none")
    assert report.notes[0].startswith("lengths are in words")


def test_the_file_may_name_the_tasks_itself(run: Callable[..., Report]) -> None:
    facts = Facts().items("eval")[:8]
    more = [{"item_id": i.id, "arm": "plain", "response": Facts().gold(i), "task": "facts"} for i in facts]
    report = run([*rows("plain", 4, task="arithmetic"), *more])
    assert {(a.task, sum(a.scores)) for a in report.arms} == {("arithmetic", 4.0), ("facts", 8.0)}


def test_missing_items_are_failed_rows_in_the_denominator(run: Callable[..., Report]) -> None:
    report = run([*rows("plain", 4)[:-2], *rows("other", 8)], "--task", "arithmetic", code=1)
    arm = report.group("arithmetic", "plain")[0]
    assert arm.failed == {item.id: "generate: the file has no response" for item in ITEMS[-2:]}
    assert len(arm.scores) == 8
    assert sum(arm.scores) == 4.0


def test_another_reference_can_be_chosen(run: Callable[..., Report]) -> None:
    report = run(
        [*rows("base", 4), *rows("mine", 6, train_seed=0)],
        *("--task", "arithmetic", "--set", "reference.arithmetic=base"),
    )
    assert [(c.base, c.method, c.family) for c in report.comparisons] == [("base", "mine", "primary")]


def test_stored_responses_can_be_read_and_scored_again(
    run: Callable[..., Report], capsys: pytest.CaptureFixture[str]
) -> None:
    run([*rows("plain", 4)[:-1], *rows("mine", 8, train_seed=0)], "--task", "arithmetic", code=1)
    capsys.readouterr()
    report = "mipo-bench-report/report.json"
    assert called("diff", report, report, "--rescore") == 0
    out = capsys.readouterr().out
    assert "8 items match" in out
    assert "rescored" in out


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"item_id": "nowhere", "arm": "plain", "response": ""}], "line 9: task 'arithmetic' has no evaluation item"),
        (rows("plain", 1)[:1], "line 9: arm 'plain' answers item 'eval-0000' again, first in line 1"),
        (rows("plain", 1, train_seed=0)[1:2], "line 9: arm 'plain' has a train_seed here, but not in other lines"),
        ([{"item_id": 3, "arm": "plain", "response": "x"}], "line 9: item_id = '3' is not a text."),
        ([{"item_id": "a", "arm": "plain"}], "line 9: field 'response' is missing."),
        ([{"item_id": "a", "arm": " ", "response": "x"}], "line 9: arm is empty."),
        (
            [{"item_id": "a", "arm": "b", "response": "x", "train_seed": -1}],
            "train_seed = -1 is not in 0 ...",
        ),
        ([{"item_id": "a", "arm": "b", "response": "x", "train_seed": 10**30}], "is not in 0 ... 9223372036854775807."),
        ([{"item_id": "a", "arm": "b\ud800", "response": "x"}], "arm holds half a character"),
        ([{"item_id": "a", "arm": "b", "response": "x", "train_seed": True}], "'True' is not a whole number."),
        ([{"item_id": "a", "arm": "b", "response": "x", "train_sed": 1}], "Did you mean 'train_seed'?"),
        ([{"item_id": "a", "arm": "b", "response": "x", "task": "facts"}], "unknown task of this run 'facts'"),
    ],
)
def test_bad_lines_are_named_with_file_and_line(
    lines: list[Row], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "answers.jsonl", [*rows("plain", 4), *lines])
    assert called("run", "--model", str(file), "--task", "arithmetic") == 2
    error = capsys.readouterr().err
    assert message in error
    assert f"{file}, line 9" in error
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no responses"),
        ("{", "line 1: not valid JSON"),
        ("[" * 5000, "line 1: not valid JSON"),
        ("[1]\n3\n", "line 2: expected a JSON object, found a int"),
        ("\xff\xfe", "line 1: not valid JSON"),
    ],
)
def test_broken_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(text)
    with pytest.raises(ModelError, match=message):
        read_responses(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not UTF-8"):
        read_responses(file)
    with pytest.raises(ModelError, match="cannot read the responses"):
        read_responses(tmp_path)


def test_many_problems_are_cut_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "answers.jsonl", [{"item_id": "a"}] * 30)
    with pytest.raises(ModelError) as caught:
        read_responses(file)
    assert str(caught.value).count("\n") == 20
    assert str(caught.value).endswith(f"and 10 more problems in {file}")


def test_the_reference_and_the_tasks_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "answers.jsonl", rows("mine", 4, train_seed=0))
    assert called("run", "--model", str(file), "--task", "arithmetic") == 2
    assert "has no arm 'plain' without a train_seed for task 'arithmetic'" in capsys.readouterr().err
    assert called("run", "--model", str(file)) == 2
    assert "line 1: field 'task' is missing; this run has 3 tasks." in capsys.readouterr().err
    assert called("run", "--model", "absent.jsonl") == 2
    assert "cannot read the responses absent.jsonl" in capsys.readouterr().err


def test_a_dry_run_lists_the_arms_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "answers.jsonl", ALL)
    assert called("run", "--model", str(file), "--task", "arithmetic", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "prompting arms: plain, other-prompt (reference: plain)" in out
    assert "trained arms: mine x 2 seeds" in out


@pytest.mark.slow
def test_no_model_library_is_loaded(tmp_path: Path) -> None:
    file = write(tmp_path / "answers.jsonl", ALL)
    code = (
        "import sys\nfrom mipo_bench.harness.cli import main\n"
        f"try:\n    main(['run', '--model', {str(file)!r}, '--task', 'arithmetic', '--limit', '8'])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers', 'lm_eval'} & {*sys.modules}, [*sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
