"""Chooses the test for a comparison and the interval for a score, and adds caveats about the limits of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.parametric import cluster_t, discordance_upper, mcnemar, untestable
from mipo_bench.reports.statistics.power import min_nonzero_clusters
from mipo_bench.reports.statistics.records import (
    SHARE,
    SHARE_WEIGHTED,
    UNLIMITED,
    WEIGHTS,
    Average,
    Caveat,
    Floats,
    Inference,
    Limits,
)
from mipo_bench.reports.statistics.share_weighted import crossed
from mipo_bench.reports.statistics.sign_flip import DRAWS, sign_flip

LEAST_CLUSTERS = 2
"""Effective clusters that a test of seeds and clusters needs."""
POWER_OF_FEW = {2: ("two", "40%"), 3: ("three", "73%")}
"""The largest power of any valid test of so few seeds, at an effect of 2.8 standard errors, if the variance of users
equals that of the residual: see docs/statistics.md."""


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """Options of a comparison.

    Without a `margin`, non-inferiority is not tested; `seed` and `draws` sample signs. `limits` is the range of a
    score; None stands for [0, 1] if all scores lie there, and for no limits if not.
    """

    weight: Average = "micro"
    alpha: float = 0.05
    margin: float | None = None
    seed: int = 0
    draws: int = DRAWS
    limits: Limits | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown weight and for an alpha or a margin out of range."""
        if self.weight not in WEIGHTS:
            raise ValueError(f"average is {self.weight!r}; allowed are {', '.join(WEIGHTS)}.")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}; it must lie between 0 and 1.")
        if self.margin is not None and not 0 <= self.margin < math.inf:
            raise ValueError(f"margin is {self.margin}; it is the largest loss that is accepted, 0 or more.")

    def limits_of(self, *arms: Floats) -> Limits:
        """The range of a score, which may have to be read off the scores of all arms."""
        shares = all(bool(((values >= 0) & (values <= 1)).all()) for values in arms)
        return self.limits or (SHARE if shares else UNLIMITED)


@dataclass(frozen=True, slots=True)
class Discordance:
    """The numbers of items that only one side solves."""

    only_base: int
    only_method: int


def discordance(base: Floats, method: Floats) -> Discordance | None:
    """Discordant items of (seeds, items) matrices; None unless there is one seed and all scores are 0 or 1."""
    if len(base) > 1 or not (is_binary(base) and is_binary(method)):
        return None
    return Discordance(int((base > method).sum()), int((method > base).sum()))


def is_binary(values: Floats) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def run_test(items: Floats, clusters: ClusterSums, counts: Discordance | None, options: ComparisonOptions) -> Inference:
    """Test differences. `items` is (seeds, items), `clusters` holds their sums, `counts` needs 0/1 scores."""
    n_seeds, n_clusters = clusters.sums.shape
    n_items = items.shape[1]
    if n_clusters == 1:
        return untestable("one item" if n_items == 1 else f"one cluster of {n_items} items")
    if n_seeds > 1:
        return _of_seeds(items, clusters, options)
    if counts is not None and n_clusters == n_items:
        inference = mcnemar(counts.only_base, counts.only_method, n_items, options.alpha, options.margin)
    else:
        inference = sign_flip(clusters, options.alpha, options.margin, options.seed, options.draws)
    if items.any():
        warnings = _resolution(clusters, inference, options.alpha)
    else:
        warnings = (_identical(clusters, options.alpha, n_items),)
    return _of_few_clusters(inference, clusters, (*warnings, *_unequal(clusters)))


def _of_seeds(items: Floats, clusters: ClusterSums, options: ComparisonOptions) -> Inference:
    """The test of two or more training seeds and clusters.

    Where no score differs under any seed, no variance shows: a margin is tested as McNemar's test does, with each
    cluster as an item.
    """
    if not items.any():
        one = mcnemar(0, 0, len(clusters.sizes), options.alpha, options.margin)
        same = _identical(clusters, options.alpha, items.shape[1])
        return Inference(SHARE_WEIGHTED, 1, None, None, None, p_noninferiority=one.p_noninferiority, warnings=(same,))
    if clusters.is_flat:
        flat = f"no variation: every seed has the same difference in every cluster ({clusters.estimate:+.4g})"
        caveat = Caveat("no_variation", f"{flat}; no test and no interval")
        return Inference(SHARE_WEIGHTED, None, None, None, None, warnings=(caveat,))
    if clusters.effective < LEAST_CLUSTERS:
        return untestable(f"{len(clusters.sizes)} clusters of unequal size: they count as fewer than two")
    found = crossed(clusters, options.alpha, options.margin)
    return _of_few_clusters(found, clusters, (*_same_seeds(clusters), *_few_seeds(clusters), *_unequal(clusters)))


