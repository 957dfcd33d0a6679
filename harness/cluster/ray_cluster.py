"""The hosts of a run as actors of a Ray cluster. Only this module and `ray_connection` import ray.

Ray's own retries of actors are off: they would wait for a free place without end. `Pool` gives lost work to another
host, and a thread here starts new hosts as long as there is room for them.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mipo_bench.harness.cluster.host import Host, scratch_folder
from mipo_bench.harness.cluster.pool import SAME, HostLostError, Pool
from mipo_bench.harness.cluster.ray_connection import connected, on_stderr, reachable
from mipo_bench.harness.cluster.wire import Answers, Facts, Failed, Part, Trained, Unknown, difference, versions
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ClusterError, StageError, first_line
from mipo_bench.harness.protocols import Arm, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Response
from mipo_bench.reports.numbers import plural

Prepare = Callable[[RunConfig], None]
"""Prepares the process of a host before torch is imported. A function of a module, because it is sent by its name."""
_POLL = 0.5
"""Seconds between two looks whether a host has started or there is room for another one."""
_LEAVE = 10.0
"""Most seconds at the end for calls whose hosts have been ended to come back."""
_SHARED = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that a host takes from the driver: a checkpoint's tokenizer_config.json says whether they are set."""


class _Actor:
    """A `Host` in a process of its own. It starts in two calls, so that unequal versions are seen before anything else.

    Ray calls one method at a time.
    """

    def versions(self) -> tuple[dict[str, str], str]:
        """The versions here, and the address of this machine."""
        import ray

        return versions(), str(ray.util.get_node_ip_address())

    def start(self, config: RunConfig, prepare: Prepare, shared: Mapping[str, str]) -> Facts | Failed:
        for name in _SHARED:
            os.environ.pop(name, None)
        os.environ.update(shared)
        prepare(config)
        try:
            self.host = Host(config, scratch_folder(Path(tempfile.gettempdir()) / f"mipo-bench-hosts-{os.getuid()}"))
        except Exception as error:  # noqa: BLE001 - the driver shows it
            return Failed.of(error)
        return self.host.facts

    def answer(self, weights: str, requests: Sequence[Request]) -> Answers[Response] | Failed | Unknown:
        return self.host.answer(weights, requests)

    def likelihoods(
        self, weights: str, asked: Sequence[LikelihoodRequest]
    ) -> Answers[tuple[Likelihood, ...]] | Failed | Unknown:
        return self.host.likelihoods(weights, asked)

    def train(self, arm: Arm, data: PairSet) -> Iterator[Part | Trained | Failed]:
        yield from self.host.train(arm, data)

    def take(self, weights: str, piece: Part | None) -> Failed | None:
        return self.host.take(weights, piece)

    def close(self) -> None:
        self.host.close()


class RayHost:
    """The `RemoteHost` of an actor."""

    def __init__(self, actor: Any, name: str) -> None:
        """`actor` has started."""
        self._actor, self.name = actor, name
        self.holds: set[str] = set()

    def answer(self, weights: str, requests: Sequence[Request]) -> Answers[Response] | Failed | Unknown:
        """See `RemoteHost`."""
        reply: Answers[Response] | Failed | Unknown = self._reply(self._actor.answer, weights, list(requests))
        return reply

    def likelihoods(
        self, weights: str, asked: Sequence[LikelihoodRequest]
    ) -> Answers[tuple[Likelihood, ...]] | Failed | Unknown:
        """See `RemoteHost`."""
        reply: Answers[tuple[Likelihood, ...]] | Failed | Unknown
        reply = self._reply(self._actor.likelihoods, weights, list(asked))
        return reply

    def train(self, arm: Arm, data: PairSet) -> Iterator[Part | Trained | Failed]:
        """See `RemoteHost`. At most a few pieces are on their way at one time."""
        import ray

        method = self._actor.train.options(num_returns="streaming", _generator_backpressure_num_objects=4)
        with _lost():
            for reference in method.remote(arm, data):
                yield ray.get(reference)

    def take(self, weights: str, piece: Part | None) -> Failed | None:
        """See `RemoteHost`."""
        failed: Failed | None = self._reply(self._actor.take, weights, piece)
        return failed

    def _reply(self, method: Any, *arguments: object) -> Any:
        import ray

        with _lost():
            return ray.get(method.remote(*arguments))


