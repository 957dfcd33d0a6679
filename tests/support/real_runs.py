"""`mipo-bench` in a process of its own, on the real embedded model, and random draws of tests that can be repeated."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from mipo_bench.reports.records.report import Report

SMALL = ["run", "--suite", "math", "--limit", "12", "--seeds", "2", "--set", "threads=1", "--set", "processes=1"]
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "80", "NO_COLOR": "1"}


def mipo(*arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    command = [sys.executable, "-m", "mipo_bench.harness.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False, env=ENVIRONMENT
    )


def comparable(report: Report) -> dict[str, object]:
    """A report without the fields that may differ between two equal runs: time, machine, number of processes."""
    found = report.model_dump(exclude={"digest", "created", "provenance"})
    del found["config"]["processes"]
    return found


VARIABLE = "MIPO_BENCH_TEST_SEED"
SEED = int(os.environ.get(VARIABLE) or random.SystemRandom().randrange(10**6))


def random_of(name: str) -> random.Random:
    """A random generator for one test. It prints the seed, which pytest shows if the test fails."""
    print(f"Random seed {SEED}. To repeat this test with the same draws: {VARIABLE}={SEED} pytest ...")
    return random.Random(f"{SEED} {name}")
