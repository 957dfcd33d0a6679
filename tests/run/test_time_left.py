"""The time left of the stage that answers all requests of the base model, in simulated runs of several chunks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from threading import Condition

import pytest
from fakes import FakeGenerator

from mipo_bench.harness.core.pace import Kind, Length
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.evaluation import cached_answers
from mipo_bench.harness.evaluation.cached_answers import response_key
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.run.stages.prefetch import prefetch_answers
from mipo_bench.harness.store import waiting, work_sharing
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
    for source, (number, _) in ARMS.items():
        for n in [*range(number), *(range(0, number, 3) if source == "task pairs" else ())]:
            yield Request(f"{source} {n} " + "word " * (n % 50), 0, Decoding(512, 0.7), source=source)


class Clock:
    """Simulated seconds of threads that stand for processes. One of them runs at a time: the first to wake up.

    Each thread has to `sleep` before it does anything else, and to `leave` at its end.
    """

    def __init__(self, threads: int = 1) -> None:
        self._now = 0.0
        self._awake = threads
        self._asleep: list[tuple[float, int]] = []
        self._order = count()
        self._changed = Condition()

    def __call__(self) -> float:
        return self._now

    monotonic = __call__

    def sleep(self, seconds: float) -> None:
        with self._changed:
            mine = (self._now + seconds, next(self._order))
            heappush(self._asleep, mine)
            self._awake -= 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self._awake and self._asleep[0] == mine, timeout=60)
            heappop(self._asleep)
            self._now, self._awake = mine[0], 1

    def leave(self) -> None:
        with self._changed:
            self._awake -= 1
            self._changed.notify_all()


class SlotEngine(FakeGenerator):
    """Answers in slots: a prompt is read in 0.2 s, a step of all slots takes 1 s.

    `moments` are the times left at some moments; `sizes` are the numbers of requests that it was given at once.
    """

    def __init__(self, stage: Stage, clock: Clock) -> None:
        super().__init__("engine", lambda request: request.prompt)
        self.stage, self.clock = stage, clock
        self.moments: list[tuple[float, float | None]] = []
        self.sizes: list[int] = []
        self._steps = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        self.sizes.append(len(requests))
        queue = list(enumerate(requests))
        running: list[tuple[int, Length, int]] = []
        while queue or running:
            while queue and len(running) < SLOTS:
                position, request = queue.pop()
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


def answered(folder: Path, clock: Clock, processes: int = 1, chunk: int = CHUNK, begins: float = 0) -> SlotEngine:
    """The engine of one process, which begins at this second, after it has answered all requests or its share."""
    with closing(Store(folder)) as store, ExitStack() as end:
        end.callback(clock.leave)
        clock.sleep(begins)
        store.claims.processes = processes
        engine = SlotEngine(Stage("prompting arms and pairs of all tasks", "responses", clock), clock)
        prefetch_answers(requests, engine, store, engine.stage, chunk)
        engine.moments.append((clock(), 0.0))
        return engine


def assert_sensible(moments: Sequence[tuple[float, float | None]], below: float, above: float) -> None:
    """After a tenth of the time, no time left is off by more than these factors, but for a twentieth of all time."""
    began, ended = moments[0][0], moments[-1][0]
    later = [(ended - now, left) for now, left in moments if now - began > (ended - began) / 10]
    assert len(later) > 10
    assert all(left is not None for _, left in later)
    slack = (ended - began) / 20
    off = [((left or 0) + slack) / (true + slack) for true, left in later]
    assert 1 / below < min(off), min(off)
    assert max(off) < above, max(off)


def test_one_process_knows_the_work_of_all_chunks_and_holds_one(tmp_path: Path) -> None:
    engine = answered(tmp_path, Clock())
    assert_sensible(engine.moments, below=3, above=3)
    assert engine.stage.done == engine.stage.total == 1500
    assert engine.sizes == [256, 256, 256, 256, 256, 220]


def test_stored_responses_are_no_work(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        engine = SlotEngine(Stage("", ""), Clock())
        stored = [request for request in requests() if request.source != "task plain"]
        store.put_responses((response_key(engine, request), Response("old", 1, 1, "stop")) for request in stored)
    engine = answered(tmp_path, Clock())
    assert_sensible(engine.moments, below=2, above=2)
    assert engine.stage.pace.work.results == 300
    assert engine.stage.done == engine.stage.total == 1500


def test_several_processes_share_the_work_and_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(3)
    for module in (cached_answers, waiting, work_sharing):
        monkeypatch.setattr(module, "time", clock)
    with ThreadPoolExecutor(3) as pool:
        engines = list(pool.map(lambda n: answered(tmp_path, clock, 3, 2 * CHUNK, begins=n), range(3)))
    assert sum(engine.stage.pace.results for engine in engines) == 1500
    for engine in engines:
        assert_sensible(engine.moments, below=2.1, above=1.5)
        assert engine.stage.done == engine.stage.total


@pytest.mark.parametrize("source", ["task plain", "another arm"])
def test_the_source_of_a_request_is_no_part_of_its_key(source: str) -> None:
    engine, request = SlotEngine(Stage("", ""), Clock()), next(requests())
    assert response_key(engine, request) == response_key(engine, replace(request, source=source))