@contextmanager
def _lost() -> Iterator[None]:
    """Raise HostLostError where an actor is gone, and StageError for an error of its code."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:
        raise StageError(f"a host failed: {first_line(error.cause or error)}") from error
    except RayError as error:
        raise HostLostError(f"{type(error).__name__}: {first_line(error)}") from error


def _shared() -> dict[str, str]:
    return {name: os.environ[name] for name in _SHARED if name in os.environ}


@dataclass(frozen=True, slots=True)
class _Room:
    """The resources of one host, as `options` of an actor takes them, and how many such hosts the cluster holds."""

    needs: Mapping[str, float]
    hosts: int
    text: str


def _room(config: RunConfig) -> _Room:
    """The room of the connected cluster. A host takes a GPU where the cluster has any."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wants_gpu = config.device == "auto" or config.device.startswith("cuda")
    on_gpu = wants_gpu and any(node.get("GPU", 0) >= 1 for node in nodes)
    name, amount = ("GPU", 1) if on_gpu else ("CPU", max(1, config.threads))
    there = [node.get(name, 0) for node in nodes]
    return _Room(
        {"num_cpus": 1, "num_gpus": 1} if on_gpu else {"num_cpus": amount},
        sum(int(share // amount) for share in there),
        f"one takes {amount} {name} of a node; {plural(len(nodes), 'node')} have {sum(there):g}",
    )


class _Recruiter:
    """Starts hosts while the cluster has room for them, and adds them to the pool as soon as they are ready."""

    def __init__(self, config: RunConfig, prepare: Prepare, pool: Pool) -> None:
        """See `ray_hosts`."""
        self._config, self._prepare, self._pool = config, prepare, pool
        self._ours = versions()
        self._actors: dict[str, Any] = {}
        """Name -> actor, of all hosts that have not ended."""
        self._starting: dict[Any, str] = {}
        """Reference to the awaited reply -> name, of the hosts that are not ready."""
        self._places: dict[str, str] = {}
        self._numbers = count(1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin in a thread."""
        self._thread.start()

    def close(self) -> None:
        """End all hosts."""
        import ray

        self._closed.set()
        self._thread.join()
        ready = [actor for name, actor in self._actors.items() if name in self._pool.names]
        with suppress(Exception):
            ray.wait([actor.close.remote() for actor in ready], num_returns=len(ready), timeout=2)
        for actor in self._actors.values():
            ray.kill(actor)

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._end_lost()
                self._begin(self._wanted() - self._pool.size - len(self._starting))
                self._look()
                self._closed.wait(_POLL)
        except Exception as error:  # noqa: BLE001 - the thread must not end in silence
            self._pool.stop(ClusterError(f"the cluster cannot be used: {type(error).__name__}: {first_line(error)}"))

    def _wanted(self) -> int:
        room = _room(self._config)
        if not self._pool.joined and not self._places:
            self._pool.last_loss = f"none has started; {room.text}"
        return self._config.cluster.hosts or room.hosts

    def _begin(self, number: int) -> None:
        import ray

        kind = ray.remote(_Actor)
        for _ in range(number):
            name = str(next(self._numbers))
            options = {
                **_room(self._config).needs,
                "max_restarts": 0,
                "max_task_retries": 0,
                "scheduling_strategy": "SPREAD",
            }
            self._actors[name] = kind.options(**options).remote()
            self._starting[self._actors[name].versions.remote()] = name

    def _look(self) -> None:
        """Go on with the hosts that have replied."""
        import ray

        if not self._starting:
            return
        ready, _ = ray.wait(list(self._starting), num_returns=len(self._starting), timeout=0)
        for reference in ready:
            name = self._starting.pop(reference)
            try:
                self._replied(name, ray.get(reference))
            except ray.exceptions.RayTaskError as error:
                self._pool.stop(ClusterError(f"host {name} cannot start: {first_line(error.cause or error)}. {SAME}"))
            except ray.exceptions.RayError as error:  # its process or node has ended; another one starts in its place
                self._actors.pop(name)
                self._pool.last_loss = f"host {name} ended while it started: {first_line(error)}"

    def _replied(self, name: str, reply: Facts | Failed | tuple[dict[str, str], str]) -> None:
        if isinstance(reply, Facts):
            self._pool.add(RayHost(self._actors[name], name), reply)
        elif isinstance(reply, Failed):
            self._pool.stop(ClusterError(f"host {name} ({self._places[name]}) cannot start: {reply.message}"))
        elif differs := difference(self._ours, reply[0]):
            self._pool.stop(ClusterError(f"host {name} ({reply[1]}) has other versions: {differs}. {SAME}"))
        else:
            self._places[name] = reply[1]
            self._starting[self._actors[name].start.remote(self._config, self._prepare, _shared())] = name

    def _end_lost(self) -> None:
        """End the actors of hosts that the pool has given up; a process may still be there."""
        import ray

        for name in [n for n in self._actors if n not in self._pool.names and n not in self._starting.values()]:
            ray.kill(self._actors.pop(name))


def describe_cluster(config: RunConfig) -> tuple[int | None, str]:
    """The number of hosts that the run's cluster holds, None if the run starts one, and the same in words.

    Starts no cluster. Raises ClusterError where it cannot be reached.
    """
    address = reachable(str(config.cluster.address))
    if address == "local":
        return None, "RAY_ADDRESS is not set: the run starts a cluster on this machine alone"
    with on_stderr(), connected(address):
        room = _room(config)
    return room.hosts, f"{address} answers, with room for {plural(room.hosts, 'host')}: {room.text}"


@contextmanager
def ray_hosts(config: RunConfig, prepare: Prepare, say: Callable[[str], None]) -> Iterator[Pool]:
    """The hosts of a run, which `prepare` prepares. They end with the block, and a cluster that it started as well.

    `say` shows a line. Raises ClusterError where Ray is missing, or the cluster cannot be reached.
    """
    address = reachable(str(config.cluster.address))
    pool = Pool(config.cluster.patience, say)
    with on_stderr(), connected(address):
        recruiter = _Recruiter(config, prepare, pool)
        recruiter.start()
        try:
            yield pool
        finally:
            pool.stop(ClusterError("the run has ended"))
            try:
                recruiter.close()
            finally:
                pool.wait_until_unused(_LEAVE)  # Ray ends the process where a thread still uses it after its shutdown
