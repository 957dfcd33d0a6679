"""The time left of the stage that answers all requests of the base model, in simulated runs of several chunks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes import FakeGenerator

from mipo_bench.harness.core.pace import Kind, Length
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.evaluation.cached_answers import response_key
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.run.stages.prefetch import prefetch_answers
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding, Response

SLOTS, CHUNK = 16, 256
LOOK_EVERY = 40
"""Steps between two looks at the time left."""
Draw = Callable[[random.Random], float]
ARMS: dict[str, tuple[int, Draw]] = {
    "task letter": (600, lambda r: r.uniform(2, 5)),
    "task plain": (300, lambda r: r.gauss(60, 10)),
    "task pairs": (600, lambda r: r.expovariate(1 / 90)),
}
"""What asks -> number of requests, and how long the responses are: the last chunks are unlike the first."""


def requests() -> Iterator[Request]:
    """All requests, arm by arm. Some of the pairs are asked for twice, as two recipes may share them."""
    for source, (count, _) in ARMS.items():
        for n in [*range(count), *(range(0, count, 3) if source == "task pairs" else ())]:
            yield Request(f"{source} {n} " + "word " * (n % 50), 0, Decoding(512, 0.7), source=source)


@dataclass
class Clock:
    """Seconds that the engine itself counts."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class RealClock:
    """Seconds that pass 500 times faster than real ones."""

    def __call__(self) -> float:
        return time.monotonic() * 500

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 500)


class SlotEngine(FakeGenerator):
    """Answers in slots: a prompt is read in 0.2 s, a step of all slots takes 1 s.

    `moments` are the times left at some moments; `sizes` are the numbers of requests that it was given at once.
    """

    def __init__(self, stage: Stage, clock: Clock | RealClock) -> None:
        super().__init__("engine", lambda request: request.prompt)
        self.stage, self.clock = stage, clock
        self.moments: list[tuple[float, float | None]] = []
        self.sizes: list[int] = []
        self._steps = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        self.sizes.append(len(requests))
        waiting = list(enumerate(requests))
        running: list[tuple[int, Length, int]] = []
        while waiting or running:
            while waiting and len(running) < SLOTS:
                position, request = waiting.pop()
                length = ARMS[request.source][1](random.Random(request.prompt))
                running.append((position, (Kind.of(request), 0), min(512, max(1, int(length)))))
                self.clock.sleep(0.2)
                self.stage.read(len(request.prompt))
            self.clock.sleep(1)
            running = [(position, (kind, tokens + 1), length) for position, (kind, tokens), length in running]
            ended = [row for row in running if row[1][1] == row[2]]
            running = [row for row in running if row[1][1] < row[2]]
            self.stage.decode([row[1] for row in running], [row[1] for row in ended])
            self._steps += 1
            if self._steps % LOOK_EVERY == 0:
                self.moments.append((self.clock(), self.stage.pace.left()))
            for position, _, length in ended:
                yield position, Response("text", 1, length, "stop")


def answered(folder: Path, clock: Clock | RealClock, processes: int = 1, chunk: int = CHUNK) -> SlotEngine:
    """The engine of one process after it has answered all requests, or its share of them."""
    with closing(Store(folder)) as store:
        store.claims.processes = processes
        engine = SlotEngine(Stage("prompting arms and pairs of all tasks", "responses", clock), clock)
        prefetch_answers(requests, engine, store, engine.stage, chunk)
        engine.moments.append((clock(), 0.0))
        return engine


def assert_sensible(moments: Sequence[tuple[float, float | None]], factor: float) -> None:
    """After a tenth of the time, no time left is off by more than the factor, but for a twentieth of the whole time."""
    began, ended = moments[0][0], moments[-1][0]
    later = [(ended - now, left) for now, left in moments if now - began > (ended - began) / 10]
    assert len(later) > 10
    assert all(left is not None for _, left in later)
    slack = (ended - began) / 20
    off = [((left or 0) + slack) / (true + slack) for true, left in later]
    assert 1 / factor < min(off), min(off)
    assert max(off) < factor, max(off)


def test_one_process_knows_the_work_of_all_chunks_and_holds_one(tmp_path: Path) -> None:
    engine = answered(tmp_path, Clock())
    assert_sensible(engine.moments, 3)
    assert engine.stage.done == engine.stage.total == 1500
    assert engine.sizes == [256, 256, 256, 256, 256, 220]


def test_stored_responses_are_no_work(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        engine = SlotEngine(Stage("", ""), Clock())
        stored = [request for request in requests() if request.source != "task plain"]
        store.put_responses((response_key(engine, request), Response("old", 1, 1, "stop")) for request in stored)
    engine = answered(tmp_path, Clock())
    assert_sensible(engine.moments, 2)
    assert engine.stage.pace.work.results == 300
    assert engine.stage.done == engine.stage.total == 1500


def test_several_processes_share_the_work_and_the_time(tmp_path: Path) -> None:
    clock = RealClock()
    with ThreadPoolExecutor(3) as pool:
        engines = list(pool.map(lambda _: answered(tmp_path, clock, 3, 2 * CHUNK), range(3)))
    assert sum(engine.stage.pace.results for engine in engines) == 1500
    for engine in engines:
        assert_sensible(engine.moments, 4)
        assert engine.stage.done == engine.stage.total


@pytest.mark.parametrize("source", ["task plain", "another arm"])
def test_the_source_of_a_request_is_no_part_of_its_key(source: str) -> None:
    engine, request = SlotEngine(Stage("", ""), Clock()), next(requests())
    assert response_key(engine, request) == response_key(engine, replace(request, source=source))
