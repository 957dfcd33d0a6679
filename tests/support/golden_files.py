"""Golden tests: a command's stdout, stderr and exit code are compared with a file, and generated pages with the code.

To write the files anew after a change that is meant, run pytest with `MIPO_BENCH_UPDATE_GOLDEN=1` and read the diff.
"""

from __future__ import annotations

import difflib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from paths import GOLDEN

from mipo_bench.harness.cli import main


@dataclass(frozen=True)
class Printed:
    """The output of a command and its exit code."""

    out: str
    err: str
    code: object

    def text(self, command: str) -> str:
        """Stdout, stderr and exit code in the format of golden files."""
        return f"$ mipo-bench {command}\n--- stdout\n{self.out}--- stderr\n{self.err}--- exit code {self.code}\n"


def run(command: str, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Run the command line in this process."""
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command))
    printed = capsys.readouterr()
    return Printed(printed.out, printed.err, stop.value.code or 0)


def check_golden(path: str, text: str) -> None:
    """Compare a text with the golden file `path` (below tests/golden). A failure shows the difference."""
    file = GOLDEN / path
    if os.environ.get("MIPO_BENCH_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    diff = difflib.unified_diff(before, text.splitlines(), str(file), "now", lineterm="")
    assert text.splitlines() == before, "\n".join(diff)


def check_page(page: Path, now: str) -> None:
    """Compare a page with its text; with MIPO_BENCH_UPDATE_GOLDEN=1, write it first. A failure shows the difference."""
    if os.environ.get("MIPO_BENCH_UPDATE_GOLDEN"):
        page.write_text(now, encoding="utf-8")
    written = page.read_text(encoding="utf-8") if page.exists() else ""
    diff = difflib.unified_diff(written.splitlines(), now.splitlines(), str(page), "now", lineterm="")
    assert written == now, "\n".join(diff)


def cell(text: str) -> str:
    """A text for a cell of a table: on one line, with code marked as Markdown marks it."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")
