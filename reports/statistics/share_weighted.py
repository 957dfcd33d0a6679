"""The share-weighted t test: training seeds crossed with clusters, both random, with the right size for few seeds.

Its p-value is an average of three t tests, with the degrees of freedom of the seeds, of the clusters and of the
residual. The weight of a t test grows with the share of the variance that its mean square carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from mipo_bench.reports.statistics.clusters import RELATIVE_TOLERANCE, ClusterSums
from mipo_bench.reports.statistics.records import SHARE_WEIGHTED, Floats, Inference

_GUARD, _POWER, _BASE, _GROWTH = 0.2, 1.2, 0.5, 0.95
"""Constants of the weights, tuned so that the size stays below .055 at a nominal .05 (see docs/statistics.md)."""


@dataclass(frozen=True, slots=True)
class ShareWeightedT:
    """The test of one S x C matrix of differences, or of a stack of them: every array has the shape of the stack.

    With MS_s, MS_c and MS_e the mean squares of seeds, clusters and residual,

        V  = max(MS_s - MS_e, 0) + max(MS_c - MS_e, 0) + MS_e,    se = sqrt(V / SC),    t = |delta| / se
        P(x, k) = (1 + (max(V + 0.2 MS_e - x, 0) / x)^1.2)^-(0.5 + 0.95 ln(k - 1)),    P(0, k) = 0
        p(t) = P1 Q(t; k1 - 1) + (1 - P1) [P2 Q(t; k2 - 1) + (1 - P2) Q(t; (k1 - 1)(k2 - 1))]

    where Q(t; df) is the two-sided p-value of Student's t, the first factor is the one with fewer levels, P1 and P2 are
    P of the factors' mean squares and levels, and `effective_clusters` stands for C in P and df.
    """

    ms_seed: Floats
    ms_cluster: Floats
    ms_error: Floats
    n_seeds: int
    n_clusters: int
    effective_clusters: Floats

    @property
    def variance(self) -> Floats:
        """V, the variance of the estimate times S C. It is never below any of the mean squares."""
        parts = (np.maximum(part - self.ms_error, 0) for part in (self.ms_seed, self.ms_cluster))
        return np.asarray(sum(parts, self.ms_error))

    @property
    def se(self) -> Floats:
        """The standard error of the estimate."""
        return np.sqrt(self.variance / (self.n_seeds * self.n_clusters))

    @property
    def parts(self) -> tuple[tuple[Floats, Floats], ...]:
        """(weight, degrees of freedom) of the three t tests. The weights add up to 1."""
        seeds = (self.ms_seed, np.asarray(float(self.n_seeds)))
        clusters = (self.ms_cluster, self.effective_clusters)
        (ms1, k1), (ms2, k2) = (seeds, clusters) if self.n_seeds <= self.n_clusters else (clusters, seeds)
        first, second = self._share(ms1, k1), self._share(ms2, k2)
        rest = 1 - first
        return (first, k1 - 1), (rest * second, k2 - 1), (rest * (1 - second), (k1 - 1) * (k2 - 1))

    def _share(self, ms: Floats, levels: Floats) -> Floats:
        """P(x, k): the weight of the t test of a factor with this mean square and number of levels."""
        others = np.maximum(self.variance + _GUARD * self.ms_error - ms, 0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            odds = np.where(ms > 0, (others / ms) ** _POWER, np.inf)
            return np.asarray((1 + odds) ** -(_BASE + _GROWTH * np.log(levels - 1)))

    def tail(self, t: Floats) -> Floats:
        """The one-sided p-value of t, which may be negative. NaN without variance, and for fewer than two clusters."""
        total = sum(weight * scipy.special.stdtr(df, -t) for weight, df in self.parts)
        return np.where((self.variance > 0) & (self.effective_clusters >= 2), total, np.nan)

    def p_value(self, delta: Floats) -> Floats:
        """The two-sided p-value of an estimate."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * self.tail(np.abs(delta) / self.se)

    def critical(self, alpha: float) -> float:
        """The t at which the p-value of one matrix is alpha: delta -+ this times `se` is the 1 - alpha interval."""
        low, high = (float(scipy.special.stdtrit(df, 1 - alpha / 2)) for df in self._extremes())
        return root(lambda t: 2 * float(self.tail(np.asarray(t))) - alpha, high, low)

    def equivalent_df(self, alpha: float) -> float:
        """Degrees of freedom of the Student t test with the same critical value at this alpha, for one matrix."""
        low, high = self._extremes()
        t = self.critical(alpha)
        return root(lambda df: 2 * float(scipy.special.stdtr(df, -t)) - alpha, low, high)

    def _extremes(self) -> tuple[float, float]:
        """The smallest and the largest degrees of freedom of the parts."""
        df = [float(df) for _, df in self.parts]
        return min(df), max(df)


