"""`kill -9` at random moments of every stage, Ctrl-C, and several processes do not change the report."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from killable_runs import GENERATE, PAIRS, STAGES, STEPS, TRAIN, Process, Server
from real_runs import random_of

from mipo_bench.harness.run.interrupt import EXIT_INTERRUPTED
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.upkeep.verify import verify
from mipo_bench.reports.records.report_file import load_report

KILLS = 5
"""The number of kills per stage."""


def comparable(folder: Path) -> dict[str, object]:
    return load_report(folder / "out").model_dump(exclude={"digest", "created"})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def quiet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Process:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("quiet")
    done = server.start(folder)
    assert done.wait() == 0
    return done


def check(server: Server, folder: Path, quiet: Process) -> None:
    """A further run on the store gives the report of an undisturbed run, and the store is not damaged."""
    assert server.start(folder).wait() == 0
    assert comparable(folder) == comparable(quiet.file.parent)
    with closing(Store(folder / "store")) as store:
        assert not verify(store).damaged
        assert not store.claims.others()


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments_of_a_stage(stage: str, server: Server, quiet: Process, tmp_path: Path) -> None:
    rng = random_of(f"kills {stage}")
    letter, kills, folder = STAGES[stage], 0, tmp_path / "run"
    most = quiet.marks.count(letter)
    while kills < KILLS:
        process = server.start(folder)
        if process.reach(letter, rng.randint(1, most)):
            time.sleep(rng.random() * 0.005)
            process.signal(signal.SIGKILL)
        code = process.wait()
        assert code in (0, -signal.SIGKILL)
        kills += code == -signal.SIGKILL
        if code == 0:  # it ended before its kill, because earlier runs had stored that stage
            assert comparable(folder) == comparable(quiet.file.parent)
            shutil.rmtree(folder)
    check(server, folder, quiet)


def test_what_was_stored_before_a_kill_is_not_computed_again(server: Server, quiet: Process, tmp_path: Path) -> None:
    process = server.start(tmp_path)
    assert process.reach(TRAIN, STEPS + 1)
    process.signal(signal.SIGKILL)
    process.wait()
    again = server.start(tmp_path)
    assert again.wait() == 0
    assert again.marks.count(TRAIN) == STEPS  # the second training restarts at its first step; the first is stored
    assert again.marks.count(GENERATE) + process.marks.count(GENERATE) == quiet.marks.count(GENERATE)


def test_ctrl_c_once_stops_cleanly_and_the_next_run_goes_on(server: Server, quiet: Process, tmp_path: Path) -> None:
    process = server.start(tmp_path)
    assert process.reach(PAIRS, 70)
    process.signal(signal.SIGINT)
    assert process.wait() == EXIT_INTERRUPTED
    with closing(Store(tmp_path / "store")) as store:
        assert not store.claims.others()
        assert not store.database.execute("SELECT * FROM claims")
    check(server, tmp_path, quiet)


def test_two_processes_share_the_work_and_give_the_same_report(server: Server, tmp_path: Path) -> None:
    alone = server.start(tmp_path / "alone", seeds=8)
    assert alone.wait() == 0
    first, second = (server.start(tmp_path / "both", number, 2, seeds=8) for number in range(2))
    assert (first.wait(), second.wait()) == (0, 0)
    assert comparable(tmp_path / "both") == comparable(tmp_path / "alone")
    for letter in (GENERATE, PAIRS, TRAIN):
        assert first.marks.count(letter) + second.marks.count(letter) == alone.marks.count(letter), letter
    assert TRAIN in first.marks
    assert TRAIN in second.marks


def test_two_runs_that_know_nothing_of_each_other_compute_nothing_twice(
    server: Server, quiet: Process, tmp_path: Path
) -> None:
    first, second = (server.start(tmp_path) for _ in range(2))
    assert (first.wait(), second.wait()) == (0, 0)
    assert comparable(tmp_path) == comparable(quiet.file.parent)
    for letter in (GENERATE, PAIRS, TRAIN):
        assert first.marks.count(letter) + second.marks.count(letter) == quiet.marks.count(letter), letter
    with closing(Store(tmp_path / "store")) as store:
        assert 1 <= len(store.runs()) <= 2


@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("letter", [GENERATE, TRAIN])
def test_when_one_of_two_is_killed_the_other_takes_over(
    killed: int, letter: str, server: Server, quiet: Process, tmp_path: Path
) -> None:
    processes = [server.start(tmp_path, number, 2) for number in range(2)]
    reached = processes[killed].reach(letter, 2)
    processes[killed].signal(signal.SIGKILL)
    assert processes[1 - killed].wait() == 0
    code = processes[killed].wait()
    assert not reached or code == -signal.SIGKILL
    if killed:
        assert comparable(tmp_path) == comparable(quiet.file.parent)
    check(server, tmp_path, quiet)
