"""Work that several processes share over one store: each claims a part, and finds in the store what others computed.

Nobody waits while there is unclaimed work, and whoever waits takes over the claims of a process that is gone. Those who
hold a claim never wait for another one of the same kind, so that two processes cannot wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mipo_bench.harness.store.claims import Claims

T = TypeVar("T")
POLL = 0.05
"""Seconds between two looks at what others have finished, at least."""
_REST = 5
"""Who waits rests so many times longer than a look takes, where much is claimed."""


@dataclass(frozen=True, slots=True)
class Share(Generic[T]):
    """Keys that this process is to compute now, and what others have computed in the meantime."""

    mine: list[str] = field(default_factory=list)
    found: Mapping[str, T] = field(default_factory=dict)


def shares(claims: Claims, keys: Sequence[str], stored: Callable[[list[str]], dict[str, T]]) -> Generator[Share[T]]:
    """Every key once, in a part to be computed or among what others have stored.

    A part must be in the store before the next one is asked for. Close the iterator when it is left early.
    """
    left = list(keys)
    while left:
        began = time.monotonic()
        taken = claims.take(left, claims.share_size(len(left)))
        try:
            found = stored(taken or left)  # somebody may have finished it just before the claim
            mine = [key for key in taken if key not in found]
            if mine or found:
                yield Share(mine, found)
        finally:
            claims.release(taken)
        gone = {*taken, *found}
        left = [key for key in left if key not in gone]
        if not gone:
            time.sleep(max(POLL, _REST * (time.monotonic() - began)))


def claim_each(claims: Claims, units: Mapping[str, T], wait: Callable[[], None]) -> Iterator[T]:
    """Every unit once, claimed while it is worked on; those that others are at come last.

    Where others are at everything that is left, it calls `wait` once and waits for them.
    """
    left, told = list(units), False
    while left:
        taken = claims.take(left, 1)
        if taken:
            left.remove(taken[0])
            try:
                yield units[taken[0]]
            finally:
                claims.release(taken)
        else:
            if not told:
                wait()
            told = True
            time.sleep(POLL)
