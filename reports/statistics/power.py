"""What a design can find: minimum detectable effects and sample sizes. No "observed power"."""

from __future__ import annotations

import math

from scipy import optimize
from scipy import stats as sps


def mde(se: float, alpha: float = 0.05, power: float = 0.8, df: float | None = None) -> float:
    """Smallest true difference found with the given power at this standard error (unit of the scores).

    (z_{1-alpha/2} + z_power) x se; with `df`, the same for a t test, from the noncentral t distribution.
    """
    normal = float(sps.norm.ppf(1 - alpha / 2) + sps.norm.ppf(power)) * se
    if df is None:
        return normal
    critical = float(sps.t.ppf(1 - alpha / 2, df))

    def shortfall(effect: float) -> float:
        return float(sps.nct.sf(critical, df, effect / se)) - power

    return float(optimize.brentq(shortfall, normal / 2, normal * 20))


def kish_design_effect(icc: float, cluster_size: float) -> float:
    """Variance inflation of equal clusters, 1 + (m - 1) icc (Kish 1965)."""
    return 1 + (cluster_size - 1) * icc


def required_items(
    difference: float,
    between: float,
    within_base: float = 0.0,
    within_method: float = 0.0,
    *,
    samples: int = 1,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Independent items needed to find `difference` (Miller 2024, arXiv 2411.00640, eq. 9).

    `between` is the variance over items of the difference of the two item means, `within_*` the variance of
    one response's score about its item mean, `samples` the responses per item and arm.
    """
    z = float(sps.norm.ppf(1 - alpha / 2) + sps.norm.ppf(power))
    variance = between + (within_base + within_method) / samples
    return math.ceil(z * z * variance / difference**2 - 1e-9)


def min_nonzero_clusters(alpha: float = 0.05, family: int = 1) -> int:
    """Non-zero clusters k that a sign-flip test needs: 2^(1-k) <= alpha / family."""
    return math.ceil(1 - math.log2(alpha / family) - 1e-12)
