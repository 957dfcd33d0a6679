"""The seed of all random draws in tests. An environment variable sets it, to repeat a failure."""

from __future__ import annotations

import os
import random

VARIABLE = "MIPO_BENCH_TEST_SEED"
SEED = int(os.environ.get(VARIABLE) or random.SystemRandom().randrange(10**6))


def random_of(name: str) -> random.Random:
    """A random generator for one test. It prints the seed, which pytest shows if the test fails."""
    print(f"Random seed {SEED}. To repeat this test with the same draws: {VARIABLE}={SEED} pytest ...")
    return random.Random(f"{SEED} {name}")
