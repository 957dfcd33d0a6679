"""Claims of several `Store` objects on one folder, each like a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.run.launch import Processes, as_environment, choose_gpu, pop_launcher_rank, threads_each
from mipo_bench.harness.run.worker_main import config_from_line
from mipo_bench.harness.run.workers import config_to_line, worker_count
from mipo_bench.harness.store.claims import live_owners
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.waiting import Wait
from mipo_bench.harness.store.work_sharing import claim_each, shares
from mipo_bench.harness.types import Response

KEYS = [f"k{n:03}" for n in range(300)]


def answered(keys: list[str]) -> list[tuple[str, Response]]:
    return [(key, Response(key, 1, 1, "stop")) for key in keys]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    stores = (Store(tmp_path), Store(tmp_path))
    yield stores
    for store in stores:
        store.close()
    assert not live_owners(tmp_path)


def test_nothing_is_claimed_twice(two: tuple[Store, Store]) -> None:
    first, second = two
    assert first.claims.take(KEYS, 100) == KEYS[:100]
    assert second.claims.take(KEYS, 250) == KEYS[100:]
    assert first.claims.take(KEYS[100:]) == []
    second.claims.release(KEYS[100:150])
    assert first.claims.take(KEYS[100:]) == KEYS[100:150]


def test_a_release_gives_up_own_claims_only(two: tuple[Store, Store]) -> None:
    first, second = two
    first.claims.take(KEYS)
    second.claims.release(KEYS)
    assert second.claims.take(KEYS) == []


def test_claims_of_a_dead_process_are_free(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Store(tmp_path).claims.take(KEYS)
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    store = Store(tmp_path)
    assert store.claims.take(KEYS) == []
    assert store.claims.others()
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert store.claims.take(KEYS) == KEYS
    assert not store.claims.others()
    assert len(store.claims.forget_dead()) == 1
    store.close()


@contextmanager
def holder(folder: Path) -> Iterator[int]:
    """Another process, which holds the first key; its id."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Store(folder).claims.take(KEYS[:1])
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(reader, 1)
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_stopped_process_that_keeps_a_claim_is_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path) as child, closing(Store(tmp_path)) as store:
        store.claims.say, store.claims.patience = said.append, 0.2
        wait = Wait(store.claims)
        for _ in range(4):
            wait.sleep(KEYS, 0.1)
        assert said == []  # it is at work
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        wait.sleep(KEYS[1:], 0.1)
        assert said == []  # it keeps another key
        for _ in range(4):
            wait.sleep(KEYS, 0.1)
        (line,) = said
        assert f"process {child} is stopped and keeps 1 claims (such as k000)" in line
        assert f"`kill -CONT {child}` lets it go on, `kill -9 {child}` frees its claims" in line


def test_all_that_wait_name_a_stopped_process(tmp_path: Path) -> None:
    """The waits for a part of the responses, for an arm and for a checkpoint; each ends when the process is killed."""

    def next_share(store: Store) -> None:
        next(shares(store.claims, KEYS[:1], store.responses))

    def next_arm(store: Store) -> None:
        next(claim_each(store.claims, {KEYS[0]: 1}, lambda: None))

    def checkpoint(store: Store) -> None:
        store.checkpoints.get_or_write(KEYS[0], lambda _: None)

    for number, wait in enumerate((next_share, next_arm, checkpoint)):
        folder = tmp_path / str(number)
        with holder(folder) as child, closing(Store(folder)) as store:
            os.kill(child, signal.SIGSTOP)
            os.waitpid(child, os.WUNTRACED)
            store.claims.patience = 0
            store.claims.say = lambda _, child=child: os.kill(child, signal.SIGKILL)  # type: ignore[misc]
            wait(store)


def test_parts_of_several_processes_make_the_whole(two: tuple[Store, Store]) -> None:
    first, second = two
    first.claims.processes = second.claims.processes = 2
    ours, theirs = (shares(store.claims, KEYS, store.responses) for store in two)
    a, b = next(ours), next(theirs)
    assert (len(a.mine), len(b.mine)) == (75, 75)
    assert not set(a.mine) & set(b.mine)
    first.put_responses(answered(a.mine))
    second.put_responses(answered(b.mine))
    mine, found = list(a.mine), set[str]()
    for part in ours:
        mine += part.mine
        found |= set(part.found)
        first.put_responses(answered(part.mine))
        theirs.close()  # the other process ends; its part is stored
    assert set(mine) | found == set(KEYS)
    assert found == set(b.mine)
    assert not first.database.execute("SELECT * FROM claims")


def test_few_keys_are_divided_evenly(two: tuple[Store, Store]) -> None:
    first, second = two
    first.claims.processes = second.claims.processes = 2
    keys = KEYS[:59]
    ours, theirs = (shares(store.claims, keys, store.responses) for store in two)
    with closing(ours), closing(theirs):
        assert next(ours).mine == keys[:30]  # before the second asks, which would wait if the first had them all
        assert next(theirs).mine == keys[30:]


