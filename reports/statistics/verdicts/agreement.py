"""Cohen's kappa, the agreement of two series of labels beyond chance, with an interval over clusters.

It compares a judge with labels, and a judge's verdicts in the two orders of presentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mipo_bench.reports.statistics.align import factorize
from mipo_bench.reports.statistics.parametric import t_quantile
from mipo_bench.reports.statistics.records import Floats


@dataclass(frozen=True, slots=True)
class Agreement:
    """`agreed` is the share of equal labels. `kappa` is None if both series hold one and the same label only.

    The interval is None for fewer than three clusters, and if all influences are equal (perfect agreement).
    """

    agreed: float
    kappa: float | None
    ci_low: float | None
    ci_high: float | None
    n_items: int
    n_clusters: int


def agreement(
    first: Sequence[float], second: Sequence[float], cluster: Sequence[str], alpha: float = 0.05
) -> Agreement:
    """Cohen's kappa (Cohen 1960) of two labels for each item.

    With p and q the shares of each label in the two series, P_e = sum_k p_k q_k and kappa = (P_o - P_e) / (1 - P_e).
    The interval is the delta method's: the influence of an item with labels (a, b) is

        [(1[a = b] - P_o)(1 - P_e) - (1 - P_o)(q_a + p_b - 2 P_e)] / (1 - P_e)^2,

    which for independent items gives the standard error of Fleiss, Cohen and Everitt (1969). Influences are summed
    inside clusters (CR1, t with C - 1 degrees of freedom). Raises ValueError for unequal lengths or no item.
    """
    if not len(first) or not len(first) == len(second) == len(cluster):
        raise ValueError("both series and the clusters need one entry per item, and at least one item.")
    kinds, codes = factorize([*first, *second])
    a, b = codes[: len(first)], codes[len(first) :]
    p, q = (np.bincount(x, minlength=len(kinds)) / len(x) for x in (a, b))
    same = (a == b).astype(np.float64)
    agreed, chance = float(same.mean()), float(p @ q)
    users, place = factorize(list(cluster))
    if chance >= 1 - 1e-12:
        return Agreement(agreed, None, None, None, len(a), len(users))
    kappa = (agreed - chance) / (1 - chance)
    influence = ((same - agreed) * (1 - chance) - (1 - agreed) * (q[a] + p[b] - 2 * chance)) / (1 - chance) ** 2
    half = _half_width(np.bincount(place, weights=influence).astype(np.float64), len(a), alpha)
    low, high = (None, None) if half is None else (max(-1.0, kappa - half), min(1.0, kappa + half))
    return Agreement(agreed, kappa, low, high, len(a), len(users))


def _half_width(sums: Floats, n: int, alpha: float) -> float | None:
    """Half the width of the interval, from the clusters' summed influences; None for two clusters or no variance."""
    c = len(sums)
    se = math.sqrt(c / (c - 1) * float(np.square(sums).sum())) / n if c > 2 else 0.0
    return t_quantile(alpha / 2, c - 1) * se if se > 1e-12 else None
