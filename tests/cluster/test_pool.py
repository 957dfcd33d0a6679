"""The hosts of a run as the driver sees them, with hosts in threads and no cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fakes import FakeHost

from mipo_bench.harness.cluster.pool import LOSSES, HostLostError, Pool, RemoteHost
from mipo_bench.harness.cluster.wire import Facts
from mipo_bench.harness.errors import ClusterError, StageError
from mipo_bench.harness.generators.placement import Placement

FACTS = Facts("base", Placement(), {"device": "cpu"})


def pool_of(*hosts: FakeHost, patience: float = 5.0, say: Callable[[str], None] = lambda _: None) -> Pool:
    pool = Pool(patience, say)
    for host in hosts:
        pool.add(host, FACTS)
    return pool


def name_of(host: RemoteHost) -> str:
    return host.name


def test_a_lost_host_is_named_and_its_work_goes_to_another_one() -> None:
    lines: list[str] = []
    pool = pool_of(FakeHost("a", lose=lambda *_: True), FakeHost("b"), say=lines.append)

    def work(host: RemoteHost) -> str:
        host.answer("base", [])
        return host.name

    assert pool.call("8 responses", "", work) == "b"
    assert lines == ["! host a is lost at 8 responses, which goes to another one: its process was killed"]
    assert (pool.size, pool.joined, pool.lost, pool.names) == (1, 2, 1, {"b"})


def test_work_that_loses_three_hosts_fails_and_other_work_goes_on() -> None:
    pool = pool_of(*(FakeHost(str(n)) for n in range(LOSSES + 1)))

    def poison(host: RemoteHost) -> None:
        raise HostLostError("killed")

    for _ in range(2):  # also when it is met again, without another loss
        with pytest.raises(StageError, match="the process of its host ended 3 times; out of memory"):
            pool.call("the training of x", "", poison)
        assert pool.lost == LOSSES
    assert pool.call("another", "", name_of) == "3"


def test_without_a_host_for_the_time_of_patience_the_run_ends() -> None:
    pool = pool_of(FakeHost("a", lose=lambda *_: True), patience=0.05)
    with pytest.raises(ClusterError) as refusal:
        pool.call("work", "", lambda host: host.answer("base", []))
    assert "no host for 0.05 seconds (cluster.patience): host a was lost: its process was killed" in str(refusal.value)
    assert "the same command goes on" in str(refusal.value)


def test_a_host_that_joins_in_time_takes_over() -> None:
    pool = pool_of(FakeHost("a", lose=lambda *_: True), patience=30)
    threading.Timer(0.05, lambda: pool.add(FakeHost("b"), FACTS)).start()

    def work(host: RemoteHost) -> str:
        host.answer("base", [])
        return host.name

    assert pool.call("work", "", work) == "b"


def test_the_time_without_a_host_begins_with_the_loss_and_not_with_the_run() -> None:
    pool = pool_of(FakeHost("a"), patience=0.1)
    time.sleep(0.15)
    threading.Timer(0.03, lambda: pool.add(FakeHost("b"), FACTS)).start()

    def work(host: RemoteHost) -> str:
        if host.name == "a":
            raise HostLostError("killed")
        return host.name

    assert pool.call("work", "", work) == "b"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(FACTS, model_digest="another"), "model digest another instead of base"),
        (replace(FACTS, placement=Placement(device="cuda", gpu="H100")), "gpu='H100'"),
    ],
)
def test_hosts_that_would_give_other_results_end_the_run(other: Facts, words: str) -> None:
    pool = pool_of(FakeHost("a"))
    pool.add(FakeHost("b"), other)
    with pytest.raises(ClusterError, match="host b differs from the first one") as refusal:
        pool.call("work", "", name_of)
    assert words in str(refusal.value)


def test_other_cores_are_no_difference() -> None:
    pool = pool_of(FakeHost("a"))
    pool.add(FakeHost("b"), replace(FACTS, hardware={"device": "cpu", "cores": 64}))
    assert pool.call("work", "", name_of) == "a"


def test_a_checkpoint_is_asked_for_where_it_is() -> None:
    first, second = FakeHost("a"), FakeHost("b")
    second.holds.add("checkpoint")
    pool = pool_of(first, second)
    assert pool.call("work", "checkpoint", name_of) == "b"
    assert pool.call("work", "elsewhere", name_of) == "a"


def test_each_host_does_one_thing_at_a_time() -> None:
    pool, busy, most = pool_of(FakeHost("a"), FakeHost("b")), set[str](), [0]

    def work(host: RemoteHost) -> None:
        assert host.name not in busy
        busy.add(host.name)
        most.append(len(busy))
        time.sleep(0.001)
        busy.remove(host.name)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda n: pool.call(str(n), "", work), range(50)))
    assert max(most) == 2


def test_the_end_of_the_run_wakes_up_whoever_waits() -> None:
    pool = Pool(60, lambda _: None)
    threading.Timer(0.02, lambda: pool.stop(ClusterError("the run has ended"))).start()
    with pytest.raises(ClusterError, match="the run has ended"):
        pool.first_facts()


def test_the_pool_is_unused_once_every_call_has_come_back() -> None:
    pool, begun, end = pool_of(FakeHost("a")), threading.Event(), threading.Event()

    def work(host: RemoteHost) -> None:
        begun.set()
        end.wait()
        raise StageError("a host failed")

    assert pool.wait_until_unused(0)
    executor = ThreadPoolExecutor(1)
    call = executor.submit(pool.call, "work", "", work)
    begun.wait()
    in_use = not pool.wait_until_unused(0.02)
    end.set()
    assert in_use
    assert pool.wait_until_unused(30)
    assert isinstance(call.exception(), StageError)
