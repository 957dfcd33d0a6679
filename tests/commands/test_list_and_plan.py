"""Golden files of `list`, of the plan, and of the refusals of `run`. `golden_files` says how to rewrite them."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_files import check_golden, run

COMMANDS = {
    "list": "list",
    "dry-run": "run --dry-run",
    "dry-run-one-task": "run --task persona --limit 10 --seeds 2 --recipes mipo-missing --dry-run",
    "hours": "run --dry-run --task persona --recipes mipo-missing --gpu a100 --gpus 8",
    "hours-unknown-gpu": "run --dry-run --gpu h10",
    "hours-without-kind": "run --dry-run --gpus 8",
    "hours-of-a-run": "run --gpu h100",
    "all-problems-at-once": "run --suite maths --limit -3 --set train.learning_rate=1 --set sedes=2",
    "unknown-names": "run --task persna --baselines few-shots --recipes mipo",
    "no-such-model": "run --model ./no-such-model",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    check_golden(f"run/{name}.txt", run(COMMANDS[name], capsys).text(COMMANDS[name]))
    assert not list(tmp_path.iterdir())
