"""Commands that only read stay light: each imports what it needs, and nothing of the other commands."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from made_reports import Made

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.run.repeat import remember_run, run_key
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.logs.source import LARGE_TABLE
from mipo_bench.reports.records.report_file import seal, to_json

PROGRAM = """
import sys
sys.argv[0] = "mipo-bench"
from mipo_bench.harness.__main__ import main
try:
    main()
finally:
    print(*sys.modules, sep="\\n", file=sys.stderr)
"""
NOT_FOR_READING = {"torch", "transformers", "trl", "datasets", "peft", "matplotlib", "pandas"}
SLOW = {"scipy.stats", "scipy.optimize", "scipy.sparse"}
"""Parts of scipy of which each takes longer to import than two reports to compare."""
UNUSED = {"numpy.f2py.f2py2e", "numpy.testing._private.utils"}
"""Parts of numpy that `scipy.special` imports by a star, and does not use."""
TEXT = "x" * 900


def loaded(folder: Path, *arguments: str) -> set[str]:
    """The modules in a process of the command, which has to succeed."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reports, and two tables that are large enough to be read by columns."""
    place = tmp_path_factory.mktemp("files")
    for seed, name in enumerate("ab"):
        (place / name).write_text(to_json(Made(n_math=4, n_users=3, seed=seed).report()), encoding="utf-8")
        rows = [{"item_id": n, "score": n * (seed + 3) % 7 / 7, "user_id": n // 9, "text": TEXT} for n in range(5000)]
        (place / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert (place / "a.jsonl").stat().st_size > LARGE_TABLE
    return place


@pytest.mark.parametrize(
    ("command", "others"),
    [
        ("list", {"numpy", "mipo_bench.reports.records.report", "mipo_bench.harness.store.run_store"}),
        ("show a", {"numpy", "sqlite3", "mipo_bench.harness.protocols"}),
        ("diff a b", {*SLOW, *UNUSED, "sqlite3"}),
        ("diff a a", {*SLOW, *UNUSED, "sqlite3", "scipy.special"}),
        ("compare a.jsonl b.jsonl", {*SLOW, *UNUSED, "mipo_bench.reports.records.report"}),
    ],
)
def test_a_command_imports_what_it_needs(command: str, others: set[str], folder: Path) -> None:
    found = loaded(folder, *command.split())
    assert (NOT_FOR_READING | others) & found == set()
    commands = {name for name in found if name.startswith("mipo_bench.harness.commands.results.")}
    assert len(commands) == ("a" in command.split() or "compare" in command)


def test_an_unchanged_run_imports_nothing_that_computes(tmp_path: Path) -> None:
    report = seal(Made().report())
    run = StoredRun(report.digest, report.created, to_json(report), [{"item": "a"}])
    with closing(Store(tmp_path / ".mipo-bench")) as store:
        store.put_responses([("a", Response("Answer: 1", 3, 2, "stop"))])
        remember_run(store, run_key(load_config(None, [], {"suite": "math"})), run, report)
        store.put_run(run)
    found = loaded(tmp_path, "run", "--suite", "math")
    assert {*NOT_FOR_READING, "numpy", "yaml", "tenacity", "rich.progress"} & found == set()
    assert "mipo_bench.harness.run.session" not in found
