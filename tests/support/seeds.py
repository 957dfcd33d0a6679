"""The seed of everything that tests draw at random, which an environment variable repeats."""

from __future__ import annotations

import os
import random

VARIABLE = "MIPO_BENCH_TEST_SEED"
SEED = int(os.environ.get(VARIABLE) or random.SystemRandom().randrange(10**6))


def random_of(name: str) -> random.Random:
    """A generator for one test. A failure shows the seed, since pytest prints the output of a test that fails."""
    print(f"Random seed {SEED}. To repeat this test with the same draws: {VARIABLE}={SEED} pytest ...")
    return random.Random(f"{SEED} {name}")
