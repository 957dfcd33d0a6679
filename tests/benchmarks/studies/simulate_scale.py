"""Simulates a run on 10 to 1,000 hosts, and measures how many records a second one driver can store.

Run by hand from the repository's root; no cluster and no GPU is needed:

    python tests/benchmarks/studies/simulate_scale.py writer  # records a second into SQLite, with fake hosts
    python tests/benchmarks/studies/simulate_scale.py simulate  # makespan and efficiency at 10 to 1,000 hosts
    python tests/benchmarks/studies/simulate_scale.py simulate --stream 0  # checkpoints stay in a folder that all see

`writer`: threads stand for hosts. Each hands over batches of responses; either one thread stores them all, or each
thread has a connection of its own to the same store, as processes on one store do.

`simulate`: a discrete simulation of the schedule. Chunks of base answers go to all hosts; then each host takes one
trained arm after another (training, answers, likelihoods), sends its checkpoint to the driver through one link, and
hands its records to the one writer. It waits for both. A lost host loses its unit; another one takes it, once the loss
was noticed.
The lower bound is the larger of all work over the hosts, and the longest unit; efficiency is work over hosts times
makespan. The unit times are those of a measured rate (see `harness/startup/gpus.py`), with a normal spread of 10%.
"""

from __future__ import annotations

import argparse
import heapq
import random
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.startup.gpus import MEASUREMENTS
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Response

CHUNK = 256
Batch = list[tuple[str, Response]]
_MEASURED = MEASUREMENTS[0]
_SPREAD = 0.1


@dataclass(frozen=True)
class Unit:
    """One piece of work: seconds on a host, records for the store, bytes of its checkpoint."""

    seconds: float
    records: int
    checkpoint: float = 0.0


@dataclass(frozen=True)
class World:
    """The cluster. `mtbf` and `repair` are mean seconds until a host is lost, and until another one takes its place.

    `notice` is the time until the driver knows of a loss. `writer` is in records a second, `stream` in bytes a second
    (0: checkpoints are not sent).
    """

    hosts: int
    mtbf: float
    repair: float
    notice: float
    writer: float
    stream: float


@dataclass
class Outcome:
    """Seconds of a phase, lost units, and the busy time of writer and link."""

    end: float = 0.0
    lost: int = 0
    writing: float = 0.0
    sending: float = 0.0


def phase(units: Sequence[Unit], world: World, begin: float, rng: random.Random, outcome: Outcome) -> None:
    """Run units, the longest first, from time `begin` until all are done; adds to the outcome.

    Events are (time, number, host, unit): a host with None is free, with a unit it has just computed it.
    """
    waiting = deque(sorted(units, key=lambda unit: -unit.seconds))
    numbers = count()
    events: list[tuple[float, int, int, Unit | None]] = [(begin, next(numbers), h, None) for h in range(world.hosts)]
    fails = [begin + rng.expovariate(1 / world.mtbf) for _ in range(world.hosts)]
    noticed: list[tuple[float, int, Unit]] = []  # lost units, by the time at which their loss is noticed
    idle: list[int] = []
    writer = link = begin
    left = len(units)
    while left:
        now, _, host, computed = heapq.heappop(events)
        if computed is not None:
            if world.stream and computed.checkpoint:
                link = now = max(link, now) + computed.checkpoint / world.stream
                outcome.sending += computed.checkpoint / world.stream
            writer = max(writer, now) + computed.records / world.writer
            outcome.writing += computed.records / world.writer
            left -= 1
            outcome.end = max(outcome.end, writer)
            heapq.heappush(events, (writer, next(numbers), host, None))
            continue
        while noticed and noticed[0][0] <= now:
            waiting.appendleft(heapq.heappop(noticed)[2])
        if waiting:
            unit = waiting.popleft()
            done = now + unit.seconds
            if fails[host] >= done:
                heapq.heappush(events, (done, next(numbers), host, unit))
                continue
            lost = max(now, fails[host])
            heapq.heappush(noticed, (lost + world.notice, next(numbers), unit))
            outcome.lost += 1
            for other in idle:
                heapq.heappush(events, (lost + world.notice, next(numbers), other, None))
            idle.clear()
            back = lost + rng.expovariate(1 / world.repair)
            fails[host] = back + rng.expovariate(1 / world.mtbf)
            heapq.heappush(events, (back, next(numbers), host, None))
        elif noticed:  # all else is at work
            heapq.heappush(events, (noticed[0][0], next(numbers), host, None))
        else:
            idle.append(host)