def test_a_process_that_is_late_finds_large_parts_all_the_same(two: tuple[Store, Store]) -> None:
    first = two[0]
    first.claims.processes = 2
    sizes = []
    for part in shares(first.claims, KEYS[:60], first.responses):
        sizes.append(len(part.mine))
        first.put_responses(answered(part.mine))
    assert sizes == [30, 30]


def test_the_answers_of_a_claimed_unit_are_not_divided(two: tuple[Store, Store]) -> None:
    first = two[0]
    first.claims.processes = 2
    for _ in claim_each(first.claims, {"arm": 1}, lambda: None):
        (part,) = shares(first.claims, KEYS, first.responses)
        assert part.mine == KEYS
    assert len(next(shares(first.claims, KEYS, first.responses)).mine) < len(KEYS)


def test_one_process_takes_everything_at_once(two: tuple[Store, Store]) -> None:
    found = list(shares(two[0].claims, KEYS, two[0].responses))
    assert [part.mine for part in found] == [KEYS]


def test_what_another_process_leaves_undone_is_taken_over(two: tuple[Store, Store]) -> None:
    first, second = two
    theirs = shares(second.claims, KEYS, second.responses)
    next(theirs)
    theirs.close()  # none of its part was stored
    assert [part.mine for part in shares(first.claims, KEYS, first.responses)] == [KEYS]


def test_units_that_others_are_at_come_last(two: tuple[Store, Store]) -> None:
    first, second = two
    units = {"a": 1, "b": 2, "c": 3}
    second.claims.take(["a"])
    told: list[str] = []

    def wait() -> None:
        told.append("waits")
        second.claims.release(["a"])

    assert list(claim_each(first.claims, units, wait)) == [2, 3, 1]
    assert told == ["waits"]


def test_claims_do_not_ask_the_clock() -> None:
    """A jump of the clock cannot end a claim: no module that decides about claims reads the clock."""
    from mipo_bench.harness.core import file_locks
    from mipo_bench.harness.store import claims, database

    for module in (claims, database, file_locks):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert "import time" not in source
        assert "datetime" not in source


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Processes()),
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Processes(1, 4, 1, 2)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, Processes(3, 4, 3, 4)),
        ({"WORLD_SIZE": "none"}, Processes()),
    ],
)
def test_the_launchers_variables_are_read_and_removed(environment: dict[str, str], place: Processes) -> None:
    given = {
        **environment,
        **{"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "ACCELERATE_MIXED_PRECISION": "fp16"},
        **{"TORCHELASTIC_RUN_ID": "x", "HOME": "/home"},
    }
    assert pop_launcher_rank(given) == place
    assert given == {"HOME": "/home"}


def test_each_process_takes_its_gpu_and_its_share_of_the_cores() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "2,5"}
    choose_gpu(Processes(3, 4, 1, 2), given)
    assert given == {"CUDA_VISIBLE_DEVICES": "5"}
    choose_gpu(Processes(), given)
    assert given == {"CUDA_VISIBLE_DEVICES": "5"}
    for gpus, one in ({}, "0"), ({"CUDA_VISIBLE_DEVICES": "3,4"}, "3"), ({"CUDA_VISIBLE_DEVICES": ""}, ""):
        alone: dict[str, str] = dict(gpus)
        choose_gpu(Processes(), alone)
        assert alone == {"CUDA_VISIBLE_DEVICES": one}
    assert threads_each(Processes(), 0, 8) == 8
    assert threads_each(Processes(1, 4, 1, 4), 0, 8) == 2
    assert threads_each(Processes(1, 4, 1, 4), 3, 8) == 3
    assert threads_each(Processes(1, 4, 1, 4), 0, 2) == 1


def test_a_place_survives_the_environment() -> None:
    place = Processes(2, 4, 1, 2)
    variables = as_environment(place) | {"HOME": "/"}
    assert pop_launcher_rank(variables) == place
    assert variables == {"HOME": "/"}


def test_a_run_hands_its_whole_configuration_to_its_helpers(tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text("TASKS = []\n")
    options = {"include": [str(plugin)], "data": [f"gsm8k={tmp_path}"], "recipes": ["mipo-random"], "seeds": 2}
    config = load_config(None, ["grid.beta=[0.1,0.2]", f"store={tmp_path / 'store'}"], options)
    assert config_from_line(config_to_line(config)) == config


def test_how_many_processes_a_run_has() -> None:
    assert 1 <= worker_count(load_config(None, [], {})) <= 4
    assert worker_count(load_config(None, ["processes=3"], {})) == 3
    assert worker_count(load_config(None, [], {"model": "some/model"})) == 1
    assert worker_count(load_config(None, [], {"model": "answers.jsonl"})) == 1
