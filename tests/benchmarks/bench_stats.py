"""Benchmark: the time of comparisons. Run by hand: `OMP_NUM_THREADS=1 python tests/benchmarks/bench_stats.py`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mipo_bench.reports.stats import Scores, compare, sensitivity

TARGET_ONE, TARGET_SENSITIVITY, TARGET_REPORT = 1.0, 5.0, 20.0


def arms(items: int, users: int, seeds: int) -> tuple[Scores, Scores]:
    """A graded base and a method that is a little better, trained with `seeds` seeds (0: not trained)."""
    rng = np.random.default_rng(0)
    names = np.asarray([f"item-{i:06d}" for i in range(items)], dtype=object)
    user = np.asarray([f"user-{u:05d}" for u in rng.integers(0, users, items)], dtype=object)
    base = rng.random(items)
    runs = max(1, seeds)
    better = np.clip(np.tile(base, runs) + rng.normal(0.01, 0.1, runs * items), 0, 1)
    seed = np.repeat(np.arange(runs), items) if seeds else None
    return Scores(names, base, user), Scores(np.tile(names, runs), better, np.tile(user, runs), seed)


def seconds(work: Callable[[], object]) -> float:
    """The shortest of three times, in seconds."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    one = arms(5000, 500, 0)
    trained = arms(5000, 500, 3)
    loose = arms(5000, 10**9, 0)

    def report() -> None:
        """100 comparisons, of which 20 are primary and have their sensitivity."""
        for number in range(100):
            both = one if number % 2 else trained
            compare(*both, seed=number)
            if number % 5 == 0:
                sensitivity(*both, seed=number)

    for name, work, target in (
        ("5,000 items in 500 users, 10,000 sign flips", lambda: compare(*one), TARGET_ONE),
        ("5,000 items in 500 users, 3 training seeds", lambda: compare(*trained), TARGET_ONE),
        ("5,000 items of their own, 10,000 sign flips", lambda: compare(*loose), TARGET_ONE),
        ("sensitivity, 500 users, 3 training seeds", lambda: sensitivity(*trained), TARGET_SENSITIVITY),
        ("sensitivity, 500 users, sign flips", lambda: sensitivity(*one), TARGET_SENSITIVITY),
        ("sensitivity, 5,000 items of their own", lambda: sensitivity(*loose), TARGET_SENSITIVITY),
        ("100 comparisons of 5,000 items in 500 users", report, TARGET_REPORT),
    ):
        took = seconds(work)
        print(f"{name:<46} {took:7.3f} s   {took / target:6.2f} of the target of {target:g} s")


if __name__ == "__main__":
    main()
