"""Processes that fail: the cause is told, nothing is left, and out of memory is tried again in parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from small_trainings import ROUNDING, WORKERS, difference, training

from mipo_bench.harness.errors import StorageError, TrainingError
from mipo_bench.harness.run.interrupt import ctrl_c_stops
from mipo_bench.harness.training.distributed.events import Failed, failed, received
from mipo_bench.harness.training.distributed.launch import train_in_processes
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.train import train

pytestmark = [pytest.mark.training, pytest.mark.slow]
TALKING = (str(WORKERS / "talking.py"),)
LITTLE_MEMORY = (str(WORKERS / "little_memory.py"),)


def nothing(step: int, total: int) -> None:
    pass


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the checkpoint. Afterwards no process of the test and no scratch folder is left."""
    scratch, folder = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield folder
    assert not list(scratch.iterdir())
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[int]:
    """The processes with a path in this folder among their arguments."""
    rows = psutil.process_iter(["pid", "cmdline", "status"])
    alive = [r.info for r in rows if r.info["status"] != psutil.STATUS_ZOMBIE]
    return [r["pid"] for r in alive if any(str(folder) in word for word in r["cmdline"] or ())]


def two(pairs: int = 16) -> Training:
    return training(pairs, processes=2, launch="ddp")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one process with enough memory."""
    folder = tmp_path_factory.mktemp("whole")
    train(training(8, batch_size=4), folder, nothing)
    return folder


def test_out_of_memory_in_one_process_is_tried_again_in_parts_by_all(whole: Path, out: Path) -> None:
    """The other process only says that its connection was closed."""
    train_in_processes(training(8, batch_size=4, processes=2, launch="ddp"), out, nothing, LITTLE_MEMORY)
    assert json.loads((out / "lineage.json").read_text())["parts"] == 2
    assert difference(whole, out) < ROUNDING


def line(event: Failed) -> str:
    return json.dumps({"Failed": asdict(event)}) + "\n"


LATE, EARLY = (Failed(rank, "", "", time=time) for rank, time in ((0, 8.0), (1, 7.0)))


def test_the_earliest_of_several_errors_is_shown_and_other_lines_are_not_read(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = replace(LATE, kind="RuntimeError", message="Connection closed by peer")
    early = replace(EARLY, kind="StorageError", message="the disk is full")
    monkeypatch.setenv("SAYS", f"a line of some library\n[1]\n{line(late)}{line(early)}")
    monkeypatch.setenv("END", "1")
    with pytest.raises(StorageError, match=r"the disk is full \(process 2 of 2\)"):
        train_in_processes(two(), out, nothing, TALKING)


def test_a_process_that_was_killed_is_named_before_errors_that_follow(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAYS", line(replace(LATE, kind="RuntimeError", message="Connection closed by peer")))
    monkeypatch.setenv("END", "SIGKILL")
    with pytest.raises(TrainingError, match=r"process 2 of 2 was killed \(SIGKILL\)"):
        train_in_processes(two(), out, nothing, TALKING)


def test_processes_that_end_without_a_word_are_an_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("END", "3")
    with pytest.raises(TrainingError, match=r"ended with exit code 1: .*exitcode: 3"):
        train_in_processes(two(), out, nothing, TALKING)


def test_an_error_comes_back_as_it_was_and_a_long_one_is_cut() -> None:
    found = [
        received(json.dumps({"Failed": asdict(failed(1, e))})) for e in (MemoryError(), ValueError("\U0001f600" * 9999))
    ]
    memory, long = (event for event in found if isinstance(event, Failed))
    assert (memory.kind, memory.out_of_memory) == ("MemoryError", True)
    assert (long.kind, long.out_of_memory) == ("ValueError", False)
    assert len(line(long)) < 4096 * 2


def test_ctrl_c_kills_processes_that_hang(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("END", "never")
    monkeypatch.setenv("SAYS", '{"Stepped": {"step": 0, "total": 2}}\n')

    def press(step: int, total: int) -> None:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    with ctrl_c_stops(), pytest.raises(KeyboardInterrupt):
        train_in_processes(two(), out, press, TALKING)


def test_no_process_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, WORKERS / "small_trainings.py", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == "0\n"
        assert len(processes_of(tmp_path)) == 4  # the run, accelerate, and two processes
        run.kill()
    end = time.monotonic() + 60
    while processes_of(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "model.safetensors").exists()
