"""A run whose training takes two processes (DDP on CPUs): the report of one process, and a process that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_runs import ENVIRONMENT, mipo
from small_trainings import ROUNDING, difference

from mipo_bench.harness.api import run
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import load_report

pytestmark = pytest.mark.training
RUN = ["run", "--task", "arithmetic", "--baselines", "plain", "--recipes", "mipo-random", "--seeds", "1"]
RUN += ["--limit", "6", "--set", "threads=1", "--set", "processes=1", "--set", "train.batch_size=4"]
RUN += ["--set", "information.items=2", "--set", "noise_floor=false"]
TWO = ["--set", "train.processes=2", "--set", "train.launch=ddp"]
WORKER = "mipo_bench.harness.training.distributed.worker"


def workers_of(run: int) -> list[psutil.Process]:
    """The processes of the training, in the order of their start."""
    children = psutil.Process(run).children(recursive=True)
    found = [child for child in children if WORKER in command_of(child) and "accelerate" not in command_of(child)]
    return sorted(found, key=lambda child: (child.create_time(), child.pid))


def command_of(process: psutil.Process) -> str:
    """Its command line; empty if it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@dataclass(frozen=True)
class Killed:
    """A run that lost a process of its training, and the processes that it had."""

    folder: Path
    code: int
    errors: str
    workers: Sequence[psutil.Process]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder, pipe = tmp_path_factory.mktemp("run"), subprocess.PIPE
    command = [sys.executable, "-m", "mipo_bench.harness.cli", *RUN, *TWO, "--out", "two"]
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as process:
        try:
            while len(workers := workers_of(process.pid)) < 2:
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            os.kill(workers[1].pid, signal.SIGKILL)
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    return Killed(folder, process.returncode, errors, workers)


def test_a_killed_process_of_a_training_is_one_message(killed: Killed) -> None:
    assert killed.code == 1
    told = [line for line in killed.errors.splitlines() if "killed" in line]
    [line] = told
    assert line.startswith("! arithmetic mipo-random seed 0 failed at training: TrainingError: process ")
    assert "of 2 was killed (SIGKILL)" in line
    assert "Traceback" not in killed.errors
    assert not [process for process in killed.workers if process.is_running()]
    [failure] = load_report(killed.folder / "two").failures
    assert failure.stage == "training"
    assert not list((killed.folder / ".mipo-bench" / "checkpoints").iterdir())


def test_the_same_command_then_gives_the_report_of_one_process(killed: Killed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to rounding: 1e-3 of the update of the weights, 1e-5 of the losses, 1e-3 of all other figures."""
    done = mipo(*RUN, *TWO, "--out", "two", folder=killed.folder)
    assert done.returncode == 0, done.stderr
    two = load_report(killed.folder / "two")
    monkeypatch.chdir(killed.folder)
    one = run(
        tasks=["arithmetic"],
        baselines=["plain"],
        recipes=["mipo-random"],
        seeds=1,
        limit=6,
        threads=1,
        train={"batch_size": 4},
        information={"items": 2},
        noise_floor=False,
    )  # in this process, as its libraries need not be imported once more
    assert figures(two) == pytest.approx(figures(one), abs=1e-3)
    lineages = [report.checkpoints[0].lineage for report in (one, two)]
    assert lineages[0]["pairs"] == lineages[1]["pairs"]
    assert [found["settings"].get("processes") for found in lineages] == [None, 2]
    losses = [[point["loss"] for point in found["curve"]] for found in lineages]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    folders = {model_digest(folder): folder for folder in (killed.folder / ".mipo-bench" / "checkpoints").iterdir()}
    assert len(folders) == 2
    assert difference(*(folders[report.checkpoints[0].digest] for report in (one, two))) < ROUNDING


def figures(report: Report) -> dict[str, Any]:
    """Everything in a report but its time and place, its settings, and the digests of its checkpoints; by path."""
    found = report.model_dump(exclude={"digest", "created", "provenance", "config", "config_hash", "checkpoints"})
    for arm in found["arms"]:
        del arm["model_digest"]
    return dict(leaves(found, ""))


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The single values in a nested one."""
    rows = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else None
    )
    if rows is None:
        yield path, value
    else:
        for name, part in rows:
            yield from leaves(part, f"{path}.{name}")
