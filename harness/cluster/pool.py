"""The hosts of a run as the driver sees them: who is free, who was lost, and how often a piece of work lost its host.

Whoever waits for a host holds none, and the holder of a host waits for nothing but its answer: no two can wait for
each other. Work whose host is lost goes to another one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition
from typing import Protocol, TypeVar

from mipo_bench.harness.cluster.wire import Answers, Facts, Failed, Part, Trained, Unknown, difference
from mipo_bench.harness.errors import ClusterError, MipoBenchError, StageError
from mipo_bench.harness.protocols import Arm, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Response

T = TypeVar("T")
LOSSES = 3
"""Hosts that one piece of work may lose before it counts as the cause, such as a training that runs out of memory."""
_LOOK = 1.0
"""Seconds between two looks at the time without any host."""


class HostLostError(MipoBenchError):
    """A host has ended or cannot be reached. The pool catches it."""


class RemoteHost(Protocol):
    """A host on another machine; see `Host`. Every method raises HostLostError where the host is gone."""

    name: str
    holds: set[str]
    """The digests of the checkpoints that it should have."""

    def answer(self, weights: str, requests: Sequence[Request]) -> Answers[Response] | Failed | Unknown:
        """See `Host`."""
        ...

    def likelihoods(
        self, weights: str, asked: Sequence[LikelihoodRequest]
    ) -> Answers[tuple[Likelihood, ...]] | Failed | Unknown:
        """See `Host`."""
        ...

    def train(self, arm: Arm, data: PairSet) -> Iterator[Part | Trained | Failed]:
        """See `Host`."""
        ...

    def take(self, weights: str, piece: Part | None) -> Failed | None:
        """See `Host`."""
        ...


class Pool:
    """The hosts of one run, for several threads."""

    def __init__(self, patience: float, say: Callable[[str], None]) -> None:
        """`patience` is the time in seconds without any host after which a call gives up; `say` shows a line."""
        self._patience, self._say = patience, say
        self._changed = Condition()
        self._hosts: list[RemoteHost] = []
        self._free: list[RemoteHost] = []
        self._users = 0
        self._losses = Counter[str]()
        self._empty_since = time.monotonic()
        self._end: BaseException | None = None
        self.facts: Facts | None = None
        """Those of the first host, which all others share."""
        self.failed: dict[str, Failed] = {}
        """Name of a training that failed on its host -> the error, which another try would meet again."""
        self.joined = self.lost = 0
        """Hosts so far."""
        self.last_loss = "none has started"
        """Why there is no host, for the message that says so."""

    @property
    def size(self) -> int:
        """Number of hosts now."""
        return len(self._hosts)

    @property
    def names(self) -> set[str]:
        """The names of the hosts now."""
        with self._changed:
            return {host.name for host in self._hosts}

    def add(self, host: RemoteHost, facts: Facts) -> None:
        """Add a host. One that differs from the first in what decides a result ends the run."""
        with self._changed:
            self.facts = self.facts or facts
            if differs := difference(_deciding(self.facts), _deciding(facts)):
                self._stop(ClusterError(f"host {host.name} differs from the first one: {differs}. {SAME}"))
                return
            self._hosts.append(host)
            self._free.append(host)
            self.joined += 1
            self._changed.notify_all()

    def stop(self, error: BaseException) -> None:
        """Let every call raise this error instead of waiting for a host."""
        with self._changed:
            self._stop(error)

    def wait_until_unused(self, seconds: float) -> bool:
        """Whether, within this time, every call has given its host back."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._users, seconds)

    def _stop(self, error: BaseException) -> None:
        self._end = self._end or error
        self._changed.notify_all()

    def first_facts(self) -> Facts:
        """The facts of the first host, once there is one. Raises ClusterError."""
        with self._borrowed(""):
            assert self.facts is not None
            return self.facts

    def call(self, name: str, weights: str, work: Callable[[RemoteHost], T]) -> T:
        """Let `work` use a host, one that has the checkpoint `weights` if it is free; another one if that is lost.

        `name` says what is done. Raises StageError once that has lost three hosts, and ClusterError without hosts.
        """
        while True:
            if self._losses[name] >= LOSSES:
                raise StageError(f"the process of its host ended {LOSSES} times; out of memory?")
            with self._borrowed(weights) as host:
                try:
                    return work(host)
                except HostLostError as error:
                    self._drop(host, name, error)

    def _drop(self, host: RemoteHost, name: str, error: HostLostError) -> None:
        with self._changed:
            if self._end is not None:
                raise self._end
            self._hosts.remove(host)
            self._losses[name] += 1
            self.lost += 1
            self._empty_since = time.monotonic()
            self.last_loss = f"host {host.name} was lost: {error}"
            self._changed.notify_all()
        self._say(f"! host {host.name} is lost at {name}, which goes to another one: {error}")

    @contextmanager
    def _borrowed(self, weights: str) -> Iterator[RemoteHost]:
        with self._changed:
            host = self._wait(weights)
            self._free.remove(host)
            self._users += 1
        try:
            yield host
        finally:
            with self._changed:
                self._users -= 1
                if host in self._hosts:
                    self._free.append(host)
                self._changed.notify_all()

    def _wait(self, weights: str) -> RemoteHost:
        while True:
            if self._end is not None:
                raise self._end
            if self._free:
                return next((host for host in self._free if weights in host.holds), self._free[0])
            if not self._hosts and time.monotonic() - self._empty_since > self._patience:
                raise ClusterError(
                    f"the cluster has given no host for {self._patience:g} seconds (cluster.patience):"
                    f" {self.last_loss}. Everything computed so far is kept: the same command goes on."
                )
            self._changed.wait(min(_LOOK, self._patience))


SAME = "Install the same packages on every node, and give every host the same model and the same kind of GPU."


def _deciding(facts: Facts) -> dict[str, object]:
    """The parts of the facts that decide a result."""
    return {"model digest": facts.model_digest[:12], "placement": facts.placement}
