"""The lines of JSON by which the processes of a training tell the run where they are and why they ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mipo_bench.harness.errors import described
from mipo_bench.harness.inference.memory import is_out_of_memory

_LONGEST = 600
"""Most characters of a message, of six bytes each at most: the system writes up to 4,096 bytes to a pipe as a whole."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process is there."""

    rank: int
    pid: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """A number of steps is done, of `total`."""

    step: int
    total: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A process ends with an error: the name of its class, its text, and the time in seconds since the epoch."""

    rank: int
    kind: str
    message: str
    out_of_memory: bool = False
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Killed:
    """A signal from outside has ended a process."""

    rank: int
    signal: str


Event = Started | Stepped | Failed | Killed
_KINDS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in (Started, Stepped, Failed, Killed)}


def failed(rank: int, error: BaseException) -> Failed:
    """The event of an error."""
    text = described(error).removeprefix(f"{type(error).__name__}: ")
    return Failed(rank, type(error).__name__, text[:_LONGEST], is_out_of_memory(error))


def send(event: Event, descriptor: int) -> None:
    """Write an event to a pipe, as one line."""
    os.write(descriptor, f"{json.dumps({type(event).__name__: asdict(event)})}\n".encode())


def received(line: str) -> Event | None:
    """The event of a line; None for a line that some library has printed."""
    try:
        (kind, values), *rest = json.loads(line).items()
        return None if rest else _KINDS[kind](**values)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
