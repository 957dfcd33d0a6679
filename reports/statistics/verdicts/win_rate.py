"""Win rate of pairwise verdicts in both orders of presentation, with a sign-flip test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mipo_bench.reports.statistics.align import factorize
from mipo_bench.reports.statistics.choose_test import ComparisonOptions, run_test
from mipo_bench.reports.statistics.clusters import cluster_sums
from mipo_bench.reports.statistics.power import mde
from mipo_bench.reports.statistics.records import Average, Caveat, Floats, Inference
from mipo_bench.reports.statistics.verdicts.agreement import agreement

VERDICTS = {"W": 1.0, "T": 0.5, "L": 0.0}


@dataclass(frozen=True, slots=True)
class WinRate:
    """The share of items on which the method beats the base; a tie counts as half.

    The score of an item is the mean of its verdicts in both orders: 1, 3/4, 1/2, 1/4 or 0. `wins`, `ties` and `losses`
    count items above, at and below 1/2. `strict_wins` and `strict_losses` count items with the same verdict in both
    orders, `reversals` items won in one order and lost in the other. `kappa` is Cohen's kappa between the orders, None
    if all verdicts are the same.
    """

    win_rate: float
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    test: str
    wins: int
    ties: int
    losses: int
    strict_wins: int
    strict_losses: int
    reversals: int
    kappa: float | None
    n_items: int
    n_clusters: int
    mde: float | None
    average: Average
    alpha: float
    warnings: tuple[Caveat, ...] = ()

    @property
    def weight(self) -> Average:
        """The earlier name of `average`, for code that was written for version 0.1."""
        return self.average


def win_rate(
    order1: Sequence[str],
    order2: Sequence[str],
    cluster: Sequence[str] | None = None,
    *,
    weight: Average = "micro",
    alpha: float = 0.05,
    seed: int = 0,
) -> WinRate:
    """Win rate with a cluster sign-flip test of w - 1/2 and the interval that inverts it.

    `order1` and `order2` hold one verdict per item from the method's side, `W` (the method won), `T` or `L`, with the
    method shown first and second. Raises ValueError for other verdicts or unequal lengths.
    """
    first, second = _values(order1), _values(order2)
    if len(first) != len(second) or (cluster is not None and len(cluster) != len(first)):
        raise ValueError("both orders and the clusters need one entry per item.")
    scores = (first + second) / 2
    codes = factorize(cluster)[1] if cluster is not None else np.arange(len(scores))
    items = scores[np.newaxis] - 0.5
    centred = cluster_sums(items, codes, weight)
    found = run_test(items, centred, None, ComparisonOptions(weight=weight, alpha=alpha, seed=seed))
    return WinRate(
        win_rate=0.5 + centred.estimate,
        ci_low=None if found.ci_low is None else 0.5 + found.ci_low,
        ci_high=None if found.ci_high is None else 0.5 + found.ci_high,
        p_value=found.p_value,
        test=found.test,
        wins=int((scores > 0.5).sum()),
        ties=int((scores == 0.5).sum()),
        losses=int((scores < 0.5).sum()),
        strict_wins=int((scores == 1).sum()),
        strict_losses=int((scores == 0).sum()),
        reversals=int((np.abs(first - second) == 1).sum()),
        kappa=agreement(first.tolist(), second.tolist(), [str(code) for code in codes], alpha).kappa,
        n_items=len(scores),
        n_clusters=len(centred.sizes),
        mde=None if found.se is None else mde(found.se, alpha),
        average=weight,
        alpha=alpha,
        warnings=_warnings(scores, found),
    )


def _values(verdicts: Sequence[str]) -> Floats:
    unknown = sorted(set(verdicts) - set(VERDICTS))
    if unknown or not len(verdicts):
        raise ValueError(f"verdicts are {unknown or 'missing'}; allowed are {', '.join(VERDICTS)}.")
    return np.asarray([VERDICTS[verdict] for verdict in verdicts])


def _warnings(scores: Floats, found: Inference) -> tuple[Caveat, ...]:
    """The caveats of the test, in terms of wins."""
    if (scores != 0.5).any():
        return found.warnings
    tied = Caveat("all_ties", f"all {len(scores)} items are ties")
    return (tied, *(caveat for caveat in found.warnings if caveat.code != "identical"))