def simulate(options: argparse.Namespace) -> None:
    """Print one line for each number of hosts: medians of all repetitions."""
    answers = options.items * options.tokens / _MEASURED.generated
    training = 2 * options.pairs * options.length * (1 + 1 / 3) / _MEASURED.trained  # and the reference's forward pass
    checkpoint = 4 * _MEASURED.parameters
    records = 3 * options.items  # responses, their control, likelihoods
    chunks = (options.tasks * (options.baselines * options.items + 2 * options.pairs)) // CHUNK
    chunk = CHUNK * options.tokens / _MEASURED.generated
    print(
        f"unit times by {_MEASURED.model} on one {_MEASURED.gpu}, {_MEASURED.date}: {options.arms} trained arms of"
        f" {training + answers + options.load:.0f} s ({training:.0f} training, {answers:.0f} answers,"
        f" {options.load:.0f} loading and saving, which is assumed), {chunks} chunks of {chunk:.0f} s"
    )
    print("hosts  makespan h  over bound  efficiency  lost  writer busy  link busy")
    for hosts in options.hosts:
        rows = []
        for seed in range(options.repeat):
            rng = random.Random(f"{hosts} {seed}")

            def unit(mean: float, count: int, size: float = 0.0, rng: random.Random = rng) -> Unit:
                return Unit(max(mean * rng.gauss(1, _SPREAD), mean / 4), count, size)

            base = [unit(chunk, CHUNK) for _ in range(chunks)]
            arms = [unit(training + answers + options.load, records, checkpoint) for _ in range(options.arms)]
            world = World(
                hosts, 3600 * options.mtbf, options.repair, options.notice, options.writer, 1e6 * options.stream
            )
            outcome = Outcome()
            phase(base, world, 0.0, rng, outcome)
            phase(arms, world, outcome.end, rng, outcome)
            work = sum(u.seconds for u in (*base, *arms))
            bound = sum(max(sum(u.seconds for u in p) / hosts, *(u.seconds for u in p)) for p in (base, arms))
            end = outcome.end
            rows.append(
                (
                    end / 3600,
                    end / bound,
                    work / hosts / end,
                    outcome.lost,
                    outcome.writing / end,
                    outcome.sending / end,
                )
            )
        m = [sorted(column)[len(rows) // 2] for column in zip(*rows, strict=True)]
        print(f"{hosts:5}  {m[0]:10.2f}  {m[1]:10.2f}  {m[2]:10.0%}  {m[3]:4}  {m[4]:11.1%}  {m[5]:9.1%}", flush=True)


def batches(host: int, number: int, text: str) -> list[Batch]:
    """The batches of one host."""
    return [
        [(digest([host, n, m]), Response(f"{n} {m} {text}", 120, 80, "stop")) for m in range(CHUNK)]
        for n in range(number)
    ]


def through_one_writer(folder: Path, work: Sequence[list[Batch]]) -> None:
    """Every host hands its batches to one queue, which this thread empties into the store."""
    queue: SimpleQueue[Batch] = SimpleQueue()

    def hand_over(mine: list[Batch]) -> None:
        for batch in mine:
            queue.put(batch)

    threads = [threading.Thread(target=hand_over, args=(mine,)) for mine in work]
    with closing(Store(folder)) as store:
        for thread in threads:
            thread.start()
        for _ in range(sum(map(len, work))):
            store.put_responses(queue.get())
    for thread in threads:
        thread.join()


def through_own_connections(folder: Path, work: Sequence[list[Batch]]) -> None:
    """Every host has a connection of its own."""

    def store_own(mine: list[Batch]) -> None:
        with closing(Store(folder)) as store:
            for batch in mine:
                store.put_responses(batch)

    threads = [threading.Thread(target=store_own, args=(mine,)) for mine in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def writer(options: argparse.Namespace) -> None:
    """Print records a second, by the clock and by processor time."""
    text = "word " * (options.characters // 5)
    for hosts in options.hosts:
        for way in (through_one_writer, through_own_connections):
            rates = []
            for _ in range(options.repeat):
                work = [batches(host, max(1, options.records // CHUNK // hosts), text) for host in range(hosts)]
                total = sum(len(batch) for mine in work for batch in mine)
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    clock, processor = time.perf_counter(), time.process_time()
                    way(Path(folder), work)
                    rates.append((total / (time.perf_counter() - clock), total / (time.process_time() - processor)))
            clocks, processors = (sorted(column) for column in zip(*rates, strict=True))
            print(
                f"{hosts:5} hosts, {way.__name__.replace('_', ' ')}: {clocks[0]:,.0f} to {clocks[-1]:,.0f} records/s by"
                f" the clock, {processors[0]:,.0f} to {processors[-1]:,.0f} a second of processor time",
                flush=True,
            )


def main() -> None:
    """Read the command line and run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["simulate", "writer"])
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 10, 30, 100, 300, 1000])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--arms", type=int, default=4800, help="trained arms: tasks x recipes x grid points x seeds")
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--baselines", type=int, default=5)
    parser.add_argument("--items", type=int, default=1000, help="evaluation items of a task")
    parser.add_argument("--pairs", type=int, default=2000, help="training items of a task")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a response")
    parser.add_argument("--length", type=int, default=378, help="tokens of prompt and response in a training")
    parser.add_argument("--load", type=float, default=30.0, help="seconds of loading and saving in an arm")
    parser.add_argument("--mtbf", type=float, default=200.0, help="mean hours until a host is lost")
    parser.add_argument("--repair", type=float, default=600.0, help="mean seconds until another takes its place")
    parser.add_argument("--notice", type=float, default=60.0, help="seconds until a loss is noticed")
    parser.add_argument("--writer", type=float, default=20_000, help="records a second, see `writer`")
    parser.add_argument("--stream", type=float, default=150.0, help="MB/s of checkpoints into the driver; 0: not sent")
    parser.add_argument("--records", type=int, default=50_000, help="writer: records in all")
    parser.add_argument("--characters", type=int, default=300, help="writer: length of a response")
    parser.add_argument("--folder", help="writer: where the store is made (the temporary folder)")
    options = parser.parse_args()
    {"simulate": simulate, "writer": writer}[options.part](options)


if __name__ == "__main__":
    main()
