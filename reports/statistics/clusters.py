"""Sums of differences or scores inside clusters, and the linearised values from which variances are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipo_bench.reports.statistics.records import Average, Floats

Codes = NDArray[np.intp]
RELATIVE_TOLERANCE = 1e-12
"""A sum below this fraction of the size of its summands is a rounding error."""
SMALLEST = 1e-70
"""A spread below this counts as none: its square, which the variance needs, would lose its digits."""


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """Sums or means of differences or scores in each cluster.

    `sums` is (seeds, clusters), sums (micro) or means (macro); `sizes` is (clusters,), items (micro) or ones.
    The estimate is the ratio sum(u) / (seeds x sum(n)).
    """

    sums: Floats
    sizes: Floats

    @property
    def estimate(self) -> float:
        """The weighted mean over items (micro) or clusters (macro), and over seeds."""
        return float(
            zero_rounding_noise(self.sums.sum(), np.abs(self.sums).sum()) / (len(self.sums) * self.sizes.sum())
        )

    @property
    def effective(self) -> float:
        """The number of equal clusters whose mean would vary as much, (sum n)^2 / sum n^2 (Kish 1965)."""
        return float(self.sizes.sum() ** 2 / np.square(self.sizes).sum())

    @property
    def per_seed(self) -> Floats:
        """The estimate of each seed, (seeds,)."""
        return np.asarray(zero_rounding_noise(self.sums.sum(axis=1), np.abs(self.sums).sum(axis=1)) / self.sizes.sum())

    @property
    def linearised(self) -> Floats:
        """(seeds, clusters) values whose plain mean is the estimate and whose spread is that of the ratio.

        x = estimate + (u - n estimate) / mean(n): equal to the cluster means where all n are equal, and the
        linearisation behind the CR1 variance of a ratio where they are not.
        """
        return np.asarray(self.estimate + (self.sums - self.sizes * self.estimate) / self.sizes.mean())

    @property
    def pooled(self) -> ClusterSums:
        """The sums averaged over seeds, (1, clusters)."""
        mean, size = (part.mean(axis=0, keepdims=True) for part in (self.sums, np.abs(self.sums)))
        return ClusterSums(zero_rounding_noise(mean, size), self.sizes)

    @property
    def is_flat(self) -> bool:
        """Whether no cluster differs beyond rounding, under any seed: there is no variance to estimate."""
        spread = float(np.ptp(self.linearised))
        return spread <= max(SMALLEST, RELATIVE_TOLERANCE * float(np.abs(self.sums).max() / self.sizes.mean()))


def zero_rounding_noise(values: Floats, scale: Floats) -> Floats:
    """Set values to zero that are rounding errors; `scale` is the size of the summands."""
    return np.where(np.abs(values) <= RELATIVE_TOLERANCE * scale, 0.0, values)


def cluster_sums(values: Floats, cluster: Codes, weight: Average) -> ClusterSums:
    """Sum (micro) or average (macro) a (seeds, items) matrix inside clusters."""
    count = np.bincount(cluster).astype(np.float64)
    total = zero_rounding_noise(_sums(values, cluster), _sums(np.abs(values), cluster))
    return ClusterSums(total, count) if weight == "micro" else ClusterSums(total / count, np.ones_like(count))


def _sums(values: Floats, cluster: Codes) -> Floats:
    return np.stack([np.bincount(cluster, weights=row).astype(np.float64) for row in values])
