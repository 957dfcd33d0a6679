"""The ten labelled pairs in docs/judges.md give the figures printed below them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from golden_files import run

PAGE = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{re.escape(language)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no block of {language}"
    return found[1]


def test_a_colleague_is_held_against_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in block("json labels.jsonl").splitlines()]
    Path("labels.jsonl").write_text(block("json labels.jsonl"), encoding="utf-8")
    rows[1]["label"], rows[7]["label"] = "a", "tie"
    Path("colleague.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command, _, shown = block("console").partition("\n")
    printed = run(command.removeprefix("$ mipo-bench "), capsys)
    assert printed.code == 0, printed.err
    lines = [line.strip() for line in printed.out.splitlines()]
    assert [line for line in shown.splitlines() if line.strip() not in lines] == []
