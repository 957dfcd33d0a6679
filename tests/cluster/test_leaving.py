"""The end of a run on a Ray cluster, with the parts that talk to Ray replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fakes import FakeHost
from worlds import settings

from mipo_bench.harness.cluster import ray_cluster
from mipo_bench.harness.cluster.pool import HostLostError, Pool, RemoteHost
from mipo_bench.harness.cluster.wire import Facts
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.generators.placement import Placement


class Recruiter:
    """Adds one host. Its end is that of the hosts."""

    ended = threading.Event()

    def __init__(self, config: RunConfig, prepare: ray_cluster.Prepare, pool: Pool) -> None:
        self.pool = pool

    def start(self) -> None:
        self.pool.add(FakeHost("a"), Facts("base", Placement(), {"device": "cpu"}))

    def close(self) -> None:
        self.ended.set()


def test_ctrl_c_leaves_the_cluster_only_when_no_thread_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray ends the whole process, with exit code 1, where a thread still uses it after the shutdown."""
    order: list[str] = []
    begun = threading.Event()

    @contextmanager
    def connected(address: str) -> Iterator[None]:
        try:
            yield
        finally:
            order.append("left")

    def work(host: RemoteHost) -> None:
        begun.set()
        Recruiter.ended.wait()
        time.sleep(0.05)
        order.append("came back")
        raise HostLostError("its process was ended")

    monkeypatch.setattr(ray_cluster, "reachable", str)
    monkeypatch.setattr(ray_cluster, "connected", connected)
    monkeypatch.setattr(ray_cluster, "_Recruiter", Recruiter)
    executor = ThreadPoolExecutor(1)
    hosts = ray_cluster.ray_hosts(settings(), lambda _: None, lambda _: None)
    call = executor.submit(hosts.__enter__().call, "work", "", work)
    begun.wait()
    hosts.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert str(call.exception()) == "the run has ended"
    assert order == ["came back", "left"]
