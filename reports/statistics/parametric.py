"""Parametric tests and intervals of a mean difference: exact McNemar, and t over clusters.

`choose_test` chooses among them, the sign-flip test and the share-weighted t test.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.records import Caveat, Floats, Inference


def mcnemar(only_base: int, only_method: int, n: int, alpha: float, margin: float | None) -> Inference:
    """Exact McNemar test and Bonett-Price interval for a difference of two paired proportions.

    The p-value is that of the two-sided binomial test of the discordant items; the mid-p subtracts half the point
    probability on each side (Fagerland, Lydersen and Laake 2013). The interval is Wald with one item added to
    each discordant cell (Bonett and Price 2012); MDE and margin use its standard error.
    """
    discordant = only_base + only_method
    low_cell, high_cell = (only_base + 1) / (n + 2), (only_method + 1) / (n + 2)
    centre = high_cell - low_cell
    se = math.sqrt((low_cell + high_cell - centre**2) / (n + 2))
    half = float(scipy.stats.norm.isf(alpha / 2)) * se
    p = float(scipy.stats.binomtest(only_base, discordant).pvalue) if discordant else 1.0
    return Inference(
        test="mcnemar-exact",
        p_value=p,
        p_midp=_midp(only_base, only_method, p),
        ci_low=max(-1.0, centre - half),
        ci_high=min(1.0, centre + half),
        se=se,
        p_noninferiority=None if margin is None else float(scipy.stats.norm.sf((centre + margin) / se)),
        min_attainable_p=min(1.0, 2.0 ** (1 - discordant)),
    )


def _midp(only_base: int, only_method: int, p_exact: float) -> float:
    if not only_base + only_method:
        return 1.0
    point = float(scipy.stats.binom.pmf(only_base, only_base + only_method, 0.5))
    return 1 - point / 2 if only_base == only_method else p_exact - point


def discordance_upper(discordant: int, n: int, alpha: float = 0.05) -> float:
    """One-sided Clopper-Pearson upper bound on the share of items on which two systems differ."""
    return float(scipy.stats.binomtest(discordant, n, alternative="less").proportion_ci(1 - alpha, method="exact").high)


def cr1_standard_error(x: Floats) -> float:
    """CR1 standard error of a mean or ratio from its linearised cluster values, (seeds, clusters).

    sqrt(C / (C - 1) sum_c (u_c - n_c estimate)^2) / N, averaged over seeds first; df = C - 1 (Cameron and
    Miller 2015). Needs two clusters.
    """
    return float(np.std(x.mean(axis=0), ddof=1) / math.sqrt(x.shape[1]))


def cluster_t(clusters: ClusterSums, alpha: float) -> Inference:
    """The interval of Student's t over clusters, with the CR1 standard error and C - 1 degrees of freedom."""
    x, mean = clusters.linearised, clusters.estimate
    se, df = cr1_standard_error(x), x.shape[1] - 1.0
    half = float(scipy.stats.t.isf(alpha / 2, df)) * se
    return Inference("cluster-t", None, mean - half, mean + half, se, df)


def untestable(reason: str) -> Inference:
    """No test and no interval: too little data."""
    return Inference("none", None, None, None, None, warnings=(Caveat("untestable", reason),))
