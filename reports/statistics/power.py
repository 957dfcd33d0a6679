"""Power of a design: minimum detectable effects and sample sizes, for plans and reports. No "observed power"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import scipy

from mipo_bench.reports.statistics.parametric import normal_quantile, t_quantile
from mipo_bench.reports.statistics.share_weighted import root

SD = 0.5
"""Assumed standard deviation of item differences: that of 0/1 scores of which a quarter change."""


def mde(se: float, alpha: float = 0.05, power: float = 0.8, df: float | None = None) -> float:
    """Minimum detectable effect: the smallest true difference found with this power, in the unit of the scores.

    (z_{1-alpha/2} + z_power) x se; with `df`, the same for a t test, from the noncentral t distribution.
    """
    normal = _normal_sum(alpha, power) * se
    if df is None:
        return normal
    critical = t_quantile(alpha / 2, df)

    def missed(effect: float) -> float:
        return float(scipy.special.nctdtr(df, effect / se, critical)) - (1 - power)

    return root(missed, normal / 2, (1.5 * critical + 4) * se)


def least_found(n: int, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest share of n items that a sign test finds with this power where they all change in one direction.

    With any other change, an exact McNemar test needs a larger difference. None where n changes give no p of alpha.
    """
    needed = min_nonzero_clusters(alpha)
    if n < needed:
        return None

    ways = [math.log(math.comb(n, k)) for k in range(needed)]  # logs: for a tiny alpha these numbers are huge

    def missed(share: float) -> float:
        if share in (0, 1):
            return share - power
        change, rest = math.log(share), math.log1p(-share)
        return (1 - power) - sum(math.exp(of_k + k * change + (n - k) * rest) for k, of_k in enumerate(ways))

    return root(missed, 0.0, 1.0)


def _normal_sum(alpha: float, power: float) -> float:
    """z_{1-alpha/2} + z_power."""
    return normal_quantile(alpha / 2) + NormalDist().inv_cdf(power)


def kish_design_effect(icc: float, cluster_size: float) -> float:
    """Variance inflation of equal clusters, 1 + (m - 1) icc (Kish 1965)."""
    return 1 + (cluster_size - 1) * icc


def required_items(difference: float, between: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Independent items needed to find `difference` (Miller 2024, arXiv 2411.00640, eq. 9).

    `between` is the variance over items of the difference of the two scores.
    """
    z = _normal_sum(alpha, power)
    return math.ceil(z * z * between / difference**2 - 1e-9)


@dataclass(frozen=True, slots=True)
class SmallestFound:
    """Minimum detectable effects if the items of a cluster are independent, and if they all change alike."""

    independent: float
    alike: float


def smallest_found(n_items: int, n_clusters: int, alpha: float = 0.05, sd: float = SD) -> SmallestFound | None:
    """Minimum detectable effects of a design at 80% power; `sd` is the standard deviation of the item differences.

    The intracluster correlation of the differences is 0 for `independent` and 1 for `alike`. Clusters have equal sizes;
    the test is t with C - 1 degrees of freedom. None for a single cluster.
    """
    if n_clusters < 2:
        return None
    size = n_items / n_clusters
    errors = (sd * math.sqrt(kish_design_effect(icc, size) / n_items) for icc in (0, 1))
    return SmallestFound(*(mde(se, alpha, df=n_clusters - 1) for se in errors))


def min_nonzero_clusters(alpha: float = 0.05, family: int = 1) -> int:
    """The number k of non-zero clusters that a sign-flip test needs to reject: 2^(1-k) <= alpha / family."""
    return math.ceil(1 - math.log2(alpha / family) - 1e-12)
