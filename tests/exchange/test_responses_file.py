"""`--model RESPONSES.jsonl`: responses of another program are scored and compared like a model's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from mipo_bench.harness.cli import main
from mipo_bench.harness.exchange.responses_file import read_responses
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
    found = run([*rows("plain", 4)[:-1], *rows("mine", 8, train_seed=0)], "--task", "arithmetic", code=1)
    plain, lengths = found.arms[0], found.arms[0].n_tokens[:-1]  # the last item has no line, and has failed
    assert len(plain.failed) == 1
    assert next(e.mean_tokens for e in found.estimates if e.method == "plain") == sum(lengths) / len(lengths)
    assert ", 1 training seed " in " ".join(capsys.readouterr().out.split())
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
        ([{"item_id": 3, "arm": "plain", "response": "x"}], "task 'arithmetic' has no evaluation item '3'."),
        ([{"item_id": 3.0, "arm": "plain", "response": "x"}], "task 'arithmetic' has no evaluation item '3'."),
        ([{"item_id": 3.5, "arm": "plain", "response": "x"}], "line 9: item_id is a number, not a text: '3.5'."),
        ([{"item_id": True, "arm": "plain", "response": "x"}], "line 9: item_id is a truth value, not a text"),
        ([{"item_id": "a", "arm": "plain", "response": None}], "line 9: response is null: leave the line out"),
        ([{"item_id": "a", "arm": "plain", "response": nan}], "line 9: response is NaN, as pandas writes a missing"),
        ([{"item_id": nan, "arm": "plain", "response": ""}], "line 9: item_id is NaN, as pandas writes a missing"),
        ([{"item_id": "a", "arm": "plain", "response": ["x"]}], "line 9: response is a list, not a text"),
        ([{"item_id": "a", "arm": "plain", "response": 18}], "line 9: response is a number, not a text: '18'."),
        ([{"item_id": "a", "arm": "plain", "messages": []}], "add the answer of your program."),
        ([{"item_id": "a", "arm": "b", "response": "x", "finish": 1}], "finish is a number, not a text"),
        ([{"item_id": "a", "arm": "b", "response": "x", "train_seed": 0.5}], "'0.5' is not a whole number."),
        ([{"item_id": "a", "arm": "b", "response": "x", "n_tokens": inf}], "'inf' is not a whole number."),
        ([{"item_id": "a", "arm": "b", "response": "x", "option_logprobs": [1, inf]}], "not a list of finite numbers."),
        ([{"item_id": "a", "arm": "b", "response": "x", "option_logprobs": 1}], "not a list of finite numbers."),
        (
            [{"item_id": "eval-0000", "arm": "b", "response": "x", "option_logprobs": [-1]}],
            "option_logprobs has 1 numbers; item 'eval-0000' has 0 options.",
        ),
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


def test_the_reference_and_the_tasks_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "answers.jsonl", rows("mine", 4, train_seed=0))
    assert called("run", "--model", str(file), "--task", "arithmetic") == 2
    assert "has no arm 'plain' without a train_seed for task 'arithmetic'" in capsys.readouterr().err
    assert called("run", "--model", str(file)) == 2
    assert "line 1: field 'task' is missing. Add it, or name the task with --task." in capsys.readouterr().err
    assert called("run", "--model", "absent.jsonl") == 2
    assert "cannot read the responses absent.jsonl" in capsys.readouterr().err


def test_a_finish_reason_of_any_engine_is_read_and_others_are_named(run: Callable[..., Report]) -> None:
    given = ["stop", "EOS", "end_turn", "stop-sequence", "MAX_TOKENS", "length", "content_filter", None]
    lines = [row | {"finish": finish} for row, finish in zip(rows("plain", 8), given, strict=True)]
    report = run(lines, "--task", "arithmetic")
    arm = report.arms[0]
    assert arm.truncated == [ITEMS[4].id, ITEMS[5].id]
    assert arm.finish_unknown == 2
    assert "finish reasons of answers.jsonl that are read as not known: content_filter" in report.notes


def test_no_response_is_said_to_be_uncut_without_a_finish_reason(
    run: Callable[..., Report], capsys: pytest.CaptureFixture[str]
) -> None:
    silent = [row | {"finish": "stop"} for row in rows("other", 8)]
    report = run([*rows("plain", 8), *silent], "--task", "arithmetic")
    out = capsys.readouterr().out
    cells = {
        line.split()[0]: line.split() for line in reversed(out.splitlines()) if line.startswith(("plain ", "other "))
    }
    assert (cells["plain"][-3], cells["other"][-3]) == ("-", "0")
    guards = {line.split()[0]: line.split()[2] for line in out.splitlines() if line.startswith(("plain ", "other "))}
    assert guards == {"plain": "-", "other": "0%"}
    assert "the finish reason of 8 of 8 responses is not known: some of them may have been cut" in " ".join(out.split())
    assert [e.finish_unknown for e in report.estimates] == [8, 0]


def test_other_fields_are_named_in_one_note(run: Callable[..., Report]) -> None:
    lines = [row | {"latency": 0.3, "model": "m", "engine": n} for n, row in enumerate(rows("plain", 8))]
    report = run(lines, "--task", "arithmetic")
    assert [note for note in report.notes if "not used" in note] == [
        "fields of answers.jsonl that are not used: engine, latency, model"
    ]


def test_what_pandas_makes_of_numbers_is_read(run: Callable[..., Report]) -> None:
    lines = [row | {"train_seed": nan, "n_tokens": 3.0} for row in rows("plain", 8)]
    lines += [row | {"train_seed": 0.0, "n_tokens": 3.0} for row in rows("mine", 8)]
    report = run(lines, "--task", "arithmetic")
    assert [(a.method, a.train_seed, set(a.n_tokens)) for a in report.arms] == [("plain", None, {3}), ("mine", 0, {3})]


def test_lines_end_at_newlines_alone(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = [
        json.dumps(row | {"response": f"a\u2028b\x85 {row['response']}"}, ensure_ascii=False)
        for row in rows("plain", 8)
    ]
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    read = read_responses(tmp_path / "bom.jsonl").lines
    assert [(line.number, line.response[:4]) for line in read] == [(n, "a\u2028b\x85") for n in range(1, 9)]
    assert sum(run([json.loads(line) for line in lines], "--task", "arithmetic").arms[0].scores) == 8


def test_a_twin_in_the_file_is_the_noise_floor(run: Callable[..., Report]) -> None:
    report = run([*rows("plain", 8), *rows("plain (A/A)", 6)], "--task", "arithmetic")
    assert [(a.method, a.noise, sum(a.scores)) for a in report.arms] == [("plain", False, 8), ("plain (A/A)", True, 6)]
    assert [(c.family, c.delta) for c in report.comparisons] == [("noise", -0.25)]


def test_log_probabilities_of_options_are_read(run: Callable[..., Report]) -> None:
    task = Facts()
    items = task.items("eval")[:8]
    lines = [
        {
            "item_id": item.id,
            "arm": "plain",
            "response": task.gold(item),
            "option_logprobs": [-1.0 if letter == item.target else -2 for letter in "ABCD"],
        }
        for item in items
    ]
    report = run(lines, "--task", "facts")
    assert report.arms[0].parts["acc"] == [1.0] * 8


def test_log_probabilities_of_some_options_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean of `acc` would be that of a few items."""
    monkeypatch.chdir(tmp_path)
    one, *others = Facts().items("eval")[:4]
    lines = [{"item_id": item.id, "arm": "plain", "response": "A"} for item in others]
    first = {"item_id": one.id, "arm": "plain", "response": "A", "option_logprobs": [-1.0, -2, -3, -4]}
    file = write(tmp_path / "answers.jsonl", [first, *lines])
    assert called("run", "--model", str(file), "--task", "facts") == 2
    assert "line 2: arm 'plain' has option_logprobs in other lines, but not here" in capsys.readouterr().err


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
