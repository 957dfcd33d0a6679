"""Sensitivity of a comparison: how much of it rests on one cluster (leave one out), and how much on five items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipo_bench.reports.statistics.align import Paired, pair
from mipo_bench.reports.statistics.choose_test import ComparisonOptions, discordance, run_test
from mipo_bench.reports.statistics.clusters import ClusterSums, Codes, cluster_sums
from mipo_bench.reports.statistics.records import Average, Floats, Scores
from mipo_bench.reports.statistics.share_weighted import p_without_each

TESTED_ALL = 30
"""Up to so many clusters, a test of one seed is repeated without each of them."""
EXTREMES = 3
"""With more clusters, it is repeated without those that move the ratio of delta to its standard error most, so many in
either direction, and without the one that moves delta most: p is a function of that ratio, but for a little."""
MOST_CHANGED = 5


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Delta and p without the cluster that moves each of them most, and the most changed items.

    `delta_cluster` and `p_cluster` are these clusters: the names of users, or the ids of items without users. The
    figures are None for one cluster; `p_without` and `p_cluster` also if no test is left. `top_items` are the five
    items that change the delta most, and `top_share` is the share of the delta that they carry together: above 1 if the
    others work against it, below 0 if they do themselves, None if delta is 0.
    """

    delta_without: float | None
    delta_cluster: str | None
    p_without: float | None
    p_cluster: str | None
    top_items: tuple[str, ...]
    top_share: float | None


def sensitivity(
    base: Scores, method: Scores, *, weight: Average = "micro", alpha: float = 0.05, seed: int = 0
) -> Sensitivity:
    """The sensitivity of the comparison that `compare` makes with the same arguments. Raises ValueError as it does."""
    paired, options = pair(base, method, "error"), ComparisonOptions(weight, alpha, seed=seed)
    clusters = cluster_sums(paired.difference, paired.cluster, weight)
    contributions = _contributions(paired, clusters)
    top = _most_changed(contributions)
    total = clusters.estimate
    share = float(contributions[top].sum() / total) if total else None
    items = tuple(paired.items[n] for n in top)
    if len(clusters.sizes) < 2:
        return Sensitivity(None, None, None, None, items, share)
    deltas = _without_each(clusters)
    far = int(np.argmax(np.abs(deltas - total)))
    p = _farthest_p(paired, clusters, options)
    return Sensitivity(float(deltas[far]), paired.clusters[far], p[0], p[1], items, share)


def _contributions(paired: Paired, clusters: ClusterSums) -> Floats:
    """The part of delta that each item carries, (items,); they add up to delta."""
    items = np.bincount(paired.cluster)[paired.cluster]
    weight = clusters.sizes[paired.cluster] / items / clusters.sizes.sum()
    return np.asarray(weight * paired.difference.mean(axis=0))


def _most_changed(contributions: Floats) -> Codes:
    """The places of the largest contributions. Of equal ones, those in the direction of delta come first."""
    largest = float(np.abs(contributions).max()) or 1.0
    size = np.round(np.abs(contributions) / largest, 9)
    along = contributions * np.sign(contributions.sum())
    return np.lexsort((-along, -size))[:MOST_CHANGED]


def _without_each(clusters: ClusterSums) -> Floats:
    """Delta without each cluster, (clusters,)."""
    u, n = clusters.pooled.sums[0], clusters.sizes
    return np.asarray((u.sum() - u) / (n.sum() - n))


def _farthest_p(paired: Paired, clusters: ClusterSums, options: ComparisonOptions) -> tuple[float | None, str | None]:
    """The p-value farthest from that of all clusters if one is left out, and its name."""
    counts = discordance(paired.base, paired.method)
    p = run_test(paired.difference, clusters, counts, options).p_value
    found = {c: q for c, q in _p_without(paired, clusters, options).items() if q is not None}
    if p is None or not found:
        return None, None
    farthest = max(found, key=lambda c: abs(found[c] - p))
    return found[farthest], paired.clusters[farthest]


def _p_without(paired: Paired, clusters: ClusterSums, options: ComparisonOptions) -> dict[int, float | None]:
    """The p-value without a cluster: each of them for several training seeds, else those that matter most."""
    if len(clusters.sums) == 1:
        return {c: _retest(c, paired, clusters, options) for c in _candidates(clusters)}
    if len(clusters.sizes) < 3:
        return {}
    return {c: None if np.isnan(p) else float(p) for c, p in enumerate(p_without_each(clusters))}


def _candidates(clusters: ClusterSums) -> list[int]:
    """The clusters without which to repeat the test."""
    count = len(clusters.sizes)
    if count <= TESTED_ALL:
        return list(range(count))
    u, n, delta = clusters.pooled.sums[0], clusters.sizes, _without_each(clusters)
    squares = (np.square(u).sum() - u**2) - 2 * delta * ((u * n).sum() - u * n) + delta**2 * ((n**2).sum() - n**2)
    ratio = np.abs(delta) * (n.sum() - n) / np.sqrt(np.maximum(squares, np.finfo(float).tiny))
    order = np.argsort(ratio, kind="stable")
    far = int(np.argmax(np.abs(delta - clusters.estimate)))
    return sorted({*order[:EXTREMES].tolist(), *order[-EXTREMES:].tolist(), far})


def _retest(cluster: int, paired: Paired, clusters: ClusterSums, options: ComparisonOptions) -> float | None:
    """The p-value of the same test without one cluster."""
    keep = paired.cluster != cluster
    rest = ClusterSums(np.delete(clusters.sums, cluster, axis=1), np.delete(clusters.sizes, cluster))
    counts = discordance(paired.base[:, keep], paired.method[:, keep])
    return run_test(paired.difference[:, keep], rest, counts, options).p_value
