"""Parametric tests and intervals of a mean difference: exact McNemar, and t over clusters.

`choose_test` chooses among them, the sign-flip test and the share-weighted t test. Distributions are taken from
`scipy.special`: `scipy.stats` is ten times as large, and its import takes longer than a whole diff. What scores without
a difference need, where no margin is given, is computed without it: their diff does not import it.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import scipy

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.records import MCNEMAR, Caveat, Floats, Inference


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
    half = normal_quantile(alpha / 2) * se
    return Inference(
        test=MCNEMAR,
        p_value=sign_test(only_base, only_method),
        p_midp=_midp(only_base, only_method),
        ci_low=max(-1.0, centre - half),
        ci_high=min(1.0, centre + half),
        se=se,
        p_noninferiority=None if margin is None else float(scipy.special.ndtr(-(centre + margin) / se)),
        min_attainable_p=min(1.0, 2.0 ** (1 - discordant)),
    )


def sign_test(first: int, second: int) -> float:
    """Two-sided p-value of the binomial test that both counts are equally likely; 1 without any count."""
    return 1.0 if first == second else 2 * _tail(min(first, second), first + second)


def _midp(only_base: int, only_method: int) -> float:
    """The p-value less half the probability of the observed counts, on each side."""
    n, fewer = only_base + only_method, min(only_base, only_method)
    if not n:
        return 1.0
    tail, beyond = _tail(fewer, n), _tail(fewer - 1, n)
    return 1 - (tail - beyond) / 2 if only_base == only_method else tail + beyond


def _tail(k: int, n: int) -> float:
    """The probability of at most k of n with chance one half each."""
    return float(scipy.special.betaincc(k + 1, n - k, 0.5)) if k >= 0 else 0.0


def discordance_upper(discordant: int, n: int, alpha: float = 0.05) -> float:
    """One-sided Clopper-Pearson upper bound on the share of items on which two systems differ."""
    if discordant >= n:
        return 1.0
    if not discordant:
        return 1.0 - math.pow(alpha, 1 / n)
    return float(scipy.special.betaincinv(discordant + 1, n - discordant, 1 - alpha))


def normal_quantile(tail: float) -> float:
    """The value that a standard normal variable exceeds with this probability."""
    return -NormalDist().inv_cdf(tail)


def t_quantile(tail: float, df: float) -> float:
    """The value that Student's t exceeds with this probability."""
    return -float(scipy.special.stdtrit(df, tail))


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
    half = t_quantile(alpha / 2, df) * se
    return Inference("cluster-t", None, mean - half, mean + half, se, df)


def untestable(reason: str) -> Inference:
    """No test and no interval: too little data."""
    return Inference("none", None, None, None, None, warnings=(Caveat("untestable", reason),))
