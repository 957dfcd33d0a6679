"""Real runs that are killed, stopped, shared by several processes, and started twice at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from real_runs import ENVIRONMENT, SMALL, comparable, mipo, random_of

from mipo_bench.harness.store.claims import live_owners
from mipo_bench.reports.records.report_file import load_report

pytestmark = pytest.mark.training
COMMAND = [sys.executable, "-m", "mipo_bench.harness", *SMALL]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("finished")
    done = mipo(*SMALL, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def started(folder: Path, *more: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A run in the background. It is ended when the block ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*COMMAND, *more], cwd=folder, stdout=pipe, stderr=pipe, text=True, env={**ENVIRONMENT, **variables}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rows(folder: Path) -> int:
    """The number of responses in the store."""
    file = folder / ".mipo-bench" / "store.sqlite"
    if not file.exists():
        return 0
    try:
        with closing(sqlite3.connect(file)) as db:
            return int(db.execute("SELECT count(*) FROM responses").fetchone()[0])
    except sqlite3.OperationalError:  # the tables do not exist yet
        return 0


def trains(folder: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any((folder / ".mipo-bench" / "checkpoints").glob("new-*"))


def wait_for(process: subprocess.Popen[str], moment: Callable[[], bool]) -> None:
    """Wait for a moment of a run. Fails if the run ends before it."""
    while not moment():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)


def check(folder: Path, finished: Path) -> None:
    """Assert that the report equals that of the undisturbed run."""
    again, whole = (load_report(f / "mipo-bench-report") for f in (folder, finished))
    assert comparable(again) == comparable(whole)
    assert not again.notes


def test_killed_at_random_moments_and_run_again_gives_the_same_report(finished: Path, tmp_path: Path) -> None:
    rng = random_of("kills of a real run")
    half = rows(finished) // 2
    moments: list[Callable[[], bool]] = [
        lambda: rows(tmp_path) > 0,
        lambda: rows(tmp_path) >= half,
        lambda: trains(tmp_path),
    ]
    for moment in moments:
        with started(tmp_path) as process:
            wait_for(process, moment)
            time.sleep(rng.random() * 0.3)
            process.kill()
            assert process.wait() == -signal.SIGKILL
    done = mipo(*SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path, finished)


def test_ctrl_c_stops_with_130_and_a_word_on_how_to_go_on(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        wait_for(process, lambda: rows(tmp_path) > 0)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on from here" in errors
    assert "Traceback" not in errors


def test_ctrl_c_twice_ends_at_once(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        wait_for(process, lambda: trains(tmp_path))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
    assert process.returncode == 130


def test_a_launcher_with_two_processes_gives_the_same_report(finished: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "mipo_bench.harness", *SMALL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written to") == 1
    check(tmp_path, finished)


TWO = ("--set", "processes=2")


def test_a_run_that_starts_two_processes_itself_gives_the_same_report(finished: Path, tmp_path: Path) -> None:
    done = mipo(*SMALL, *TWO, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path, finished)
    assert live_owners(tmp_path / ".mipo-bench") == []


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_helpers_end_with_the_run_that_started_them(end: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / ".mipo-bench"
    with started(tmp_path, *TWO, "--seeds", "20") as first:  # minutes of work for a helper that would go on
        wait_for(first, lambda: len(live_owners(store)) == 2)
        first.send_signal(end)
        first.wait(timeout=30)
    deadline = time.monotonic() + 20
    while live_owners(store):
        assert time.monotonic() < deadline, live_owners(store)
        time.sleep(0.02)


def test_when_the_other_process_is_killed_one_finishes(finished: Path, tmp_path: Path) -> None:
    with (
        started(tmp_path, RANK="0", LOCAL_RANK="0", WORLD_SIZE="2") as first,
        started(tmp_path, RANK="1", LOCAL_RANK="1", WORLD_SIZE="2") as second,
    ):
        wait_for(second, lambda: any((tmp_path / ".mipo-bench" / "owners").glob(f"{second.pid}-*")))
        wait_for(first, lambda: rows(tmp_path) > 0)
        os.kill(second.pid, signal.SIGKILL)
        _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    check(tmp_path, finished)


def test_two_runs_at_once_on_one_store(finished: Path, tmp_path: Path) -> None:
    with started(tmp_path) as first, started(tmp_path) as second:
        outcomes = [process.communicate(timeout=300) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outcomes
    check(tmp_path, finished)
    assert rows(tmp_path) == rows(finished)
    assert sum(errors.count("seed 0: training") for _, errors in outcomes) == 1


def test_what_is_cached_and_in_which_order_arms_come_changes_nothing(finished: Path, tmp_path: Path) -> None:
    """Runs with other limits and arms have stored some responses, which were generated in other batches."""
    part = [*SMALL[:3], "--limit", "5", "--set", "threads=1", "--seeds", "1", "--baselines", "few-shot"]
    assert mipo(*part, folder=tmp_path).returncode == 0
    assert mipo(*SMALL, "--set", "batch_size=7", "--recipes", "none", folder=tmp_path).returncode == 0
    done = mipo(*SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path, finished)


def test_a_training_that_diverges_is_a_hole_and_the_rest_completes(tmp_path: Path) -> None:
    small = ["--limit", "12", "--seeds", "1", "--baselines", "plain", "--set", "threads=1"]
    diverging = ["--set", "train.lr=1e12", "--set", "train.warmup=0"]
    done = mipo("run", "--task", "arithmetic", *small, *diverging, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "TrainingError: the loss is nan at step 2" in done.stderr
    assert "mipo-random seed 0 failed at training" in done.stdout
    report = load_report(tmp_path / "mipo-bench-report")
    assert [(lost.stage, lost.error) for lost in report.failures] == [("training", "TrainingError")]
    assert [arm.method for arm in report.arms] == ["plain", "plain (A/A)"]
    assert not list((tmp_path / ".mipo-bench" / "checkpoints").iterdir())
