"""Shares work among processes on one store: each claims a part, and reads the results of others from the store.

No process waits while there is unclaimed work, and a waiting process takes over the claims of a dead one. The holder of
a claim never waits for another claim of the same kind, so that two processes cannot wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mipo_bench.harness.store.claims import Claims
from mipo_bench.harness.store.waiting import Wait

T = TypeVar("T")
POLL = 0.05
"""Least seconds between two checks for results of other processes."""
_REST = 5
"""A waiting process sleeps so many times longer than a check takes, as one over many claims takes long."""


@dataclass(frozen=True, slots=True)
class Share(Generic[T]):
    """`mine`: keys that this process must compute now; `found`: results that others have computed."""

    mine: list[str] = field(default_factory=list)
    found: Mapping[str, T] = field(default_factory=dict)


def shares(claims: Claims, keys: Sequence[str], stored: Callable[[list[str]], dict[str, T]]) -> Generator[Share[T]]:
    """Yield every key once, as one to compute (`mine`) or with the result of another process (`found`).

    The caller must store the results of a part before it requests the next one. Close the iterator if it is left early.
    """
    left, wait = list(keys), Wait(claims)
    while left:
        began = time.monotonic()
        taken = claims.take(left, claims.share_size(len(left), len(keys)))
        try:
            found = stored(taken or left)  # another process may have stored it just before the claim
            mine = [key for key in taken if key not in found]
            if mine or found:
                yield Share(mine, found)
        finally:
            claims.release(taken)
        done = {*taken, *found}
        left = [key for key in left if key not in done]
        if done:
            wait = Wait(claims)
        else:
            wait.sleep(left, max(POLL, _REST * (time.monotonic() - began)))


def claim_each(claims: Claims, units: Mapping[str, T], announce: Callable[[], None]) -> Iterator[T]:
    """Yield every unit once, claimed while the caller works on it; units that other processes have claimed come last.

    If other processes have claimed all units that are left, it calls `announce` once and waits for them.
    """
    left: list[str] = list(units)
    wait: Wait | None = None
    while left:
        taken = claims.take(left, 1)
        if taken:
            left.remove(taken[0])
            try:
                claims.alone = True
                yield units[taken[0]]
            finally:
                claims.alone = False
                claims.release(taken)
            wait = wait and Wait(claims)
        else:
            if wait is None:
                announce()
                wait = Wait(claims)
            wait.sleep(left, POLL)
