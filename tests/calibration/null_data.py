"""Simulated data with a known truth: differences of training seeds x clusters, and shares that users solve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.records import Floats
from mipo_bench.reports.statistics.share_weighted import share_weighted_t

Kind = Literal["normal", "skewed", "binary"]
STACK = 2_000_000
"""Numbers drawn at once: 16 MB."""


@dataclass(frozen=True)
class Seeds:
    """Standard deviations of the effects on the differences between two arms: mu + seed + cluster + residual.

    `skewed` has exponential cluster effects. `binary` has one 0/1 item in each cluster, so that a difference is -1, 0
    or 1: half of the items differ, the share on one side varies with seed (normal) and cluster (two points).
    """

    seeds: int
    clusters: int
    seed_sd: float
    cluster_sd: float
    error_sd: float = 1.0
    kind: Kind = "normal"

    @property
    def se(self) -> float:
        """The true standard error of the mean difference; not for `binary`."""
        s, c = self.seeds, self.clusters
        return math.sqrt(self.seed_sd**2 / s + self.cluster_sd**2 / c + self.error_sd**2 / (s * c))

    def draw(self, rng: np.random.Generator, runs: int) -> Floats:
        """Differences with mean 0, (runs, seeds, clusters)."""
        s, c = self.seeds, self.clusters
        seed = self.seed_sd * rng.normal(size=(runs, s, 1))
        if self.kind == "binary":
            share = 0.25 + seed + self.cluster_sd * rng.choice((-1.0, 1.0), size=(runs, 1, c))
            place = rng.random((runs, s, c))
            return np.where(place < share, 1.0, np.where(place < 0.5, -1.0, 0.0))
        effect = rng.normal(size=(runs, 1, c)) if self.kind == "normal" else rng.exponential(size=(runs, 1, c)) - 1
        return np.asarray(seed + self.cluster_sd * effect + self.error_sd * rng.normal(size=(runs, s, c)))

    def stacks(self, runs: int, seed: int) -> Iterator[Floats]:
        """All runs in stacks that fit into memory."""
        rng, step = np.random.default_rng(seed), max(1, STACK // (self.seeds * self.clusters))
        for start in range(0, runs, step):
            yield self.draw(rng, min(step, runs - start))


def share_weighted_p(differences: Floats) -> Floats:
    """The p-value of each matrix of a stack."""
    return share_weighted_t(differences).p_value(differences.mean(axis=(-1, -2)))


def p_values(
    design: Seeds, runs: int, effect: float = 0.0, test: Callable[[Floats], Floats] = share_weighted_p, seed: int = 0
) -> Floats:
    """The p-values of simulated data with this true difference."""
    return np.concatenate([test(stack + effect) for stack in design.stacks(runs, seed)])


def shares(rng: np.random.Generator, users: int, share: float) -> ClusterSums:
    """Solved items of users that differ: beta-binomial with five items and an intracluster correlation of .2."""
    p = rng.beta(4 * share, 4 * (1 - share), users)
    return ClusterSums(rng.binomial(5, p)[np.newaxis].astype(float), np.full(users, 5.0))