def arm_interval(values: Floats, clusters: ClusterSums, alpha: float) -> Inference:
    """The interval of one arm's mean; `values` is (seeds, items)."""
    n_seeds, n_clusters = clusters.sums.shape
    n_items = values.shape[1]
    if n_seeds == 1 and n_clusters == n_items and is_binary(values):
        ends = scipy.stats.binomtest(int(values.sum()), n_items).proportion_ci(1 - alpha, method="wilson")
        return Inference("wilson", None, float(ends.low), float(ends.high), None)
    if n_clusters == 1:
        return untestable("one item" if n_items == 1 else f"one cluster of {n_items} items")
    if clusters.is_flat:
        caveat = Caveat("zero_variance", "every cluster has the same score: no interval")
        return Inference("none", None, None, None, None, warnings=(caveat,))
    if n_seeds == 1:
        return _of_few_clusters(cluster_t(clusters, alpha), clusters)
    if clusters.effective < LEAST_CLUSTERS:
        return untestable(f"{n_clusters} clusters of unequal size: they count as fewer than two")
    return _of_few_clusters(crossed(clusters, alpha, None), clusters, _same_seeds(clusters))


def within(found: Inference, limits: Limits) -> Inference:
    """Cut the interval at the limits of the figure: the part beyond them holds no possible value."""
    low, high = limits
    ends = [None if end is None else min(max(end, low), high) for end in (found.ci_low, found.ci_high)]
    return replace(found, ci_low=ends[0], ci_high=ends[1])


def _of_few_clusters(found: Inference, clusters: ClusterSums, warnings: tuple[Caveat, ...] = ()) -> Inference:
    """Add caveats, and take the interval away from two clusters, whose one difference shows little of their spread."""
    if len(clusters.sizes) > 2 or found.ci_low is None:
        return replace(found, warnings=warnings)
    few = Caveat("few_clusters", "two clusters: no interval; use three or more")
    return replace(found, ci_low=None, ci_high=None, warnings=(*warnings, few))


def _same_seeds(clusters: ClusterSums) -> tuple[Caveat, ...]:
    """The caveat of training seeds with the same scores."""
    if np.ptp(clusters.sums, axis=0).any():
        return ()
    return (Caveat("identical_seeds", "all training seeds have the same scores: are they different trainings?"),)


def _few_seeds(clusters: ClusterSums) -> tuple[Caveat, ...]:
    """The caveat of two or three training seeds: the most that any test can find."""
    if len(clusters.sums) not in POWER_OF_FEW:
        return ()
    count, power = POWER_OF_FEW[len(clusters.sums)]
    few = (
        f"{count} training seeds: if trainings differ on one user as much as users differ among themselves, even the "
        f"best valid test finds a true difference of 2.8 standard errors in at most {power} of cases (with many seeds "
        "80%); run four or more, better five"
    )
    return (Caveat("few_seeds", few),)


def _unequal(clusters: ClusterSums) -> tuple[Caveat, ...]:
    """The caveat of clusters of very unequal size."""
    count = len(clusters.sizes)
    if clusters.effective >= count / 2:
        return ()
    message = (
        f"{count} clusters (users) of very unequal size count as {clusters.effective:.1f} equal ones: if their "
        "differences go with their sizes, p is too small; compare with the macro average"
    )
    return (Caveat("unequal_clusters", message),)


def _identical(clusters: ClusterSums, alpha: float, n_items: int) -> Caveat:
    """The caveat of scores without any difference. The items of a user are one observation."""
    count = len(clusters.sizes)
    bound, of_all = f"{discordance_upper(0, count, alpha):.1%}", f"({1 - alpha:.0%} bound)"
    if count == n_items:
        return Caveat("identical", f"no difference on any of {n_items} items; at most {bound} of all differ {of_all}")
    same = f"no difference on any of {n_items} items of {count} clusters (users)"
    return Caveat("identical", f"{same}; on at most {bound} of all clusters there is one {of_all}")


def _resolution(clusters: ClusterSums, inference: Inference, alpha: float) -> tuple[Caveat, ...]:
    """Caveats of a sign-flip or McNemar test on data that are not identical."""
    nonzero = int(np.count_nonzero(clusters.sums))
    warnings = []
    if clusters.is_flat:
        same = f"the difference is the same in every cluster ({clusters.estimate:+.4g}): no variance to estimate"
        warnings.append(Caveat("zero_variance", same))
    if nonzero and inference.min_attainable_p is not None and inference.min_attainable_p > alpha:
        few = (
            f"{nonzero} of {len(clusters.sizes)} clusters differ: p cannot fall below "
            f"{inference.min_attainable_p:.4g}; alpha {alpha:g} needs {min_nonzero_clusters(alpha)}"
        )
        warnings.append(Caveat("below_resolution", few))
    return tuple(warnings)