def root(excess: Callable[[float], float], low: float, high: float) -> float:
    """The root of a monotone function between two values, which may be at an end but for rounding.

    Bisection to neighbouring floats: `scipy.optimize` takes longer to import than a hundred such roots to find.
    """
    sign = math.copysign(1.0, excess(low))
    if sign * excess(high) >= 0:
        return min((low, high), key=lambda x: abs(excess(x)))
    while min(low, high) < (middle := (low + high) / 2) < max(low, high):
        low, high = (middle, high) if sign * excess(middle) > 0 else (low, middle)
    return middle


def share_weighted_t(differences: Floats, sizes: Floats | None = None) -> ShareWeightedT:
    """Mean squares of seeds x clusters: `differences` is (..., S, C), `sizes` (..., C) or None for equal clusters.

    With w_c = n_c / sum(n), the estimate is sum_c w_c mean_s d_sc, and the mean squares are those of
    z_sc = C w_c (d_sc - estimate), about zero. In MS_c, cluster c is multiplied by the jackknife factor
    (1 - 1/C) / (1 - w_c), which is 1 for equal clusters. The effective number of clusters is 1 / sum(w_c^2). Raises
    ValueError for one seed or one cluster: there is nothing that varies.
    """
    s, c = differences.shape[-2:]
    if s < 2 or c < 2:
        raise ValueError(f"{s} training seeds and {c} clusters: the test needs two or more of both.")
    n = np.ones(c) if sizes is None else sizes
    w = n / n.sum(axis=-1, keepdims=True)
    estimate = (w * differences.mean(axis=-2)).sum(axis=-1)
    z = c * w[..., np.newaxis, :] * (differences - estimate[..., np.newaxis, np.newaxis])
    rows, columns = z.mean(axis=-1, keepdims=True), z.mean(axis=-2, keepdims=True)
    jackknifed = columns[..., 0, :] * (1 - 1 / c) / (1 - w)
    residual = z - rows - columns
    return ShareWeightedT(
        ms_seed=np.asarray(c * np.square(rows[..., 0]).sum(axis=-1) / (s - 1)),
        ms_cluster=np.asarray(s * np.square(jackknifed).sum(axis=-1) / (c - 1)),
        ms_error=np.asarray(np.square(residual).sum(axis=(-2, -1)) / ((s - 1) * (c - 1))),
        n_seeds=s,
        n_clusters=c,
        effective_clusters=np.asarray(1 / np.square(w).sum(axis=-1)),
    )


def p_without_each(clusters: ClusterSums) -> Floats:
    """The p-value of the test without each cluster, (C,); 1 if the rest is 0, NaN if it has no test. Needs C >= 3.

    Sums over the rest are sums over all less one: `share_weighted_t` of each rest would take C times as long.
    """
    u, n, (s, c) = clusters.sums, clusters.sizes, clusters.sums.shape
    mean, left, rest = u.mean(axis=0), c - 1, n.sum() - n
    estimate = (mean.sum() - mean) / rest
    rows = (u.sum(axis=1, keepdims=True) - u) / rest - estimate
    columns = [
        np.square(np.delete(mean - n * estimate[k], k) / (1 - np.delete(n, k) / rest[k])).sum() for k in range(c)
    ]
    inside = np.square(u - mean).sum(axis=0)
    residual = (left / rest) ** 2 * (inside.sum() - inside) - left * np.square(rows).sum(axis=0)
    test = ShareWeightedT(
        ms_seed=left * np.square(rows).sum(axis=0) / (s - 1),
        ms_cluster=s * ((left - 1) / rest) ** 2 * np.asarray(columns) / (left - 1),
        ms_error=np.maximum(residual, 0) / ((s - 1) * (left - 1)),
        n_seeds=s,
        n_clusters=left,
        effective_clusters=rest**2 / (np.square(n).sum() - n**2),
    )
    spread = RELATIVE_TOLERANCE * np.abs(u).max() / n.mean()
    flat = np.where(np.abs(estimate) <= spread, 1.0, np.nan)
    return np.where(test.variance > spread**2, test.p_value(estimate), flat)


def crossed(clusters: ClusterSums, alpha: float, margin: float | None) -> Inference:
    """Test training seeds x clusters, and invert the test for the interval. Needs variance, and two clusters.

    `df` is that of the Student t test with the same critical value at this alpha.
    """
    differences = clusters.sums / clusters.sizes
    unit = float(np.abs(differences).max())  # squares of very large differences would not be finite
    test = share_weighted_t(differences / unit, clusters.sizes)
    delta, se = clusters.estimate, unit * float(test.se)
    half = test.critical(alpha) * se
    return Inference(
        test=SHARE_WEIGHTED,
        p_value=float(test.p_value(np.asarray(delta / unit))),
        ci_low=delta - half,
        ci_high=delta + half,
        se=se,
        df=test.equivalent_df(alpha),
        p_noninferiority=None if margin is None else float(test.tail(np.asarray((delta + margin) / se))),
    )
